"""What is told as JSON lines is told whole, and each line is an object."""

import json
import sys

import pytest

from beamscribe import command_line
from beamscribe.errors import REFUSED
from beamscribe.log_lines import tell, told_as


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    with told_as("text"):
        print("one")
        tell(sys.stderr, "progress", "two", done=2)
    assert capsys.readouterr() == ("one\n", "two\n")


def test_every_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    with told_as("json"):
        print("one\n\ntwo", end="")
        print(" and a half")
        print("\x1b[2Kred \x1b[31m!", file=sys.stderr, end="")
        tell(sys.stderr, "progress", "three", done=3, skipped={"broken": 1})
        tell(sys.stdout, "summary", "é", exit_code=0)
    told = capsys.readouterr()
    assert [(one["event"], one["message"]) for one in objects(told.out)] == [
        ("message", "one"),
        ("message", "two and a half"),
        ("summary", "é"),
    ]
    progress, unfinished = objects(told.err)
    assert (progress["done"], progress["skipped"], unfinished["message"]) == (3, {"broken": 1}, "red !")
    assert str(progress["time"]).endswith("+00:00")
    print("plain again")
    assert capsys.readouterr().out == "plain again\n"


@pytest.mark.parametrize("flag", [["--log", "json"], ["--log=json"]])
def test_a_refusal_is_an_object_too(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["caption", "--imges", "x", "--output", "y", *flag]) == REFUSED
    (refusal,) = objects(capsys.readouterr().err)
    assert str(refusal["message"]).startswith("beamscribe caption: unknown argument --imges: did you mean --images")


def test_a_wrong_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["caption", "--images", "x", "--output", "y", "--log", "xml"]) == REFUSED
    assert "--log" in capsys.readouterr().err
