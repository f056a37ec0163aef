"""Mistakes that people make on the command line are refused in one line before anything is launched."""

from pathlib import Path

import pytest
from PIL import Image

import beamscribe
from beamscribe.errors import REFUSED

# The first box of an MP4 file, and what a picture could never begin with.
VIDEO = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(range(256)) * 40


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.new("RGB", (16, 16), "red").save(folder / "a.png")
    return folder


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert beamscribe.main(argv) == REFUSED
    told = capsys.readouterr()
    assert told.err.count("\n") == 1, told.err
    return told.err


@pytest.mark.parametrize(
    "job",
    [["caption", "--images"], ["speak", "--captions"], ["featurize", "--annotations", "captions.json", "--images"]],
    ids=lambda argv: argv[0],
)
def test_an_output_that_is_a_file(
    job: list[str], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "captions").write_text("mine")
    told = refusal([*job, str(photographs), "--output", str(tmp_path / "captions")], capsys)
    assert "captions is a file: name a folder" in told
    assert (tmp_path / "captions").read_text() == "mine"


@pytest.mark.parametrize("output", ["captions", "deep/er/captions", "."])
def test_an_output_inside_the_photographs(output: str, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(["caption", "--images", str(photographs), "--output", str(photographs / output)], capsys)
    assert "is inside" in told
    assert "name a folder elsewhere" in told
    assert [path.name for path in photographs.iterdir()] == ["a.png"]


def test_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "film.mp4").write_bytes(VIDEO)
    told = refusal(["caption", "--images", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "out")], capsys)
    assert "film.mp4 is no image and no archive: name a folder" in told
    assert not (tmp_path / "out").exists()


def test_a_video_as_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "film.mp4").write_bytes(VIDEO)
    told = refusal(["caption", "--manifest", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "out")], capsys)
    assert "film.mp4" in told
    assert len(told) < 400
