"""What is to be spoken: captioned images, listed so that a shard holds few texts and no text weighs a shard down."""

import glob
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import ID_COLUMN
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.found_files import Found, find_files
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.speech.spoken import normalize_text
from beamscribe.pipelines.work.shards import bucket, shard_count
from beamscribe.pipelines.work.work_item import UNREADABLE, Member, WorkItem
from beamscribe.pipelines.work.work_items import TEXT, WorkItems
from beamscribe.schemas import caption_row
from beamscribe.schemas.counted import counted
from beamscribe.schemas.table import VERSION_KEY, NewerSchemaError, check_version
from beamscribe.storage.location import storable
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import canonical, filesystem

COLUMNS = ("image_uri", "caption")
"""What a Parquet file of captions needs; an `id` is taken where there is one, else the URI is the id."""

FINGERPRINT_COLUMN = "fingerprint"

NO_URI = "no image_uri"
"""Reason for which a row is left out."""

MOST_IMAGES_A_TEXT = 64
"""Images a shard holds at most on average for each text that `--shard-size` allows it."""


def list_captions(path: str, options: dict[str, Any], limit: int | None) -> Corpus:
    """Captioned images, each grouped by its text so that a text is spoken in one shard.

    An id of an output of Beamscribe is one image with one caption. In tables of others an id may be given to several
    images, and an image may have several captions: each is spoken, under an id of its own.

    Args:
        path: an output of `beamscribe caption`, or Parquet: a file, a folder or a glob.
        options: passed to fsspec.
        limit: of images.

    Raises:
        RefusedError: if there are no captions.
    """
    kept = _kept_fingerprints(path, options)
    found = _files(path, options)
    captioned = _captioned(found.files, options, kept)
    corpus = distinct(
        itertools.chain(found.skipped, captioned),
        limit,
        f"--captions {path}",
        "beamscribe verify says which of its files hold an id twice",
        own_ids if kept is None else lambda references: references,
    )
    if not corpus.references:
        raise RefusedError(f"--captions {path} has no rows that name an image: there is nothing to speak")
    return corpus


def own_ids(references: WorkItems) -> WorkItems:
    """Gives captions that share an id and are not the same ids of their own: `7`, `7#2`, `7#3`, in their order.

    Raises:
        RefusedError: if such an id is another caption's.
    """
    _, again, earlier = references.repeats()
    known: dict[str, dict[tuple[str, str], str]] = {}
    renamed: dict[int, str] = {}
    both = zip(references.take(again), references.take(earlier), strict=True)
    for place, (one, first) in zip(again.tolist(), both, strict=True):
        captions = known.setdefault(one.id, {(first.uri, first.text): first.id})
        id = captions.setdefault((one.uri, one.text), f"{one.id}#{len(captions) + 1}")
        if id != one.id:
            renamed[place] = id
    if not renamed:
        return references
    new = pa.array(sorted(set(renamed.values())), TEXT)
    taken = new.filter(pc.is_in(new, value_set=references.ids))  # pyright: ignore[reportAttributeAccessIssue]
    if len(taken):
        raise RefusedError(
            f"--captions has several captions of the id {taken[0].as_py().rpartition('#')[0]}, and one of the id "
            f"{taken[0]}, which the next of them would get: give each an id of its own"
        )
    print(
        f"beamscribe speak: {counted(len(new), 'caption shares', 'captions share')} the id of another, and the "
        f"job gives new ids, such as {new[0]}"
    )
    return WorkItems.of(
        one._replace(id=renamed[place]) if place in renamed else one for place, one in enumerate(references)
    )


def _kept_fingerprints(path: str, options: dict[str, Any]) -> frozenset[str] | None:
    """Under which rows of an output of Beamscribe count; None: it is none."""
    if glob.has_magic(path) or path.endswith(".parquet"):
        return None
    manifest = read_manifest_of(Storage(path, options))
    return frozenset(manifest.kept_fingerprints) if manifest else None


def _files(path: str, options: dict[str, Any]) -> Found:
    """The Parquet files that a path names."""
    try:
        fs, there = filesystem(path, options)
        if glob.has_magic(path) and not fs.exists(there):
            found = find_files(path, "--captions", options)
            _some(found.files, path)
            return found
        if fs.isfile(there):
            return Found([canonical(fs, there)])
        folder = Storage(path, options)
        entries = folder.files(caption_row.FOLDER, ".parquet") or folder.files("", ".parquet")
        return Found([folder.uri(entry.name) for entry in _some(entries, path)])
    except OSError as error:
        raise RefusedError(f"--captions {path} cannot be listed: {error}") from error


