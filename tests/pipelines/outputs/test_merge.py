"""Captions made again: which images, and one output of both."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.outputs.captions import open_captions, rows_by_file
from beamscribe.pipelines.outputs.merge import run
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.sources.retake import NO_CONFIDENCE, SURE, unsure_images
from beamscribe.pipelines.sources.taught import NO_CAPTION, UNSURE, taught_images
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS
from tests.pipelines.outputs.report.made_report import row
from tests.pipelines.outputs.test_verify import go

CONFIDENCES = {"a": 0.9, "b": 0.1, "c": 0.3, "d": None}


def output_of(folder: Path, said: dict[str, float | None], style: str) -> str:
    """An output of caption whose rows have these confidences; `e` has failed."""
    output = Storage(str(folder))
    assert go(output, [*said, "e"], failing="e") == DONE
    for entry in output.files("captions"):
        rows = [
            row(one["id"], caption=f"{style} {one['id']}.")._replace(
                fingerprint=one["fingerprint"], confidence=said[one["id"]]
            )
            for one in ROWS.read(output.read(entry.name), "").to_pylist()
        ]
        output.write(entry.name, CAPTIONS.encode(rows))
    for entry in output.files("_beamscribe/shards"):
        output.delete(entry.name)
    manifest = json.loads(output.read("_beamscribe/manifest.json"))
    manifest["details"]["bundle"] = f"/bundles/{style.lower()}"
    output.write("_beamscribe/manifest.json", json.dumps(manifest).encode())
    assert go(output, [*said, "e"], failing="e") == DONE
    manifest["job"] = "caption"
    output.write("_beamscribe/manifest.json", json.dumps(manifest).encode())
    return str(folder)


@pytest.mark.slow
def test_the_least_sure_are_taken_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    first = output_of(tmp_path / "first", CONFIDENCES, "Small")
    found = unsure_images(first, 0.4, {})
    assert [item.id for item in found.references] == ["b", "c"]
    assert found.skipped == {SURE: 1, NO_CONFIDENCE: 1}
    assert found.listed == 4
    (one,) = unsure_images(first, 0.4, {}, limit=1).references
    assert (one.id, one.uri) == ("b", "file:///photos/b")
    with pytest.raises(RefusedError, match="no caption with a confidence below"):
        unsure_images(first, 0.05, {})
    with pytest.raises(RefusedError, match="no confidence in its rows"):
        unsure_images(output_of(tmp_path / "none", {"a": None}, "Old"), 0.4, {})


@pytest.mark.slow
def test_merged_rows_say_who_wrote_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = output_of(tmp_path / "first", CONFIDENCES, "Small")
    second = output_of(tmp_path / "second", {"b": None, "c": None}, "Large")
    merged = str(tmp_path / "merged")
    for _ in range(2):
        assert run([first, second, "--output", merged]) == DONE
        assert "4 captions, 2 of them in place of an earlier one" in capsys.readouterr().out
        rows = {one["id"]: one for part in rows_by_file(open_captions(merged, {})) for one in part}
        assert {id: (one["caption"], one["model"]) for id, one in rows.items()} == {
            "a": ("Small a.", "small"),
            "b": ("Large b.", "large"),
            "c": ("Large c.", "large"),
            "d": ("Small d.", "small"),
        }
        assert rows["a"]["confidence"] == pytest.approx(0.9)
        verdict = verify(Storage(merged))
        assert (verdict.rows, verdict.failures, verdict.todo, verdict.findings) == (4, 1, 0, ())
    with pytest.raises(RefusedError, match="did not write"):
        run([first, second, "--output", first])
    with pytest.raises(RefusedError, match="two outputs"):
        run([first, "--output", merged])


def test_captions_of_several_sources_teach_together(tmp_path: Path) -> None:
    first = output_of(tmp_path / "first", CONFIDENCES, "Small")
    table = pa.table({"image_uri": ["file:///photos/a", "x.jpg", "y.jpg"], "caption": ["By hand.", "Two.", " "]})
    pq.write_table(table, tmp_path / "hand.parquet")
    sources = [first, str(tmp_path / "hand.parquet")]
    found = list(taught_images(sources, {}, alternatives=2, least=0.2))
    items = {one.uri: one for one in found if isinstance(one, WorkItem)}
    assert [caption.text for caption in items["file:///photos/a"].captions] == ["Small a.", "Not Small a.", "By hand."]
    assert items["file:///photos/a"].id == "a"
    assert [caption.text for caption in items["x.jpg"].captions] == ["Two."]
    assert (items["x.jpg"].id, items["x.jpg"].file_name) == ("x.jpg", "x.jpg")
    assert sorted(one.reason for one in found if not isinstance(one, WorkItem)) == sorted([NO_CAPTION, UNSURE])
    pq.write_table(pa.table({"uri": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(RefusedError, match="has no column image_uri and caption"):
        list(taught_images([str(tmp_path / "other.parquet")], {}, 1, 0.0))
