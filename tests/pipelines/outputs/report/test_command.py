"""The command on files: what is there is shown, what is missing is said in its place."""

from pathlib import Path

import pytest

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.outputs.report.command import run
from beamscribe.pipelines.speak import run as speak
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS
from tests.pipelines.outputs.report.made_report import photograph, row
from tests.pipelines.outputs.test_verify import FINGERPRINT, go


def captioned(root: Path) -> Storage:
    """An output of the fake job whose rows are of photographs that are there, but for the last; d has failed."""
    output = Storage(str(root / "captions"))
    assert go(output, "abcd", failing="d") == DONE
    photos = root / "photos"
    photos.mkdir()
    for entry in output.files("captions"):
        rows = []
        for id in ROWS.read(output.read(entry.name), "", ["id"])["id"].to_pylist():
            data = photograph(64, 48, ord(id))
            if id != "c":
                (photos / f"{id}.jpg").write_bytes(data)
            item = row(f"{id}.jpg", data, f"A dog called {id}.")
            rows.append(item._replace(id=id, image_uri=f"file://{photos}/{id}.jpg", fingerprint=FINGERPRINT.digest))
        output.write(entry.name, ROWS.encode(rows))
    # Receipts are made anew from the files.
    for entry in output.files("_beamscribe/shards"):
        output.delete(entry.name)
    go(output, "abcd", failing="d")
    return output


@pytest.mark.slow
def test_a_page_with_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = captioned(tmp_path)
    assert speak(["--captions", output.root, "--output", str(tmp_path / "speech")]) == DONE
    page = tmp_path / "page" / "report.html"
    flags = ["--model", str(tmp_path / "nowhere"), "--speech", str(tmp_path / "speech")]
    assert run([output.root, "--output", str(page), *flags]) == DONE
    text = page.read_text()
    assert text.count('<img src="data:image/jpeg;base64,') == 2
    assert text.count("<audio ") == 3
    assert "The photograph cannot be read (FileNotFoundError); --images-root says where." in text
    assert "Where the captioner looked cannot be shown" in text
    assert "read: FakeError" in text
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"beamscribe report: 3 photographs of 3, {page.stat().st_size / 1e6:.1f} MB → {page}"
    )


def test_another_bundle_than_the_captions_own_is_not_asked(tmp_path: Path, untrained_bundle) -> None:
    output = captioned(tmp_path)
    assert run([output.root, "--output", str(tmp_path / "r.html"), "--model", untrained_bundle.path]) == DONE
    assert "is another than the one that wrote these captions" in (tmp_path / "r.html").read_text().replace("\n", " ")


@pytest.mark.slow
def test_what_is_no_output_of_caption_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is not an output of Beamscribe"):
        run([str(tmp_path), "--output", str(tmp_path / "r.html")])
    output = captioned(tmp_path)
    speak(["--captions", output.root, "--output", str(tmp_path / "speech")])
    with pytest.raises(RefusedError, match="holds the output of speak"):
        run([str(tmp_path / "speech"), "--output", str(tmp_path / "r.html")])
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be written"):
        run([output.root, "--model", "none", "--output", str(tmp_path / "file" / "r.html")])
