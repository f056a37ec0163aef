"""COCO parsing: hand-made tables, then any bytes and any JSON."""

import json
import os
import posixpath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.schemas.coco import (
    CocoCaption,
    CocoCorpus,
    CocoDefect,
    CocoError,
    CocoImage,
    describe,
    left_out,
    parse_coco,
    repeated_images,
)

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
IMAGE = {"id": 1, "file_name": "1.jpg", "width": 640, "height": 480, "license": 3}


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def annotation(number: Any, image: Any, caption: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "caption": caption}


def corpus(images: list[Any], annotations: list[Any] | None = None) -> CocoCorpus:
    document = {"info": {}, "images": images, "licenses": []}
    return parse_coco(encode(document if annotations is None else document | {"annotations": annotations}))


def test_captions_follow_their_image_in_the_order_of_the_file_word_for_word() -> None:
    second = {"id": 2, "file_name": "train2017/2.jpg"}
    parsed = corpus([IMAGE, second], [annotation(9, 2, "b "), annotation(8, 1, "a"), annotation(7, 2, "Ça\n")])
    assert parsed == CocoCorpus(
        (
            CocoImage(1, "1.jpg", 640, 480, (CocoCaption(8, "a"),)),
            CocoImage(2, "train2017/2.jpg", None, None, (CocoCaption(9, "b "), CocoCaption(7, "Ça\n"))),
        ),
        (),
    )


@pytest.mark.parametrize("annotations", [None, []])
def test_a_test_file_has_images_without_captions(annotations: list[Any] | None) -> None:
    assert corpus([IMAGE], annotations) == CocoCorpus((CocoImage(1, "1.jpg", 640, 480, ()),), ())


def test_a_byte_order_mark_is_no_error() -> None:
    assert len(parse_coco(b"\xef\xbb\xbf" + encode({"images": [IMAGE]})).images) == 1


@pytest.mark.parametrize(
    ("entry", "kind", "place"),
    [
        (7, "image-not-an-object", "images[1]"),
        (None, "image-not-an-object", "images[1]"),
        ({"file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": True, "file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": "2", "file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": 2.0, "file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": 2**63, "file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": [2], "file_name": "2.jpg"}, "image-id", "images[1]"),
        ({"id": 1, "file_name": "1.jpg", "width": 7}, "image-id-repeated", "images[1] (id 1)"),
        ({"id": 2}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": ""}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": " "}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": 2}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": "folder/"}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": "."}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": "2\0.jpg"}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": "\ud800.jpg"}, "file-name", "images[1] (id 2)"),
        ({"id": 2, "file_name": "/etc/2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "\\\\host\\2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "C:\\2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "s3://bucket/2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "../2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "a/../../2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": "a\\..\\2.jpg"}, "file-name-outside", "images[1] (id 2)"),
        ({"id": 2, "file_name": ".."}, "file-name-outside", "images[1] (id 2)"),
    ],
)
def test_an_unusable_image_is_dropped_and_named(entry: Any, kind: str, place: str) -> None:
    parsed = corpus([IMAGE, entry])
    assert [image.id for image in parsed.images] == [1]
    assert parsed.defects == (CocoDefect(kind, 1, (place,)),)


@pytest.mark.parametrize("name", ["..2.jpg", "a..b/2.jpg", "a:b.jpg", "naïve 2.jpg", "🐈.jpg", ".hidden"])
def test_odd_file_names_under_the_folder_are_kept(name: str) -> None:
    parsed = corpus([{"id": 2, "file_name": name}])
    assert parsed == CocoCorpus((CocoImage(2, name, None, None, ()),), ())


@pytest.mark.parametrize("width", [0, -640, "640", 640.0, True, [640]])
def test_an_unusable_width_is_left_out_and_the_image_kept(width: Any) -> None:
    parsed = corpus([IMAGE | {"width": width}])
    assert parsed.images == (CocoImage(1, "1.jpg", None, 480, ()),)
    assert parsed.defects == (CocoDefect("image-size", 1, ("images[0] (id 1)",)),)