def _some(found: list[Any], path: str) -> list[Any]:
    if not found:
        raise RefusedError(
            f"--captions {path} names no captions: give an output of beamscribe caption (it has captions/*.parquet), "
            f"or a Parquet file, a folder of them or a glob, with columns {' and '.join(COLUMNS)}"
        )
    return found


def _captioned(files: list[str], options: dict[str, Any], kept: frozenset[str] | None) -> Iterator[WorkItem | Skipped]:
    """The rows of all files; of an output, those that are being replaced come last, after those that replace them."""
    late: dict[str, None] = {}
    with TableProcess() as process:
        for current in (True, False):
            for uri in list(files if current else late):
                try:
                    where = Where(uri, json.dumps(options, sort_keys=True), False)
                    for fingerprint, one in _references(where, process, own=kept is not None):
                        if (kept is None or fingerprint is None or fingerprint in kept) is current:
                            yield one
                        elif current:
                            late[uri] = None
                except (TableError, NewerSchemaError, OSError) as error:
                    raise RefusedError(f"--captions: {uri} cannot be read: {error}") from error


def _references(where: Where, process: TableProcess, own: bool) -> Iterator[tuple[str | None, WorkItem | Skipped]]:
    """The rows of a file, each with its fingerprint, if it has one.

    Args:
        where: the file.
        process: that reads it.
        own: whether it is of an output of Beamscribe; the fingerprints of others say nothing.
    """
    for part in process.texts(where, list(COLUMNS), [ID_COLUMN, *([FINGERPRINT_COLUMN] if own else [])]):
        if "metadata" in part:
            check_version(where.uri, _version(part["metadata"]), caption_row.VERSION)
            continue
        rows, problems = part["rows"], part["problems"]
        ids = rows.get(ID_COLUMN, rows["image_uri"])
        fingerprints = rows.get(FINGERPRINT_COLUMN, itertools.repeat(None))
        named = zip(ids, rows["image_uri"], rows["caption"], strict=True)
        for row, ((id, image_uri, caption), fingerprint) in enumerate(zip(named, fingerprints, strict=False)):
            if not image_uri:
                yield fingerprint, Skipped(NO_URI)
                continue
            if (problem := problems.get(str(row))) is not None:
                unread = Member(UNREADABLE, row, detail=storable(problem))
                yield fingerprint, WorkItem(id or image_uri, image_uri, member=unread)
                continue
            yield fingerprint, WorkItem(id or image_uri, image_uri, text=caption, group=normalize_text(caption))


def _version(metadata: dict[str, str]) -> int:
    """Schema version of a file of Beamscribe, 0 of any other."""
    found = metadata.get(VERSION_KEY.decode(), "0")
    return int(found) if found.isdecimal() else 0


def images_a_shard(corpus: Corpus, texts_a_shard: int) -> int:
    """Images that a shard is to hold, so that it has so many texts: these are what a kill costs, rows cost nothing.

    Never more than `MOST_IMAGES_A_TEXT` for each, however few texts there are.
    """
    images = len(corpus.references)
    texts = len({reference.group for reference in corpus.references})
    wanted = -(-images * texts_a_shard // max(1, texts))
    return max(texts_a_shard, min(wanted, MOST_IMAGES_A_TEXT * texts_a_shard))


def spread(corpus: Corpus, images_of_shard: int) -> tuple[Corpus, bool]:
    """Parts the images of a text that has more than a shard's, so that they go to many shards.

    Returns:
        The corpus, in which images of such a text have parts, and whether there is one.
    """
    count = Counter(reference.group for reference in corpus.references)
    parts = {text: shard_count(images, images_of_shard) for text, images in count.items() if images > images_of_shard}
    references = WorkItems.of(
        reference._replace(part=bucket(reference.id, parts[reference.group])) if reference.group in parts else reference
        for reference in corpus.references
    )
    return corpus._replace(references=references), bool(parts)


def is_spread(reference: WorkItem) -> bool:
    """Whether the images of this one's text are in many shards, so that none of them speaks it."""
    return reference.part is not None
