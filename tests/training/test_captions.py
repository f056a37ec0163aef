import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.schemas import caption_row
from beamscribe.schemas.coco import CocoCaption, CocoImage
from beamscribe.schemas.matching import ANNOTATIONS
from beamscribe.schemas.table import VERSION_KEY, to_table
from beamscribe.training.captions import Caption, Captions, Meeting, read_captions
from beamscribe.training.captions import meet as meet_captions
from tests.training.made_captions import FINGERPRINT, caption, write_output


def image(id: int, file_name: str, captions: int = 2) -> CocoImage:
    return CocoImage(id, file_name, None, None, tuple(CocoCaption(n, f"A dog {n}.") for n in range(captions)))


def said(id: str, uri: str = "", text: str = "A dog.") -> Caption:
    return Caption(id, uri or id, text, FINGERPRINT)


def meet(captions: list[Caption], images: list[CocoImage], ids: str = ANNOTATIONS, trust_ids: bool = False) -> Meeting:
    return meet_captions(Captions(captions, ids), images, trust_ids)


def test_captions_of_annotated_features_meet_by_id_whatever_their_file_is_called() -> None:
    images = [image(7, "7.jpg"), image(8, "8.jpg")]
    meeting = meet([said("8", "file:///x/7.jpg"), said("7", "file:///x/7.jpg")], images)
    assert {id: found.id for id, found in meeting.captions.items()} == {"7": "7", "8": "8"}
    assert meeting.renamed == 1


@pytest.mark.parametrize(
    "uri",
    [
        "file:///photos/cat.jpg",
        "s3://bucket/deep/er/cat.jpg",
        "file:///photos.tar::val/cat.jpg",
        "file:///photos.tar::cat.jpg",
    ],
)
@pytest.mark.parametrize("file_name", ["cat.jpg", "val2017/cat.jpg"])
def test_other_captions_meet_by_the_base_name(uri: str, file_name: str) -> None:
    meeting = meet([said(uri), said("file:///photos/CAT.jpg")], [image(7, file_name), image(8, "acat.jpg")])
    assert meeting.captions == {"7": said(uri)}
    assert (meeting.without_references, meeting.renamed) == (1, 0)


def test_images_without_references_are_not_scored_and_their_captions_are_counted() -> None:
    images = [image(1, "1.jpg"), image(2, "2.jpg", captions=0), image(3, "3.jpg")]
    meeting = meet([said("1", "1.jpg"), said("2", "2.jpg"), said("file:///2.jpg"), said("9", "9.jpg")], images)
    assert [found.id for found in meeting.images] == [1, 3]
    assert list(meeting.captions) == ["1"]
    assert meeting.without_references == 3


@pytest.mark.parametrize(
    ("captions", "images", "message"),
    [
        (
            [said("1", "/1.jpg"), said("1", "/1.jpg", "A cat.")],
            [image(1, "1.jpg")],
            "has two captions, 'A dog.' of /1.jpg and 'A cat.' of",
        ),
        (
            [said("/a/1.jpg"), said("/b/1.jpg")],
            [image(1, "1.jpg")],
            "/a/1.jpg and /b/1.jpg may both be 1.jpg .*or feat",
        ),
        ([said("1", "/1.jpg"), said("/b/1.jpg")], [image(1, "1.jpg")], "may both be 1.jpg"),
        ([said("/1.jpg")], [image(4, "a/1.jpg"), image(9, "b/1.jpg")], r"a/1.jpg \(id 4\) or b/1.jpg \(id 9\)"),
        ([said("/1.jpg")], [image(4, "a/1.jpg"), image(9, "b/1.jpg", captions=0)], "names are the same"),
        ([said("/2.jpg"), said("7")], [image(1, "1.jpg")], r"/2.jpg .* not among the annotated 1.jpg \(id 1\)"),
        ([said("1")], [image(1, "1.jpg", captions=0)], "annotations hold no captions"),
    ],
)
def test_what_cannot_meet_is_refused(captions: list[Caption], images: list[CocoImage], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        meet(captions, images)


def test_names_that_no_scored_caption_bears_need_not_be_unique() -> None:
    images = [image(1, "1.jpg"), image(2, "a/2.jpg"), image(3, "b/2.jpg")]
    meeting = meet([said("/1.jpg"), said("/a/5.jpg"), said("/b/5.jpg")], images)
    assert list(meeting.captions) == ["1"]
    assert meeting.without_references == 2
    by_id = meet([said("2", "/2.jpg"), said("3", "/2.jpg")], images)
    assert list(by_id.captions) == ["2", "3"]


def test_rows_of_all_files_are_read_but_those_that_are_being_replaced(tmp_path: Path) -> None:
    old = caption("/old.jpg", "An old dog.", fingerprint="old")
    output = write_output(tmp_path / "out", [caption("/1.jpg", "A dog."), old], [caption("3", "A cat.", "/3.jpg")])
    (tmp_path / "out" / "captions" / ".2.parquet.tmp").write_bytes(b"half")
    (tmp_path / "out" / "captions" / ".3.parquet").write_bytes(b"half")
    expected = [said("/1.jpg"), said("3", "/3.jpg", "A cat.")]
    assert read_captions(output, {}) == Captions(expected, ANNOTATIONS)
    assert read_captions(f"file://{output}/", {}) == Captions(expected, ANNOTATIONS)


def newer() -> bytes:
    schema = caption_row.SCHEMA.with_metadata({VERSION_KEY: b"99"})
    sink = pa.BufferOutputStream()
    pq.write_table(to_table([caption("/1.jpg", "A dog.")], schema), sink)
    return sink.getvalue().to_pybytes()


def foreign() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["1"]}, caption_row.SCHEMA.empty_table().select(["id"]).schema), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("_beamscribe/manifest.json", None, "it has no _beamscribe/manifest.json: give a folder that"),
        ("_beamscribe/manifest.json", b"{", "cannot be read: .* is not a Beamscribe manifest"),
        ("captions/0.parquet", None, "holds no captions yet"),
        ("captions/0.parquet", b"PAR1 cut off", "0.parquet cannot be read: .*beamscribe verify"),
        ("captions/0.parquet", newer(), "schema version 99, .* upgrade"),
        ("captions/0.parquet", foreign(), "0.parquet cannot be read"),
    ],
)
def test_what_is_no_output_of_caption_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    output = write_output(tmp_path / "out", [caption("/1.jpg", "A dog.")])
    if content is None:
        (tmp_path / "out" / name).unlink()
    else:
        (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(RefusedError, match=message):
        read_captions(output, {})


def test_outputs_of_other_jobs_and_folders_within_an_output_are_refused(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", [caption("/1.jpg", "A dog.")])
    with pytest.raises(RefusedError, match=f"give the folder that it is in, file://{output}$"):
        read_captions(f"{output}/captions/", {})
    with pytest.raises(RefusedError, match="an output of beamscribe speak: give one of beamscribe caption"):
        read_captions(write_output(tmp_path / "speech", job="speak"), {})
    (tmp_path / "empty" / "_beamscribe").mkdir(parents=True)
    manifest = json.loads((tmp_path / "out" / "_beamscribe" / "manifest.json").read_text())
    (tmp_path / "empty" / "_beamscribe" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RefusedError, match="holds no captions yet"):
        read_captions(str(tmp_path / "empty"), {})
    with pytest.raises(RefusedError, match="cannot reach s4://bucket"):
        read_captions("s4://bucket/out", {})
