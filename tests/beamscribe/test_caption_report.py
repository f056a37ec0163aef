"""`beamscribe caption --report` writes the page when the job is done, and never instead of its exit code."""

from pathlib import Path

import pytest

import beamscribe
from beamscribe.caption_report import report_after_caption
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED, STOPPED
from beamscribe.pipelines.outputs.verify import run as verify
from tests.pipelines.outputs.report.test_command import captioned


@pytest.mark.slow
def test_the_page_is_in_the_output_and_verify_does_not_mind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = Path(captioned(tmp_path).root)
    argv = ["--images", "photos", "--output", f"{output}/", "--report"]
    assert report_after_caption(argv, DONE) == DONE
    page = output / "report.html"
    assert page.read_text().count('<img src="data:image/jpeg;base64,') == 2
    told = capsys.readouterr().out
    assert told.splitlines()[-1].startswith("beamscribe caption: the page has 3 photographs of 3, ")
    assert told.endswith(f" → {page}\n")
    assert verify([str(output)]) == DONE
    # A check that says no has captions to look at too.
    page.unlink()
    other = tmp_path / "other.html"
    assert report_after_caption([*argv, str(other)], CHECK_FAILED) == CHECK_FAILED
    assert other.exists()
    assert not page.exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [([], DONE), (["--report"], STOPPED), (["--report", "--plan"], DONE), (["--report", "--dry_run=true"], DONE)],
)
def test_without_an_end_or_a_wish_there_is_no_page(tmp_path: Path, more: list[str], code: int) -> None:
    assert report_after_caption(["--images", "photos", "--output", str(tmp_path / "none"), *more], code) == code
    assert list(tmp_path.iterdir()) == []


def test_captions_without_their_page_are_to_be_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = captioned(tmp_path).root
    (tmp_path / "file").write_text("")
    argv = ["--images", "photos", "--output", output, "--report", str(tmp_path / "file" / "page.html")]
    assert report_after_caption(argv, DONE) == STOPPED
    assert "the page was not written, the captions are there: --output" in capsys.readouterr().err


def test_a_word_that_is_no_page_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["caption", "--output", str(tmp_path / "out"), "--report", "photos", "--images", "more"]
    assert beamscribe.main(argv) == REFUSED
    assert "photos is not called NAME.html" in capsys.readouterr().err
