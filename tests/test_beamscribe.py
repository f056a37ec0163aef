import subprocess
import sys

import pytest

import beamscribe
from schemas.command import DONE, REFUSED


def test_help_lists_every_command_in_the_order_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(["--help"]) == DONE
    text = capsys.readouterr().out
    names = ("featurize", "train", "caption", "evaluate", "speak", "say", "verify")
    places = [text.index(f"\n  {name} ") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("command", beamscribe.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        beamscribe.main([command, "--help"])
    assert stop.value.code == DONE
    assert f"beamscribe {command}" in capsys.readouterr().out


def test_no_command_shows_help_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main([]) == REFUSED
    assert "usage: beamscribe" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["captoin"], "did you mean caption?"),
        (["caption", "--model", "b"], "--output"),
        (["verify", "/nowhere/at/all"], "is not an output of Beamscribe"),
    ],
)
def test_a_refusal_is_one_message_and_exit_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert beamscribe.main(argv) == REFUSED
    found = capsys.readouterr().err
    assert message in found
    assert found.startswith(f"beamscribe {argv[0]}: ")
    assert found.count("\n") == 1


def test_public_names_are_there() -> None:
    for name in beamscribe.PUBLIC:
        assert getattr(beamscribe, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute nothing"):
        _ = beamscribe.nothing


def test_the_front_door_loads_nothing_heavy() -> None:
    code = "import beamscribe, sys; print(sorted({'tensorflow', 'apache_beam', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
