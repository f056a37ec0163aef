"""Documents are true: their commands can be typed, and what they say that the program says, it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import beamscribe
from beamscribe import command_line
from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.pipelines.runtime import options
from tests.documents import CHECKOUT, Command, commands

DOCUMENTS = sorted(
    str(path.relative_to(CHECKOUT)) for path in [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
)
JOBS = ("featurize", "caption", "speak")


def typed(document: str) -> list[Command]:
    return [command for command in commands(document) if not command.python]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_in_the_documents_is_one(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Flags are looked at here, and no job server answers.
    monkeypatch.setattr(options, "refuse_without_server", lambda beam_options: None)
    for command in typed(document):
        program, *words = command.words
        if program != "beamscribe" or "…" in command.text or words[0] in ("completion", "--help"):
            continue
        # Both refuse what they do not know.
        parser = command_line.parser_of(words[0])
        if words[0] in JOBS:
            options.parse(parser, words[1:])
        else:
            parser.parse_strictly(words[1:])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = CHECKOUT / document
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.parametrize("document", ["docs/security.md", "docs/reliability.md"])
def test_promises_name_tests_that_are_there(document: str) -> None:
    named = re.findall(r"tests/[\w/]+(?:\.py)?", (CHECKOUT / document).read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_messages_in_troubleshooting_are_messages() -> None:
    folders = ("schemas", "storage", "model", "training", "pipelines")
    sources = [path for folder in folders for path in (CHECKOUT / folder).rglob("*.py")]
    sources += (CHECKOUT / "beamscribe").glob("*.py")
    # Literals that are written on several lines are one message, whatever stands for a value in between.
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in sources))
    lacking = []
    for line in (CHECKOUT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        for message in re.findall(r"`([^`]+)`", line.split("|")[1]):
            for part in re.split(r"…|--[xy]\b|\[Errno.*?\]|^[\w ]+: ", message):
                if len(part.strip(" :?")) > 8 and part.strip(" :?") not in code:
                    lacking.append(part.strip(" :?"))
    assert not lacking, "\n".join(lacking)


def test_the_demo_is_the_tutorial() -> None:
    def steps(*arguments: str) -> list[str]:
        asked = ["make", "-n", "-o", ".venv/installed", "demo", "DEMO=x", *arguments]
        made = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
        return [line.split("/")[-1] if "/photographs.py" in line else line for line in made.splitlines()]

    ran = [line.split()[1] for line in steps() if "beamscribe " in line]
    told = [command.words[1] for command in typed("docs/tutorial.md") if command.words[0] == "beamscribe"]
    assert set(ran) <= set(told)
    of_mine = steps("IMAGES=/there/my photographs & more")
    assert any(
        '--images "/there/my photographs & more" --output x/of-my-photographs---more' in line for line in of_mine
    )


def prepare(folder: Path, made_images: Path) -> None:
    """A folder where commands are run: with the photographs of the demo, and made ones in the place of COCO's."""
    for name in ("train2017", "val2017"):
        (folder / name).symlink_to(made_images / "images")
        (folder / f"captions_{name}.json").symlink_to(made_images / "captions.json")
    (folder / "docs").symlink_to(CHECKOUT / "docs")
    subprocess.run([sys.executable, "docs/demo/photographs.py", "photographs"], cwd=folder, check=True)
    # There is one in every folder.
    (folder / "photographs" / "empty.jpg").touch()


def follow(document: str) -> None:
    """Does what a document says, here."""
    for command in commands(document):
        if command.needs:
            continue
        if command.python:
            exec(compile(command.text, document, "exec"), {})
        elif command.words[0] == "beamscribe":
            words = command.words[1:]
            # The default recipe takes hours on COCO; this one learns a handful of pictures.
            recipe = CHECKOUT / "training" / "configs" / "handful.py"
            words += ["--config", str(recipe), "--epochs", "1"] if words[0] == "train" else []
            # One epoch need not be better than word frequencies.
            expected = (DONE, CHECK_FAILED) if words[0] == "train" else (DONE,)
            assert beamscribe.main(words) in expected, command.text
        elif command.words[0] == "python":
            subprocess.run([sys.executable, *command.words[1:]], check=True)
        else:
            # Its steps are the tutorial's.
            assert command.words[:2] == ["make", "demo"], command.text


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(
    ("documents", "made"),
    [
        (["README.md"], ["report.html", "report_val.html", "attention.png", "captions.csv", "dog.mp3", "scores.json"]),
        (["docs/tutorial.md", "docs/reading.md"], ["report.html", "attention.png", "captions.csv", "captions.jsonl"]),
    ],
)
def test_commands_do_what_they_say(
    documents: list[str], made: list[str], tmp_path: Path, made_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, made_images)
    monkeypatch.delenv("BEAMSCRIBE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    for document in documents:
        follow(document)
    for name in made:
        assert (tmp_path / name).stat().st_size > 1000, name
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("data-maps=") == page.count("<audio ") == 8
    if "report_val.html" in made:
        assert "What people wrote" in Path("report_val.html").read_text(encoding="utf-8")
    else:
        assert len(list(Path("texts").glob("*.txt"))) == 8
