"""What is to be spoken: captioned images, listed so that a shard holds few texts and no text weighs a shard down."""

import glob
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from model.storage import Storage
from model.uri import canonical, filesystem
from pipelines.commits.shards import bucket, shard_count
from pipelines.corpora.columns import ID_COLUMN
from pipelines.corpora.corpus import Corpus, Skipped, distinct
from pipelines.corpora.opened import Where
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References
from pipelines.corpora.table_process import TableError, TableProcess
from pipelines.speech.spoken import normalize_text
from schemas import caption_row
from schemas.command import RefusedError
from schemas.table import VERSION_KEY, NewerSchemaError, check_version

COLUMNS = ("image_uri", "caption")
"""What a Parquet file of captions needs; an `id` is taken where there is one, else the URI is the id."""

NO_URI = "no image_uri"
"""Reason for which a row is left out."""

MOST_IMAGES_A_TEXT = 64
"""Images a shard holds at most on average for each text that `--shard-size` allows it."""


def list_captions(path: str, options: dict[str, Any], limit: int | None) -> Corpus:
    """Captioned images, each grouped by its text so that a text is spoken in one shard.

    Args:
        path: an output of `beamscribe caption`, or Parquet: a file, a folder or a glob.
        options: passed to fsspec.
        limit: of images.

    Raises:
        RefusedError: if there are no captions.
    """
    corpus = distinct(_captioned(_files(path, options), options), limit)
    if not corpus.references:
        raise RefusedError(f"--captions {path} has no rows that name an image: there is nothing to speak")
    return corpus


def _files(path: str, options: dict[str, Any]) -> list[str]:
    """URIs of the Parquet files that a path names, sorted."""
    try:
        fs, there = filesystem(path, options)
        if glob.has_magic(path) and not fs.exists(there):
            return sorted(canonical(fs, name) for name in _some(fs.glob(there), path))
        if fs.isfile(there):
            return [canonical(fs, there)]
        folder = Storage(path, options)
        found = folder.files(caption_row.FOLDER, ".parquet") or folder.files("", ".parquet")
        return [folder.uri(entry.name) for entry in _some(found, path)]
    except OSError as error:
        raise RefusedError(f"--captions {path} cannot be listed: {error}") from error


def _some(found: list[Any], path: str) -> list[Any]:
    if not found:
        raise RefusedError(
            f"--captions {path} names no captions: give an output of beamscribe caption (it has captions/*.parquet), "
            f"or a Parquet file, a folder of them or a glob, with columns {' and '.join(COLUMNS)}"
        )
    return found


def _captioned(files: list[str], options: dict[str, Any]) -> Iterator[Reference | Skipped]:
    with TableProcess() as process:
        for uri in files:
            try:
                yield from _references(Where(uri, json.dumps(options, sort_keys=True), False), process)
            except (TableError, NewerSchemaError, OSError) as error:
                raise RefusedError(f"--captions: {uri} cannot be read: {error}") from error


def _references(where: Where, process: TableProcess) -> Iterator[Reference | Skipped]:
    for part in process.texts(where, list(COLUMNS), [ID_COLUMN]):
        if "metadata" in part:
            check_version(where.uri, _version(part["metadata"]), caption_row.VERSION)
            continue
        rows, problems = part["rows"], part["problems"]
        ids = rows.get(ID_COLUMN, rows["image_uri"])
        for row, (id, image_uri, caption) in enumerate(zip(ids, rows["image_uri"], rows["caption"], strict=True)):
            if not image_uri:
                yield Skipped(NO_URI)
                continue
            # A caption that is missing, or cannot be read, is one that cannot be spoken: a failure row.
            text = "" if str(row) in problems else caption
            yield Reference(id or image_uri, image_uri, text=text, group=normalize_text(text))


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
        The corpus, and whether there is such a text. The groups of its images are no longer the text, see `is_spread`.
    """
    count = Counter(reference.group for reference in corpus.references)
    parts = {text: shard_count(images, images_of_shard) for text, images in count.items() if images > images_of_shard}
    references = References.of(
        reference._replace(group=f"{reference.group} {bucket(reference.id, parts[reference.group])}")
        if reference.group in parts
        else reference
        for reference in corpus.references
    )
    return corpus._replace(references=references), bool(parts)


def is_spread(reference: Reference) -> bool:
    """Whether the images of this one's text are in many shards, so that none of them speaks it."""
    return reference.group != normalize_text(reference.text)
