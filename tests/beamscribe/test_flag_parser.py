"""Strict flags: nothing is guessed, every refusal is one line."""

import argparse
from typing import Any

import pytest

from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, REFUSED, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser, add_storage_options, json_object, positive, refuse_unknown


def parser(**options: Any) -> FlagParser:
    flags = FlagParser(prog="beamscribe paint", **options)
    flags.add_argument("--batch-size", type=positive, default=32, help="images a call")
    flags.add_argument("--output", required=True)
    flags.add_argument("--images", nargs="+")
    flags.add_argument("--colour", choices=["red", "blue"], default="red")
    add_storage_options(flags)
    return flags


def test_known_flags_are_parsed() -> None:
    args = parser().parse_strictly(["--output=x", "--batch-size", "4", "--storage-options", '{"anon": true}'])
    assert vars(args) == {
        "output": "x",
        "batch_size": 4,
        "images": None,
        "colour": "red",
        "storage_options": {"anon": True},
    }


def test_storage_options_are_none_by_default() -> None:
    assert parser().parse_strictly(["--output", "x"]).storage_options == {}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batchsize", "4"], "unknown argument --batchsize: did you mean --batch-size?"),
        (["--ouput=y"], "unknown argument --ouput: did you mean --output?"),
        (["--batch"], "unknown argument --batch: did you mean --batch-size?"),  # no abbreviation
        (["--out=y"], "unknown argument --out: did you mean --output?"),
        (["--xyzzy"], "unknown argument --xyzzy; see beamscribe paint --help"),
        (["stray"], "unknown argument stray; see beamscribe paint --help"),
        (["--xyzzy", "--ouput"], "unknown argument --xyzzy; see beamscribe paint --help"),  # the first of them
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest(argv: list[str], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parser().parse_strictly(["--output", "x", *argv])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: --output"),
        (["--output"], "argument --output: expected one argument"),
        (["--output", ""], "--output is empty: name a place; a variable of the shell may not be set"),
        (["--output", "x", "--images", "a", ""], "--images is empty: name a place"),
        (["--output", "x", "--batch-size", "0"], "argument --batch-size: 0 is not above zero"),
        (["--output", "x", "--batch-size", "4.5"], "argument --batch-size: invalid positive value: '4.5'"),
        (["--output", "x", "--batch-size="], "argument --batch-size: invalid positive value: ''"),
        (["--output", "x", "--colour", "green"], "argument --colour: invalid choice: 'green'"),
        (["--output", "x", "--storage-options", "{"], "argument --storage-options: not JSON"),
        (["--output", "x", "--storage-options", "[]"], "argument --storage-options: not a JSON object"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RefusedError) as caught:
        parser().parse_strictly(argv)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("; see beamscribe paint --help")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")  # no usage


def test_help_shows_defaults_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_strictly(["--help"])
    assert caught.value.code == 0
    assert "images a call (default: 32)" in capsys.readouterr().out


def test_sub_parsers_are_as_strict() -> None:
    flags = FlagParser(prog="beamscribe")
    flags.add_subparsers(dest="job").add_parser("paint").add_argument("--colour")
    assert flags.parse_strictly(["paint", "--colour", "red"]).colour == "red"
    with pytest.raises(RefusedError, match="unknown argument --col"):
        flags.parse_strictly(["paint", "--col", "red"])
    with pytest.raises(RefusedError, match="invalid choice: 'pant'.*; see beamscribe --help"):
        flags.parse_strictly(["pant"])


def test_the_nearest_flag_may_be_another_parsers() -> None:
    with pytest.raises(RefusedError, match="^unknown argument --runer: did you mean --runner\\?$"):
        refuse_unknown(["--runer=DirectRunner"], parser(), ["--runner"])
    refuse_unknown([], parser(), ["--runner"])


@pytest.mark.parametrize(("text", "number"), [("1", 1), (" 7 ", 7), ("1_000", 1000)])
def test_positive(text: str, number: int) -> None:
    assert positive(text) == number


@pytest.mark.parametrize("text", ["0", "-3"])
def test_zero_and_less_are_not_positive(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not above zero"):
        positive(text)


@pytest.mark.parametrize("text", ["", "x", "1.0", "1e3"])
def test_what_is_no_whole_number_is_not_positive(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        positive(text)


def test_json_object() -> None:
    assert json_object('{"key": "k", "client_kwargs": {"region": "eu"}}') == {
        "key": "k",
        "client_kwargs": {"region": "eu"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{'anon': true}", "not JSON"),
        ("anon=true", "not JSON"),
        ("[1]", 'not a JSON object such as {"anon": true}'),
        ("null", "not a JSON object"),
        ('"{}"', "not a JSON object"),
    ],
)
def test_other_text_is_no_json_object(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        json_object(text)
    assert str(caught.value).startswith(message)


def test_exit_codes_are_promised() -> None:
    codes = (DONE, STOPPED, REFUSED, CHECK_FAILED, INTERRUPTED)
    assert codes == (0, 1, 2, 3, 130)
