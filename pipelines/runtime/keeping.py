"""`--keep-columns`: which columns of its sources a caption job keeps, and in which types."""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence

import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.schemas import caption_row
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.kept_columns import DETAIL, REPAIR, from_details, shown, to_text
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
    if keeps and not args.manifest:
        given = "images" if args.images else "features"
        raise RefusedError(
            f"--keep-columns: --{given} names no columns: give a --manifest that has them (CSV, JSON, Parquet or Arrow)"
        )


def keep_columns(chosen: ChosenCaptioner, corpus: Corpus, output: Storage, on_change: str) -> ChosenCaptioner:
    """A captioner whose rows have the columns that are kept of a corpus, and those that the output has already.

    The types are fixed here, once for all workers, and are those of earlier runs wherever the values fit them.

    Args:
        chosen: the captioner.
        corpus: what it captions.
        output: of the job.
        on_change: what to do with rows of other settings.

    Raises:
        RefusedError: if the types of a column do not go together.
    """
    manifest = read_manifest_of(output)
    try:
        earlier = from_details(manifest.details if manifest else {})
    except ValueError as error:
        raise RefusedError(f"{output.uri()}: {error}") from error
    kept = corpus.kept.resolve(earlier) if corpus.kept else pa.schema([])
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
    )


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


def unread_values(repairs: Iterable[Sequence[str]]) -> str:
    """A warning of rows with values that could not be kept; empty if there are none.

    Args:
        repairs: of each row.
    """
    count = sum(REPAIR in one for one in repairs)
    if not count:
        return ""
    return (
        f"a kept column is null in {count:,} rows since its value could not be read or is not of the column's type: "
        f"those with {REPAIR} in their repairs"
    )
