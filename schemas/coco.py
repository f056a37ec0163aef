"""COCO caption annotations (2014 and 2017), read strictly: what cannot be trusted is dropped, counted and named.

Source: https://cocodataset.org/#format-data. A caption file is one JSON object with `images` (id, file_name, width,
height, ...) and `annotations` (id, image_id, caption); a test file (`image_info_test2017.json`) has `images` alone.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard

# What is wrong and what became of it, one kind a defect; `describe` prints them in this order.
_KINDS = {
    "image-not-an-object": "image entries that are no JSON object, dropped",
    "image-id": "images without an id that is a 64-bit integer, dropped",
    "image-id-repeated": "images that repeat an earlier one, id and file name, counted once",
    "file-name": "images without a usable file name, dropped",
    "file-name-outside": "images whose file name leaves the images folder (absolute, or with '..'), dropped",
    "image-size": "images whose width or height is no positive integer, kept without it",
    "annotation-not-an-object": "annotation entries that are no JSON object, dropped",
    "annotation-id": "annotations without an id that is a 64-bit integer, dropped",
    "annotation-id-repeated": "annotations that repeat an earlier id, dropped",
    "annotation-image-id": "annotations without an image_id that is a 64-bit integer, dropped",
    "annotation-without-image": "annotations of an image that is not there or was dropped, dropped",
    "caption": "annotations without a caption that is text, dropped",
    "caption-blank": "annotations with a blank caption, dropped",
}
_LEFT_OUT = {
    "image-not-an-object": "no JSON object",
    "image-id": "no usable id",
    "file-name": "no usable file name",
    "file-name-outside": "file name outside the images folder",
}
"""Reasons for which image entries are left out, in a few words."""
_MAX_EXAMPLES = 5
# A path is absolute on one system or another, or is a URI: joining it to a folder would leave the folder.
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://")


class CocoError(ValueError):
    """The file as a whole cannot be used; the message says what, where and how to mend it."""


class CocoCaption(NamedTuple):
    """One caption, word for word as published (spaces and line ends at its edges included)."""

    id: int
    text: str


class CocoImage(NamedTuple):
    """One image and its captions in the order of the file; a test image has none.

    Width and height are pixels as published (nothing was opened), None where the file does not say; `file_name` is
    relative to the images folder and stays under it; ids fit int64.
    """

    id: int
    file_name: str
    width: int | None
    height: int | None
    captions: tuple[CocoCaption, ...]


class CocoDefect(NamedTuple):
    """Entries that share one fault.

    `kind` is a short name for programs ("annotation-without-image"), `count` the entries concerned, `examples` the
    first five at most, each saying where ("images[12]", "annotation 88366").
    """

    kind: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls on a defect
    examples: tuple[str, ...]


class CocoCorpus(NamedTuple):
    """What was kept, in the order of the file, and what is wrong with the rest.

    Every image given is kept or counted in one defect, and so is every annotation; only "image-size" counts images
    that were kept.
    """

    images: tuple[CocoImage, ...]
    defects: tuple[CocoDefect, ...]


class _Found:
    """Counts faults by kind and keeps the first few places."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}

    def add(self, kind: str, place: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        places = self._places.setdefault(kind, [])
        if len(places) < _MAX_EXAMPLES:
            places.append(place)

    def defects(self) -> tuple[CocoDefect, ...]:
        return tuple(
            CocoDefect(kind, self._counts[kind], tuple(self._places[kind])) for kind in _KINDS if kind in self._counts
        )


def parse_coco(data: bytes) -> CocoCorpus:
    """Reads the bytes of a COCO caption or test file.

    Entries that share id and file name are one image.

    Args:
        data: the file's bytes, UTF-8 (a byte order mark is accepted).

    Returns:
        The usable images with their captions, and the defects.

    Raises:
        CocoError: nothing in the file can be used, one id is given to two file names, or it is another kind of file; no
            other error is raised.

    Source: https://cocodataset.org/#format-data, "Data format" and "Image Captioning".
    """
    document = _load_json(data)
    if not isinstance(document, dict):
        raise CocoError(
            f"a COCO file is one JSON object with `images`, this one holds {_json_name(document)}; "
            "give the captions_*.json or image_info_*.json file of COCO"
        )
    entries = _list_of(document, "images")
    if entries is None:
        raise CocoError(
            "the file has no `images`; give the captions_*.json or image_info_*.json file of COCO "
            f"(keys found: {', '.join(ascii(key)[:40] for key in list(document)[:8]) or 'none'})"
        )
    annotations = _list_of(document, "annotations") or []
    _refuse_other_tasks(annotations)

    found = _Found()
    images = _parse_images(entries, found)
    if not images:
        reasons = "; ".join(_sentence(defect) for defect in found.defects()) or "the list is empty"
        raise CocoError(f"`images` holds no usable image: {reasons}; each needs an integer `id` and a `file_name`")
    captions = _parse_annotations(annotations, images.keys(), found)
    kept = tuple(image._replace(captions=tuple(captions.get(image.id, ()))) for image in images.values())
    return CocoCorpus(kept, found.defects())


def left_out(defects: Iterable[CocoDefect]) -> dict[str, int]:
    """Image entries that were dropped, counted by reason."""
    return {_LEFT_OUT[defect.kind]: defect.count for defect in defects if defect.kind in _LEFT_OUT}


def repeated_images(defects: Iterable[CocoDefect]) -> int:
    """Image entries that repeat an earlier one."""
    return sum(defect.count for defect in defects if defect.kind == "image-id-repeated")


def describe(defects: Iterable[CocoDefect]) -> str:
    """Writes defects for people, one line each; empty when there is none."""
    return "\n".join(_sentence(defect) for defect in defects)


def _sentence(defect: CocoDefect) -> str:
    more = ", ..." if defect.count > len(defect.examples) else ""
    return f"{_KINDS.get(defect.kind, defect.kind)}: {defect.count:,} ({', '.join(defect.examples)}{more})"


def _load_json(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CocoError(
            f"not UTF-8 at byte {error.start:,}: is this the JSON file itself, unpacked from its archive?"
        ) from error
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise CocoError(
            f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}; "
            "a cut download is the usual cause, fetch the file again"
        ) from error
    except RecursionError as error:
        raise CocoError("lists or objects are nested too deeply for a COCO file; fetch the file again") from error
    except CocoError:  # from _refuse_constant
        raise
    except ValueError as error:  # int() refuses more than 4,300 digits
        raise CocoError(f"a number cannot be read: {error}; write ids as integers of at most 64 bits") from error


def _refuse_constant(name: str) -> Any:
    raise CocoError(f"{name} is not JSON; write the file with allow_nan=False, or null for what is missing")


def _list_of(document: dict[str, Any], key: str) -> list[Any] | None:
    if key not in document:
        return None
    value = document[key]
    if not isinstance(value, list):
        raise CocoError(f"`{key}` is {_json_name(value)} where COCO has a list; fetch the file again")
    return value


def _refuse_other_tasks(annotations: list[Any]) -> None:
    """Refuses the files of COCO's other tasks, which have no caption anywhere."""
    if not annotations or any(isinstance(entry, dict) and "caption" in entry for entry in annotations):
        return
    keys = {key for entry in annotations if isinstance(entry, dict) for key in entry}
    kind = "keypoints" if "keypoints" in keys else "panoptic" if "segments_info" in keys else "instances"
    known = keys & {"keypoints", "segments_info", "segmentation", "bbox", "category_id"}
    looks = f"this looks like COCO's {kind} file" if known else "this is no caption file"
    raise CocoError(
        f"none of the {len(annotations):,} annotations has a `caption`: {looks}; give captions_train2017.json "
        "or its sisters (2014, val), or a file without `annotations` to caption its images"
    )


def _parse_images(entries: list[Any], found: _Found) -> dict[int, CocoImage]:
    """Keeps the usable images by id, in the order of the file; captions come later."""
    images: dict[int, CocoImage] = {}
    for index, entry in enumerate(entries):
        place = f"images[{index}]"
        if not isinstance(entry, dict):
            found.add("image-not-an-object", place)
            continue
        image_id, name = entry.get("id"), entry.get("file_name")
        if not _is_id(image_id):
            found.add("image-id", place)
        elif not _is_file_name(name):
            found.add("file-name", f"{place} (id {image_id})")
        elif _leaves_folder(name):
            found.add("file-name-outside", f"{place} (id {image_id})")
        elif image_id in images:
            if images[image_id].file_name != name:
                raise CocoError(
                    f"{place} gives the id {image_id} to {name}, which an earlier entry gives to "
                    f"{images[image_id].file_name}, so its captions may be of either: give each image an id of its own"
                )
            found.add("image-id-repeated", f"{place} (id {image_id})")
        else:
            width, height = _length(entry.get("width")), _length(entry.get("height"))
            if 0 in (width, height):
                found.add("image-size", f"{place} (id {image_id})")
            images[image_id] = CocoImage(image_id, name, width or None, height or None, ())
    return images


def _parse_annotations(entries: list[Any], image_ids: Iterable[int], found: _Found) -> dict[int, list[CocoCaption]]:
    """Keeps the usable captions by image id, in the order of the file."""
    captions: dict[int, list[CocoCaption]] = {image_id: [] for image_id in image_ids}
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            found.add("annotation-not-an-object", f"annotations[{index}]")
            continue
        annotation_id, image_id, text = entry.get("id"), entry.get("image_id"), entry.get("caption")
        if not _is_id(annotation_id):
            found.add("annotation-id", f"annotations[{index}]")
        elif annotation_id in seen:
            found.add("annotation-id-repeated", f"annotation {annotation_id}")
        elif not _is_id(image_id):
            found.add("annotation-image-id", f"annotation {annotation_id}")
        elif image_id not in captions:
            found.add("annotation-without-image", f"annotation {annotation_id}")
        elif not _is_text(text):
            found.add("caption", f"annotation {annotation_id}")
        elif not text.strip():
            found.add("caption-blank", f"annotation {annotation_id}")
        else:
            seen.add(annotation_id)
            captions[image_id].append(CocoCaption(annotation_id, text))
    return captions


def _is_id(value: Any) -> TypeGuard[int]:
    # type() and not isinstance: True is an int to Python, not to COCO. TFRecords and Parquet hold 64 bits.
    return type(value) is int and -(2**63) <= value < 2**63


def _length(value: Any) -> int | None:
    """Gives pixels, None for a length the file does not tell and 0 for one that is none."""
    return None if value is None else value if _is_id(value) and value > 0 else 0


def _is_text(value: Any) -> TypeGuard[str]:
    """True for text that can be written again: JSON may carry half a surrogate pair, which no file format holds."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_file_name(value: Any) -> TypeGuard[str]:
    # No system opens a name with a NUL; "train2017/" and "." are folders.
    return _is_text(value) and "\0" not in value and re.split(r"[/\\]", value)[-1].strip() not in ("", ".")


def _leaves_folder(name: str) -> bool:
    return _ABSOLUTE.match(name) is not None or ".." in re.split(r"[/\\]", name)


def _json_name(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
