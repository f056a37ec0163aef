"""Which annotated image a row of an output is of: by COCO image id only where ids came from annotations, else by file
name, also inside archives."""

import contextlib
import json
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from beamscribe.schemas.coco import CocoImage
from beamscribe.schemas.corpus_item import FOLDER, OLD_SUFFIX, SCHEMA, SUFFIX, VERSION
from beamscribe.schemas.stored import read_stored

IDS = "ids"
"""Key among the details of a manifest that says where the ids of an output's rows came from."""

ANNOTATIONS, MANIFEST, URIS, MIXED = "annotations", "manifest", "uris", "mixed"
"""From the annotations that were featurized; from a column of a manifest; the URIs themselves; of several runs."""

FIRST_PART = f"{FOLDER}/00000{SUFFIX}"
OLD_FIRST_PART = f"{FOLDER}/00000{OLD_SUFFIX}"
"""Work items of the latest run, which tell where ids came from in outputs that do not record it."""

_FEATURIZE = "featurize the annotated images and caption --features, whose ids tell which is which"
BY_ID = "--by-id takes the ids of the rows for those of the annotations, whatever the files are called"

_COCO_NUMBER = re.compile(r"(?:^|_)([0-9]{12})\.[A-Za-z]+$")
"""The id in a file name of COCO, which the years 2014 and 2017 write with and without a prefix."""

_WEB = ("http://", "https://")


class MatchError(ValueError):
    """A row may be of two images, or an image has two rows; the message names both and says how to mend it."""


def ids_of_output(details: Mapping[str, Any], read: Callable[[str], bytes]) -> str:
    """Where the ids of an output of caption came from.

    Args:
        details: of its manifest.
        read: a file of the output by its name, asked for work items where the manifest does not record it.

    Returns:
        One of the constants above; `MIXED` where nobody can tell.
    """
    recorded = details.get(IDS)
    if recorded in (ANNOTATIONS, MANIFEST, URIS, MIXED):
        return recorded
    try:
        items = _first_items(read)
        stored = {bool(item[5]) and (len(item) < 8 or item[7] is None) for item in items}
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return MIXED
    # Records of featurize are in files of many, and have no place in them: they are found by their ids.
    return ANNOTATIONS if stored == {True} else MIXED


def _first_items(read: Callable[[str], bytes]) -> list[Any]:
    try:
        return json.loads(read(OLD_FIRST_PART))
    except FileNotFoundError:
        rows = read_stored(read(FIRST_PART), FIRST_PART, SCHEMA, VERSION).to_pylist()
        return [[row["id"], row["uri"], *json.loads(row["more"] or "[]")] for row in rows]


def ids_after(earlier: str | None, asked: str) -> str:
    """What an output records when a further run adds rows to it."""
    return asked if earlier in (None, asked) else MIXED


