"""Rows meet annotated images by COCO id only where ids came from annotations, else by file name."""

import io
import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas.coco import CocoImage
from beamscribe.schemas.corpus_item import SCHEMA
from beamscribe.schemas.matching import (
    ANNOTATIONS,
    FIRST_PART,
    IDS,
    MANIFEST,
    MIXED,
    OLD_FIRST_PART,
    URIS,
    Matcher,
    MatchError,
    ids_after,
    ids_of_output,
)


def image(id: int, file_name: str) -> CocoImage:
    return CocoImage(id, file_name, None, None, ())


def found(matcher: Matcher, id: str, uri: str) -> int | None:
    image = matcher.image_of(id, uri)
    return image and image.id


@pytest.mark.parametrize("ids", [MANIFEST, URIS, MIXED])
def test_row_numbers_are_no_ids_of_coco(ids: str) -> None:
    matcher = Matcher([image(n, f"{n}.jpg") for n in (1, 2, 3)], ids)
    rows = {"1": "file:///d/3.jpg", "2": "file:///d/1.jpg", "3": "file:///d/2.jpg"}
    assert [found(matcher, *row) for row in rows.items()] == [3, 1, 2]
    matcher.check()


@pytest.mark.parametrize(
    ("uri", "file_name"),
    [
        ("file:///d/cat.jpg", "cat.jpg"),
        ("file:///d/cat.jpg", "val2017/cat.jpg"),
        ("file:///d/photos.tar::val2017/cat.jpg", "val2017/cat.jpg"),
        ("file:///d/photos.tar::cat.jpg", "val2017/cat.jpg"),
        ("file:///d/photos.zip::val2017\\cat.jpg", "cat.jpg"),
        ("file:///d/a::cat.jpg", "a::cat.jpg"),
        ("file:///d/photos.tar::x::cat.jpg", "x::cat.jpg"),
        ("https://host/a/cat%20dog.jpg?sig=a/b#top", "cat dog.jpg"),
        ("https://host/a/cat%20dog.jpg", "cat%20dog.jpg"),
        ("file:///d/cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("s3://bucket/what?.jpg", "what?.jpg"),
    ],
)
def test_file_names_meet(uri: str, file_name: str) -> None:
    assert found(Matcher([image(7, file_name), image(8, "other.jpg")], URIS), uri, uri) == 7


@pytest.mark.parametrize("uri", ["file:///d/CAT.jpg", "file:///d/acat.jpg", "file:///d/cat.jpg/x", "t.parquet::7"])
def test_other_names_do_not_meet(uri: str) -> None:
    assert found(Matcher([image(7, "cat.jpg")], URIS), uri, uri) is None


def test_the_folders_of_the_annotations_tell_files_of_one_name_apart() -> None:
    matcher = Matcher([image(4, "train/1.jpg"), image(9, "val/1.jpg")], URIS)
    assert found(matcher, "x", "file:///coco.tar::val/1.jpg") == 9
    assert found(matcher, "x", "file:///coco/train/1.jpg") == 4
    with pytest.raises(MatchError, match=r"may be train/1.jpg \(id 4\) or val/1.jpg \(id 9\)"):
        matcher.image_of("x", "file:///flat/1.jpg")
    with pytest.raises(MatchError, match="may be"):
        Matcher([image(4, "1.jpg"), image(9, "val/1.jpg")], URIS).image_of("x", "file:///d/val/1.jpg")


def test_an_image_has_one_row() -> None:
    matcher = Matcher([image(7, "7.jpg")], URIS)
    taken = matcher.image_of("a", "/a/7.jpg")
    assert taken is not None
    assert matcher.take(taken, "a", "/a/7.jpg", "A dog.") is False
    assert matcher.take(taken, "b", "/a/7.jpg", "A dog.") is True
    with pytest.raises(MatchError, match=r"/a/7.jpg and /b/7.jpg may both be 7.jpg \(id 7\)"):
        matcher.take(taken, "c", "/b/7.jpg", "A dog.")
    with pytest.raises(MatchError, match="two captions"):
        matcher.take(taken, "c", "/a/7.jpg", "A cat.")


def test_ids_that_came_from_annotations_meet_whatever_the_files_are_called() -> None:
    images = [image(9, "COCO_val2014_000000000009.jpg"), image(25, "COCO_val2014_000000000025.jpg")]
    matcher = Matcher(images, ANNOTATIONS)
    assert [found(matcher, n, f"file:///val2017/{int(n):012}.jpg") for n in ("9", "25", "30")] == [9, 25, None]
    assert found(matcher, "file:///x/COCO_val2014_000000000009.jpg", "file:///x/COCO_val2014_000000000009.jpg") == 9
    matcher.check()
    assert matcher.renamed == 0
    assert found(matcher, "9", "file:///renamed.jpg") == 9
    matcher.check()
    assert matcher.renamed == 1


@pytest.mark.parametrize("rows", [{"1": "/2.jpg", "2": "/1.jpg"}, {"1": "/1.jpg", "7": "/2.jpg"}])
def test_annotations_that_give_the_ids_to_other_files_are_refused(rows: dict[str, str]) -> None:
    images = [image(1, "1.jpg"), image(2, "2.jpg")]
    matcher = Matcher(images, ANNOTATIONS)
    for id, uri in rows.items():
        matcher.image_of(id, uri)
    if rows == {"1": "/2.jpg", "2": "/1.jpg"}:
        with pytest.raises(MatchError, match=r"of id 1 is of /2.jpg, which the annotations call 2.jpg \(id 2\), while"):
            matcher.check()
    else:
        with pytest.raises(MatchError, match=r"call 2.jpg \(id 2\), while they have no id 7"):
            matcher.check()
    trusting = Matcher(images, MANIFEST, trust_ids=True)
    assert [found(trusting, *row) for row in rows.items()] == [1, 2 if "2" in rows else None]
    trusting.check()


def test_ids_that_meet_without_any_file_name_are_those_of_other_annotations() -> None:
    matcher = Matcher([image(1, "dog.jpg"), image(2, "cat.jpg")], ANNOTATIONS)
    assert found(matcher, "1", "/000000000001.jpg") == 1
    with pytest.raises(MatchError, match="no file has the name .* id 1 is /000000000001.jpg, .* dog"):
        matcher.check()


def test_photographs_of_one_name_in_two_folders_are_told_apart_by_id() -> None:
    matcher = Matcher([image(9, "1.jpg")], ANNOTATIONS)
    assert [found(matcher, "4", "/train/1.jpg"), found(matcher, "9", "/val/1.jpg")] == [None, 9]
    matcher.check()


def stored(*items: list) -> bytes:
    return json.dumps(items).encode()


RECORD = ["7", "f.tfrecord.gz::7", "", [], "", "f.tfrecord.gz", "", None]
MEMBER = ["a.zip::1", "a.zip::1", "", [], "", "a.zip", "", ["zip", 0, 0, 0, ""]]
LOOSE = ["7", "file:///7.jpg"]


@pytest.mark.parametrize(
    ("details", "part", "ids"),
    [
        ({IDS: MANIFEST}, stored(RECORD), MANIFEST),
        ({}, stored(RECORD, RECORD[:6]), ANNOTATIONS),
        ({}, stored(RECORD, LOOSE + ["", [], "", ""]), MIXED),
        ({}, stored(MEMBER), MIXED),
        ({}, stored(LOOSE), MIXED),
        ({}, b"[", MIXED),
        ({}, b"[" * 100_000, MIXED),
        ({}, b"7", MIXED),
        ({}, None, MIXED),
        ({IDS: 7}, None, MIXED),
        ({IDS: ["x"]}, None, MIXED),
    ],
)
def test_outputs_that_do_not_record_it_are_told_by_their_corpus(details: dict, part: bytes | None, ids: str) -> None:
    files = {} if part is None else {OLD_FIRST_PART: part}
    assert ids_of_output(details, reader(files)) == ids


@pytest.mark.parametrize(("item", "ids"), [(RECORD, ANNOTATIONS), (LOOSE, MIXED), (MEMBER, MIXED)])
def test_they_are_told_by_a_corpus_in_parquet_too(item: list, ids: str) -> None:
    file = io.BytesIO()
    rows = [{"id": item[0], "uri": item[1], "more": json.dumps(item[2:])}]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    assert ids_of_output({}, reader({FIRST_PART: file.getvalue()})) == ids


def reader(files: dict[str, bytes]) -> Callable[[str], bytes]:
    """Reads files, as of an output."""

    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError
        return files[name]

    return read


def test_an_output_of_several_kinds_of_runs_says_so() -> None:
    assert ids_after(None, ANNOTATIONS) == ids_after(ANNOTATIONS, ANNOTATIONS) == ANNOTATIONS
    assert ids_after(ANNOTATIONS, MANIFEST) == ids_after(MIXED, ANNOTATIONS) == MIXED


_NAMES = st.lists(st.sampled_from(["a", "b", "1.jpg", "2.jpg", "::", "\\", "%41", "..", "é"]), max_size=4).map("/".join)


@given(_NAMES, st.lists(_NAMES, min_size=1, max_size=4), st.sampled_from([ANNOTATIONS, MANIFEST, URIS, MIXED]))
def test_any_names_give_an_image_or_a_refusal(uri: str, names: list[str], ids: str) -> None:
    matcher = Matcher([image(number, f"{name}/x") for number, name in enumerate(names)], ids)
    for id in ("0", uri):
        try:
            matcher.image_of(id, f"{uri}/x")
            matcher.check()
        except MatchError:
            continue