@pytest.mark.parametrize(
    ("entry", "kind", "place"),
    [
        ("a cat", "annotation-not-an-object", "annotations[1]"),
        ({"image_id": 1, "caption": "x"}, "annotation-id", "annotations[1]"),
        (annotation(False, 1, "x"), "annotation-id", "annotations[1]"),
        (annotation("8", 1, "x"), "annotation-id", "annotations[1]"),
        (annotation(8.5, 1, "x"), "annotation-id", "annotations[1]"),
        (annotation(7, 1, "x"), "annotation-id-repeated", "annotation 7"),
        ({"id": 8, "caption": "x"}, "annotation-image-id", "annotation 8"),
        (annotation(8, "1", "x"), "annotation-image-id", "annotation 8"),
        (annotation(8, {}, "x"), "annotation-image-id", "annotation 8"),
        (annotation(8, 2, "x"), "annotation-without-image", "annotation 8"),
        ({"id": 8, "image_id": 1}, "caption", "annotation 8"),
        (annotation(8, 1, None), "caption", "annotation 8"),
        (annotation(8, 1, ["x"]), "caption", "annotation 8"),
        (annotation(8, 1, "x\udc00"), "caption", "annotation 8"),
        (annotation(8, 1, ""), "caption-blank", "annotation 8"),
        (annotation(8, 1, " \n\u3000"), "caption-blank", "annotation 8"),
    ],
)
def test_an_unusable_annotation_is_dropped_and_named(entry: Any, kind: str, place: str) -> None:
    parsed = corpus([IMAGE], [annotation(7, 1, "first"), entry])
    assert parsed.images[0].captions == (CocoCaption(7, "first"),)
    assert parsed.defects == (CocoDefect(kind, 1, (place,)),)


def test_a_repeated_image_is_one_and_an_id_of_two_images_is_refused() -> None:
    parsed = corpus([IMAGE, IMAGE, {"id": 9}, 7, IMAGE], [annotation(7, 1, "a"), annotation(8, 1, "b")])
    assert [(image.file_name, len(image.captions)) for image in parsed.images] == [("1.jpg", 2)]
    assert repeated_images(parsed.defects) == 2
    assert left_out(parsed.defects) == {"no usable file name": 1, "no JSON object": 1}
    with pytest.raises(
        CocoError, match=r"images\[1\] gives the id 1 to other.jpg, which an earlier .* 1.jpg.*: give each"
    ):
        corpus([IMAGE, IMAGE | {"file_name": "other.jpg"}], [annotation(7, 1, "a"), annotation(8, 1, "b")])


def test_the_first_usable_entry_of_an_id_stays() -> None:
    parsed = corpus([{"id": 1}, IMAGE], [annotation(7, 1, " "), annotation(7, 1, "kept")])
    assert parsed.images == (CocoImage(1, "1.jpg", 640, 480, (CocoCaption(7, "kept"),)),)
    assert [defect.kind for defect in parsed.defects] == ["file-name", "caption-blank"]


def test_defects_count_all_and_show_five() -> None:
    parsed = corpus([IMAGE], [annotation(number, 404, "x") for number in range(1000, 2234)])
    examples = ("annotation 1000", "annotation 1001", "annotation 1002", "annotation 1003", "annotation 1004")
    assert parsed.defects == (CocoDefect("annotation-without-image", 1234, examples),)
    assert describe(parsed.defects) == (
        f"annotations of an image that is not there or was dropped, dropped: 1,234 ({', '.join(examples)}, ...)"
    )


