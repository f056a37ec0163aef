"""`--keep-columns`: which columns of its sources a caption job keeps, and in which types."""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence

import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.images.sample_columns import JSON, SampleColumns
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.schemas import caption_row
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.kept_columns import DECLARED, DETAIL, REPAIR, from_details, kept_field, kept_of, shown, to_text
from beamscribe.schemas.rows import with_kept_columns
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage

FIELD = "kept_columns"
"""Of the fingerprint."""

TAKEN = {*caption_row.SCHEMA.names, caption_row.STRUCTURED, "audio", "image"}
"""Columns of Beamscribe's own, in rows and in what is exported of them."""


def refuse_columns(args: argparse.Namespace) -> None:
    """Refuses columns that cannot be kept, before anything is read.

    Raises:
        RefusedError: if there are some.
    """
    keeps: Sequence[Keep] = args.keep_columns or ()
    for one in keeps:
        if one.column in TAKEN:
            raise RefusedError(
                f"--keep-columns {one.column}: captions have a column of that name of their own; "
                f"source_{one.column}={one.source} keeps it under another name"
            )
    if keeps and args.retake:
        raise RefusedError("--keep-columns: --retake keeps the columns that its output has: leave the flag out")
    if keeps and args.features:
        raise RefusedError(
            "--keep-columns: --features names no columns: give a --manifest that has them (CSV, JSON, Parquet or "
            "Arrow), or --images with archives that have .json or .txt beside images"
        )


def suffixes_beside(keeps: Sequence[Keep]) -> tuple[str, ...]:
    """Suffixes of members of archives that columns are read from."""
    return tuple(dict.fromkeys([*(one.source for one in keeps), JSON])) if keeps else ()


def keep_columns(
    chosen: ChosenCaptioner, corpus: Corpus, output: Storage, on_change: str, keeps: Sequence[Keep] = ()
) -> ChosenCaptioner:
    """A captioner whose rows have the columns that are kept of a corpus, and those that the output has already.

    The types are fixed here, once for all workers, and are those of earlier runs wherever the values fit them.

    Args:
        chosen: the captioner.
        corpus: what it captions.
        output: of the job.
        on_change: what to do with rows of other settings.
        keeps: what is asked for, of archives.

    Raises:
        RefusedError: if the types of a column do not go together, or there is nothing that has columns.
    """
    manifest = read_manifest_of(output)
    try:
        earlier = from_details(manifest.details if manifest else {})
    except ValueError as error:
        raise RefusedError(f"{output.uri()}: {error}") from error
    columns = None
    if corpus.kept:
        kept = corpus.kept.resolve(earlier)
    else:
        kept = _of_samples(keeps, corpus)
        columns = SampleColumns(tuple(keeps), kept) if keeps else None
    fields = dict(chosen.fingerprint.fields)
    if kept.names:
        fields[FIELD] = shown(kept)
    fingerprint = Fingerprint(fields)
    stays = manifest is not None and (on_change == "keep" or manifest.fingerprint.same_rows(fingerprint))
    if stays:
        kept = _beside(kept, earlier)
    if not kept.names:
        return chosen
    return dataclasses.replace(
        chosen,
        fingerprint=fingerprint,
        details={**chosen.details, DETAIL: to_text(kept)},
        format=with_kept_columns(chosen.format, kept),
        columns=columns,
    )


def _of_samples(keeps: Sequence[Keep], corpus: Corpus) -> pa.Schema:
    """Columns of what stands beside images in archives: nobody has read it, so what is not declared is text.

    Raises:
        RefusedError: if there are no archives.
    """
    if keeps and not corpus.containers and not any(item.container for item in corpus.references):
        raise RefusedError(
            "--keep-columns: loose photographs have no columns: give a --manifest that has them (CSV, JSON, Parquet or "
            "Arrow), or archives that have .json or .txt beside images"
        )
    return pa.schema([kept_field(one.column, DECLARED[one.type or "string"], one.source) for one in keeps])


def _beside(kept: pa.Schema, earlier: pa.Schema) -> pa.Schema:
    """Columns with those that only rows of earlier runs have.

    Raises:
        RefusedError: if a column has another type there.
    """
    for field in earlier:
        place = kept.get_field_index(field.name)
        if place < 0:
            kept = kept.append(field)
        elif kept.field(place).type != field.type:
            raise RefusedError(
                f"--on-change keep: rows of earlier runs have {field.name} as {field.type}, new ones would have it as "
                f"{kept.field(place).type}: declare the type in --keep-columns, or --on-change replace"
            )
    return kept


def kept_warnings(tables: Iterable[pa.Table], schema: pa.Schema) -> list[str]:
    """What is suspicious about kept columns: values that could not be read, and columns without any.

    Args:
        tables: repairs and kept columns of all rows.
        schema: of the rows.
    """
    unread = 0
    empty = dict.fromkeys(kept_of(schema).names)
    for table in tables:
        unread += sum(REPAIR in one for one in table["repairs"].to_pylist())
        for name in [name for name in empty if table[name].null_count < len(table)]:
            del empty[name]
    found = []
    if unread:
        found.append(
            f"a kept column is null in {unread:,} rows since its value could not be read or is not of the column's "
            f"type: those with {REPAIR} in their repairs"
        )
    if empty:
        found.append(f"no row has a value of the kept columns {', '.join(empty)}: is that what the source calls them?")
    return found
