import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import beamscribe
from beamscribe import command_line
from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, REFUSED, STOPPED

pytestmark = pytest.mark.slow


def test_help_lists_every_command_in_the_order_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(["--help"]) == DONE
    text = capsys.readouterr().out
    names = ("featurize", "train", "caption", "evaluate", "speak", "say", "verify")
    places = [text.index(f"\n  {name} ") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("command", command_line.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        beamscribe.main([command, "--help"])
    assert stop.value.code == DONE
    assert f"beamscribe {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", command_line.COMMANDS)
def test_every_flag_is_explained_with_its_unit(command: str) -> None:
    parser = command_line.parser_of(command)
    actions = [action for action in parser._actions if action.dest != "help"]
    assert [action.dest for action in actions if not action.help] == []
    numbers = [action for action in actions if isinstance(action.default, int | float) and action.nargs != 0]
    # Either the value's name or the flag's own says what is counted.
    units = ("IMAGES", "BYTES", "PIXELS", "TOKENS", "CAPTIONS", "SECONDS", "PERCENT", "CHANCE", "CIDER", "N")
    named = ("per-minute", "seconds", "size", "epochs", "seed", "view")
    lacking = [
        action.option_strings
        for action in numbers
        if action.metavar not in units and not any(unit in action.option_strings[0] for unit in named)
    ]
    assert lacking == []
    text = parser.format_help()
    assert "(default: None)" not in text
    assert "(default: False)" not in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(["completion", shell]) == DONE
    script = capsys.readouterr().out
    for word in ("report", "gallery", "beam-size", "on-change"):
        assert word in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(["completion", "bash"]) == DONE
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    ask = (
        f"source {script}; COMP_WORDS=(beamscribe caption --on-ch); COMP_CWORD=2; COMP_TYPE=9;"
        "_shtab_beamscribe beamscribe --on-ch caption; echo ${COMPREPLY[@]}"
    )
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["--on-change"]


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(["completion", "cmd"]) == REFUSED
    assert "beamscribe completion bash|zsh|tcsh" in capsys.readouterr().err


def test_the_help_tells_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    beamscribe.main(["--help"])
    text = capsys.readouterr().out
    for code in (DONE, STOPPED, REFUSED, CHECK_FAILED, INTERRUPTED):
        assert f"\n{code:>5}  " in text


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


@pytest.mark.parametrize(
    "command",
    [
        "caption --output x --images y zip://a.jpg::sftp://me:SECRET@h/a.zip",
        "caption --manifest https://me:SECRET@h/list.txt --output x",
        "featurize --annotations s3://key:SECRET@b/a.json --images x --output x",
        "speak --captions x --output s3://key:SECRET@bucket/out",
        "train --features sftp://me:SECRET@h/f --validation v --output x",
        "status ftp://me:SECRET@h/out",
    ],
)
def test_passwords_in_addresses_are_refused_and_not_repeated(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert beamscribe.main(command.split()) == REFUSED
    told = capsys.readouterr()
    assert "holds a password" in told.err
    assert "SECRET" not in told.out + told.err


@pytest.mark.parametrize("command", ["caption --images x", "train --features f --validation v", "export c --to csv"])
def test_a_read_only_output_is_refused_before_the_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path) and access(path, mode))
    arguments = [*command.split(), "--output", str(tmp_path / "not" / "there yet")]
    assert beamscribe.main(arguments) == REFUSED
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"cannot be written: {tmp_path} is read-only here: name another place")


def test_public_names_are_there() -> None:
    for name in beamscribe.PUBLIC:
        assert getattr(beamscribe, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute nothing"):
        _ = beamscribe.nothing


def test_the_front_door_loads_nothing_heavy() -> None:
    code = "import beamscribe, sys; print(sorted({'tensorflow', 'apache_beam', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


HEAVY = {"tensorflow", "apache_beam", "keras", "pyarrow", "scipy", "soundfile"}


def test_flags_load_nothing_heavy() -> None:
    code = "import sys; from beamscribe import command_line\n"
    code += "[command_line.parser_of(command) for command in command_line.COMMANDS]\n"
    code += f"print(sorted({HEAVY} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("caption --imags x --output y", "unknown argument --imags: did you mean --images?"),
        ("caption --imags=x --output y", "unknown argument --imags: did you mean --images?"),
        ("caption my-photographs --output y", "unknown argument my-photographs: did you mean --images my-photographs?"),
        ("caption", "the following arguments are required: --output; see beamscribe caption --help"),
        ("caption --images x --output y --limit none", "argument --limit: invalid positive value: 'none'"),
        ("speak captions", "unknown argument captions: did you mean --captions captions?"),
        ("train --feature x --output y", "unknown argument --feature: did you mean --features?"),
        ("verify out --repare", "unknown argument --repare: did you mean --repair?"),
        ("say hello there --output a.mp3", "unknown argument there; see beamscribe say --help"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_before_anything_heavy_is_loaded(typed: str, says: str) -> None:
    code = f"import beamscribe, sys; code = beamscribe.main({typed.split()}); "
    code += f"print(sorted({HEAVY} & set(sys.modules))); sys.exit(code)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "[]\n"
    assert (ended.returncode, ended.stderr.count("\n")) == (REFUSED, 1)
    assert says in ended.stderr


def test_public_names_are_listed() -> None:
    assert {"Captioner", "featurize", "speak", "main"} <= set(dir(beamscribe)) & set(beamscribe.__all__)


ABORTS_WHILE_ENDING = """
import atexit, os, sys
from beamscribe import command_line

class Native:
    '''As a thread of a library that is still there when the library goes.'''
    def __del__(self):
        os.abort()

kept = Native()
atexit.register(print, "and tidied up")

def main():
    print("written", end=" ")
    if CODE == "help":
        raise SystemExit(0)
    return CODE

CODE = {code!r}
command_line.main = main
command_line.run_and_exit()
"""


@pytest.mark.parametrize("code", [DONE, STOPPED, REFUSED, CHECK_FAILED, INTERRUPTED, "help"])
def test_what_aborts_while_an_interpreter_ends_does_not_change_the_exit_code(code: int | str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABORTS_WHILE_ENDING.replace("{code!r}", repr(code))], capture_output=True, text=True
    )
    assert ended.returncode == (DONE if code == "help" else code)
    tidied = code in (DONE, REFUSED, "help")
    assert ended.stdout == ("written and tidied up\n" if tidied else "written ")


def test_an_error_of_ours_is_a_traceback_and_exit_code_1() -> None:
    code = "from beamscribe import command_line; command_line.main = lambda: 1 / 0; command_line.run_and_exit()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == STOPPED
    assert "ZeroDivisionError" in ended.stderr


def test_an_output_that_cannot_be_written_is_no_success() -> None:
    code = (
        "from beamscribe import command_line; command_line.main = lambda: print('x') or 0; command_line.run_and_exit()"
    )
    with open("/dev/full", "w") as full:
        assert subprocess.run([sys.executable, "-c", code], stdout=full).returncode == STOPPED
    reader = subprocess.run(
        f"env -u PYTHONUNBUFFERED {sys.executable} -c {shlex.quote(code)} | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (reader.returncode, reader.stderr) == (DONE, "")