def test_describe_writes_one_line_a_defect() -> None:
    text = describe(corpus([IMAGE, 7, {"id": 2}]).defects)
    assert text.splitlines() == [
        "image entries that are no JSON object, dropped: 1 (images[1])",
        "images without a usable file name, dropped: 1 (images[2] (id 2))",
    ]
    assert describe(()) == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1, column 1"),
        (b"\xff\xd8\xff\xe0", "not UTF-8 at byte 0"),
        (b'{"images": [{"id": 1,', "cut download"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"images": [{"id": ' + b"9" * 5000 + b"}]}", "a number cannot be read"),
        (b'{"images": [], "x": NaN}', "NaN is not JSON"),
        (b'{"images": [], "x": -Infinity}', "-Infinity is not JSON"),
        (b"[]", "this one holds a list"),
        (b"null", "this one holds null"),
        (b"3", "this one holds a number"),
        (b"{}", "no `images`.*keys found: none"),
        (b'{"questions": 1}', "no `images`.*questions"),
        (b'{"images": {}}', "`images` is an object"),
        (b'{"images": null}', "`images` is null"),
        (b'{"images": [], "annotations": true}', "`annotations` is true or false"),
        (b'{"images": []}', "no usable image: the list is empty"),
        (
            b'{"images": [1, 2]}',
            r"no usable image: image entries that are no JSON object, dropped: 2 \(images\[0\], images",
        ),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(CocoError, match=message):
        parse_coco(data)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"bbox": [0, 0, 1, 1], "category_id": 1}, "this looks like COCO's instances file"),
        ({"bbox": [0, 0, 1, 1], "keypoints": []}, "this looks like COCO's keypoints file"),
        ({"segments_info": []}, "this looks like COCO's panoptic file"),
        ({}, "this is no caption file"),
    ],
)
def test_a_file_of_another_task_is_refused_by_name(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(CocoError, match=f"none of the 2 annotations has a `caption`: {message}"):
        corpus([IMAGE], [{"id": number, "image_id": 1} | extra for number in (7, 8)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
# Few ids and few names, so that repeats, orphans and odd types meet.
ODD = st.sampled_from([None, True, "1", 1.0, [], {}, -1, 2**63])
IDS = st.integers(0, 4) | ODD
NAMES = st.sampled_from(["a.jpg", "b/c.png", "", "..", "/x.jpg", "\udfff", "d/"]) | ODD
TEXTS = st.sampled_from(["a cat", " ", "", "\ud800", "é"]) | ODD
IMAGES = st.fixed_dictionaries({}, optional={"id": IDS, "file_name": NAMES, "width": IDS, "height": IDS}) | JSON
ANNOTATIONS = st.fixed_dictionaries({}, optional={"id": IDS, "image_id": IDS, "caption": TEXTS}) | JSON


@pytest.mark.slow
@given(
    st.binary(max_size=200)
    | JSON.map(encode)
    | st.builds(lambda i, a: encode({"images": i, "annotations": a}), JSON, JSON)
)
def test_nothing_but_coco_error_is_raised(data: bytes) -> None:
    try:
        outcome: object = parse_coco(data).images
    except CocoError as error:
        outcome = str(error)
    assert outcome


@pytest.mark.slow
@given(st.lists(IMAGES, max_size=8), st.lists(ANNOTATIONS, max_size=8))
def test_every_entry_is_kept_or_counted_once(images: list[Any], annotations: list[Any]) -> None:
    # One of each is certainly sound; without them the file may be refused as a whole.
    images.append({"id": 99, "file_name": "sound.jpg"})
    annotations.append(annotation(99, 99, "a dog"))
    document = json.dumps({"images": images, "annotations": annotations}).replace("Infinity", "0").replace("NaN", "0")
    parsed = parse_coco(document.encode())

    counts = {defect.kind: defect.count for defect in parsed.defects if defect.kind != "image-size"}
    lost_annotations = sum(count for kind, count in counts.items() if kind.startswith(("annotation", "caption")))
    lost_images = sum(counts.values()) - lost_annotations
    captions = [caption for image in parsed.images for caption in image.captions]
    assert len(parsed.images) + lost_images == len(images)
    assert len(captions) + lost_annotations == len(annotations)
    assert len({image.id for image in parsed.images}) == len(parsed.images)
    assert len({caption.id for caption in captions}) == len(captions)
    assert all(len(defect.examples) == min(defect.count, 5) for defect in parsed.defects)
    for image in parsed.images:
        assert not image.file_name.startswith("/")
        assert ".." not in image.file_name.split("/")
    assert all(caption.text.strip() for caption in captions)


WHOLE = encode(
    {
        "images": [{"id": number, "file_name": f"d/{number}.jpg", "width": 4, "height": 3} for number in range(4)],
        "annotations": [annotation(number, number % 4, f"A dog {number}.") for number in range(8)],
    }
)
PIECES = [b"{", b"[", b"null", b'"', b"\\", b"\xff", b"NaN", b"1e999", b"9" * 5000, b"[" * 50_000, b'{"a":' * 50_000]


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_damage_is_a_coco_error_or_leaves_safe_names(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = start + data.draw(st.integers(0, 8))
        damaged[start:end] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    try:
        parsed = parse_coco(bytes(damaged))
    except CocoError as error:
        assert len(str(error)) < 2_000  # noqa: PT017 - what is damaged may still be readable
    else:
        assert parsed.images


SEPARATORS = st.sampled_from(["a", "..", ".", "/", "\\", "~", "C:", "://", "::", "http", "%2e", "\0", " ", "x.jpg"])


@settings(max_examples=EXAMPLES)
@given(st.lists(SEPARATORS, max_size=6).map("".join))
def test_no_file_name_leads_out_of_its_folder(name: str) -> None:
    parsed = corpus([IMAGE, {"id": 2, "file_name": name}])
    for image in parsed.images:
        for file_name in (image.file_name, image.file_name.replace("\\", "/")):
            assert posixpath.normpath(posixpath.join("/photos", file_name)).startswith("/photos/")


def test_a_message_is_no_longer_than_people_read() -> None:
    with pytest.raises(CocoError) as found:
        parse_coco(encode({"x" * 1_000_000: 1}))
    assert len(str(found.value)) < 2_000
