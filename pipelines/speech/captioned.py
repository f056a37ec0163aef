"""What is to be spoken: captioned images, listed so that a shard holds few texts and no text weighs a shard down."""

import glob
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.storage import Storage
from model.uri import canonical, filesystem, read_uri
from pipelines.commits.shards import bucket, shard_count
from pipelines.corpora.corpus import Corpus, distinct
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References
from pipelines.speech.spoken import normalize_text
from schemas import caption_row
from schemas.command import RefusedError
from schemas.table import VERSION_KEY, NewerSchemaError, check_version

COLUMNS = ("image_uri", "caption")
"""What a Parquet file of captions needs; an `id` is taken where there is one, else the URI is the id."""

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
    return distinct(_captioned(_files(path, options), options), limit)


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


def _captioned(files: list[str], options: dict[str, Any]) -> Iterator[Reference]:
    for uri in files:
        try:
            yield from _references(read_uri(uri, options), uri)
        except (pa.ArrowException, NewerSchemaError, OSError) as error:
            reason = f"is not readable Parquet: {error}" if isinstance(error, pa.ArrowException) else str(error)
            raise RefusedError(f"--captions: {uri} {reason}") from error


def _references(data: bytes, uri: str) -> Iterator[Reference]:
    file = pq.ParquetFile(io.BytesIO(data))
    schema = file.schema_arrow
    if VERSION_KEY in (schema.metadata or {}):
        check_version(uri, int(schema.metadata[VERSION_KEY]), caption_row.VERSION)
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise RefusedError(f"--captions: {uri} has no column {', '.join(missing)}")
    names = [name for name in ("id", *COLUMNS) if name in schema.names]
    for batch in file.iter_batches(columns=names):
        columns = {name: batch.column(name).cast(pa.string()).to_pylist() for name in names}
        for id, image_uri, caption in zip(
            columns.get("id", columns["image_uri"]), columns["image_uri"], columns["caption"], strict=True
        ):
            if not image_uri:
                raise RefusedError(f"--captions: {uri} has a row without image_uri")
            # A caption that is missing is one that cannot be spoken: a failure row.
            text = caption or ""
            yield Reference(id or image_uri, image_uri, text=text, group=normalize_text(text))


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