class Matcher:
    """Finds the annotated image of each row, and refuses what may be of two.

    Attributes:
        renamed: rows that met an image by id alone, since the annotations call its file otherwise.

    Args:
        images: as the annotations list them.
        ids: where the ids of the rows came from, see `ids_of_output`.
        trust_ids: whether ids are those of the annotations whatever the files are called.
    """

    def __init__(self, images: Iterable[CocoImage], ids: str, trust_ids: bool = False) -> None:
        self._by_id = {str(image.id): image for image in images}
        self._by_name: dict[str, list[CocoImage]] = {}
        for image in self._by_id.values():
            self._by_name.setdefault(_parts(image.file_name)[-1], []).append(image)
        self._uses_ids = trust_ids or ids == ANNOTATIONS
        self._trusts_ids = trust_ids
        self._taken: dict[int, tuple[str, str, str]] = {}
        self._agreed: set[int] = set()
        self._disagreeing: dict[int, tuple[str, str]] = {}
        self._renamed_example: tuple[str, str, CocoImage] | None = None
        self.renamed = 0

    def image_of(self, id: str, uri: str) -> CocoImage | None:
        """The image that a row is of; None: it is of none of these.

        Raises:
            MatchError: if it may be of two.
        """
        # An id that is the URI came from no annotations, whatever the other rows' ids did.
        if not self._uses_ids or id == uri:
            return self._named(uri)
        found = self._by_id.get(id)
        if found is not None and _agree(uri, found.file_name):
            self._agreed.add(found.id)
            return found
        if not self._trusts_ids:
            # Two images may have the same name in different folders, so that this one's own row may yet come.
            with contextlib.suppress(MatchError):
                if (other := self._named(uri)) is not None:
                    self._disagreeing.setdefault(other.id, (id, uri))
        if found is not None:
            self.renamed += 1
            self._renamed_example = self._renamed_example or (id, uri, found)
        return found

    def take(self, image: CocoImage, id: str, uri: str, caption: str) -> bool:
        """Gives an image to the row that is of it, for it can have one alone.

        Returns:
            Whether this row says of the same file what an earlier row says, under another id.

        Raises:
            MatchError: if the image has another row.
        """
        row = (id, uri, caption)
        earlier = self._taken.setdefault(image.id, row)
        if earlier is row:
            return False
        if earlier[1:] == row[1:]:
            return True
        if earlier[1] == uri or (earlier[0] == id and self._uses_ids):
            raise MatchError(
                f"image {image.id} ({image.file_name}) has two captions, {earlier[2]!r} of {earlier[1]} and "
                f"{caption!r} of {uri}: beamscribe verify tells what is wrong with the output"
            )
        raise MatchError(
            f"{earlier[1]} and {uri} may both be {image.file_name} (id {image.id}) of the annotations: caption one of "
            f"the two alone, or {_FEATURIZE}"
        )

    def check(self) -> None:
        """To be called after the last row.

        Raises:
            MatchError: if ids and file names say that these are not the annotations that the ids came from.
        """
        if self._trusts_ids:
            return
        for other, (id, uri) in self._disagreeing.items():
            if other not in self._agreed:
                named, meant = self._by_id[str(other)], self._by_id.get(id)
                theirs = f"their id {id} is {meant.file_name}" if meant else f"they have no id {id}"
                raise MatchError(
                    f"the caption of id {id} is of {uri}, which the annotations call {named.file_name} (id {other}), "
                    f"while {theirs}: give the annotations that were featurized; {BY_ID}"
                )
        if self._renamed_example and not self._agreed:
            id, uri, image = self._renamed_example
            raise MatchError(
                f"ids meet, but no file has the name that the annotations give it: id {id} is {uri}, the annotations "
                f"call it {image.file_name}: give the annotations that were featurized; {BY_ID}"
            )

    def _named(self, uri: str) -> CocoImage | None:
        """The one image whose file may be called so."""
        paths = [_parts(path) for path in _paths(uri)]
        candidates = next((self._by_name[path[-1]] for path in paths if path[-1] in self._by_name), None)
        if candidates is None:
            return None
        if len(candidates) == 1:
            return candidates[0]
        # The folders in the annotations tell files of one name apart, where the row's own has them.
        whole = [image for image in candidates if any(_ends_with(path, _parts(image.file_name)) for path in paths)]
        if len(whole) == 1:
            return whole[0]
        one, other, *_ = whole or candidates
        raise MatchError(
            f"{uri} may be {one.file_name} (id {one.id}) or {other.file_name} (id {other.id}) of the annotations, "
            f"whose names are the same: {_FEATURIZE}"
        )


def never_met(first_row: tuple[str, str], first_image: CocoImage) -> str:
    """What is wrong where no row is of an annotated image, with an example of each.

    Args:
        first_row: id and URI.
        first_image: annotated.
    """
    id, uri = first_row
    named = uri if id == uri else f"{uri} (id {id})"
    return (
        f"no caption is of an annotated image: {named} and the others are not among the annotated "
        f"{first_image.file_name} (id {first_image.id}) and the others: give the annotations of these photographs"
    )


def _agree(uri: str, file_name: str) -> bool:
    """Whether a file at this URI may be the one that annotations name so."""
    wanted = _parts(file_name)[-1]
    number = _COCO_NUMBER.search(wanted)
    for path in _paths(uri):
        name = _parts(path)[-1]
        if name == wanted:
            return True
        if number and (found := _COCO_NUMBER.search(name)) and found[1] == number[1]:
            return True
    return False


def _paths(uri: str) -> Iterator[str]:
    """What may be the path of a file, the longest first: a name may hold `::`, which also stands between an archive and
    what is in it."""
    found = [uri]
    if uri.startswith(_WEB):
        path = re.split(r"[?#]", uri, maxsplit=1)[0]
        found = [path, urllib.parse.unquote(path)]
    for path in found:
        yield path
        at = path.find("::")
        while at >= 0:
            yield path[:at] + "/" + path[at + 2 :]
            at = path.find("::", at + 2)


def _parts(path: str) -> list[str]:
    """Folders and file name; annotations of Windows have backslashes, and names of macOS letters in pieces."""
    return re.split(r"[/\\]", unicodedata.normalize("NFC", path))


def _ends_with(parts: list[str], end: list[str]) -> bool:
    end = [part for part in end if part not in ("", ".")]
    return parts[len(parts) - len(end) :] == end
