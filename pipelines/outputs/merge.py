"""`beamscribe merge`: several outputs of caption as one, the later ones' captions in place of the earlier ones'."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.errors import DONE, RefusedError, stopped_writing
from beamscribe.pipelines.commits.stored_corpus import write_corpus
from beamscribe.pipelines.outputs.captions import Captions, open_captions
from beamscribe.pipelines.runtime.flags.merge import parser
from beamscribe.pipelines.sources.asked import asked_items
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.counted import counted
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.kept_columns import DETAIL, kept_of, to_text
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.matching import IDS
from beamscribe.schemas.receipt import Receipt, stamp
from beamscribe.schemas.rows import CAPTIONS, FAILURES, ParquetRows, with_kept_columns
from beamscribe.storage.committed import failures_of
from beamscribe.storage.output_reader import MANIFEST, read_manifest_of
from beamscribe.storage.storage import Storage

MERGED = "merged"
"""Entry of a merged output's details: what it was made of."""


class Part(NamedTuple):
    """One of the outputs.

    Attributes:
        captioned: the output.
        receipts: of the commits that count.
        writer: what its rows say of who wrote them, where they do not say it themselves.
        replaced: ids whose rows later outputs replace.
    """

    captioned: Captions
    receipts: list[Receipt]
    writer: str
    replaced: frozenset[str]


def run(argv: Sequence[str]) -> int:
    """Merges.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    if len(args.captions) < 2:
        raise RefusedError("merge needs two outputs of beamscribe caption or more, the one that replaces others last")
    output = Storage(args.output, args.storage_options)
    try:
        _refuse_foreign(output, args.output)
        parts = _parts([open_captions(path, args.storage_options) for path in args.captions])
        if not any(receipt.rows for part in parts for receipt in part.receipts):
            raise RefusedError(f"{' '.join(args.captions)} hold no captions: run beamscribe caption to its end")
        written, replaced = _write(output, parts)
    except ValueError as error:
        raise RefusedError(f"{' '.join(args.captions)} cannot be merged: {error}") from error
    except OSError as error:
        return stopped_writing("merge", args.output, error)
    print(
        f"beamscribe merge: {counted(written, 'caption')}, {replaced:,} of them in place of an earlier one "
        f"→ {args.output}"
    )
    return DONE


def _refuse_foreign(output: Storage, named: str) -> None:
    """Refuses a folder that holds something else than an earlier merge.

    Raises:
        RefusedError: then.
    """
    earlier = read_manifest_of(output)
    foreign = earlier is None and output.files(CAPTIONS.folder) and not output.exists(_BEGUN)
    if foreign or (earlier is not None and MERGED not in earlier.details):
        raise RefusedError(f"--output {named} holds what beamscribe merge did not write: choose another")


_BEGUN = f"{os.path.dirname(MANIFEST)}/merging"
"""Is there while a merge is written: a folder with it and without a manifest is one that was stopped."""


def _parts(opened: Sequence[Captions]) -> list[Part]:
    """The outputs in their order, each with the ids that a later one has a row of."""
    parts: list[Part] = []
    later: set[str] = set()
    for captioned in reversed(opened):
        receipts = captioned.receipts()
        bundle = str(captioned.manifest.details.get("bundle", ""))
        writer = os.path.basename(bundle.rstrip("/")) or "unknown"
        parts.append(Part(captioned, receipts, writer, frozenset(later)))
        later.update(id for receipt in receipts if receipt.rows for id in receipt.rows.ids)
    return parts[::-1]


def _write(output: Storage, parts: Sequence[Part]) -> tuple[int, int]:
    """Writes the merged output, its manifest last.

    Returns:
        Its rows, and those of them that replace an earlier one.
    """
    columns = _columns(parts)
    output.write(_BEGUN, b"")
    output.delete(MANIFEST)
    begun = datetime.now(UTC)
    form = with_kept_columns(CAPTIONS, columns)
    sources: dict[str, pa.RecordBatch] = {}
    kept: dict[str, None] = {part.captioned.manifest.kept_fingerprints[-1]: None for part in parts[:1]}
    names: set[str] = set()
    done: set[str] = set()
    written = replaced = 0
    for part in parts:
        for receipt in part.receipts:
            if not receipt.rows:
                continue
            rows = [_typed(*found, part.writer) for found in _rows(part, receipt.rows.name, done, sources, columns)]
            replaced += len(receipt.rows.ids) - len(rows)
            if rows:
                names.add(_commit(output, receipt, rows, begun, form))
                kept[receipt.fingerprint] = None
                done.update(row.id for row in rows)
                written += len(rows)
    names |= _write_failures(output, parts, done, begun)
    for stale in [entry.name for folder in _FOLDERS for entry in output.files(folder)]:
        if stale.rpartition("/")[2].partition(".")[0] not in names:
            output.delete(stale)
    items = _items(parts)
    write_corpus(output, items)
    details = {**parts[0].captioned.manifest.details, IDS: parts[0].captioned.ids}
    details |= {DETAIL: to_text(columns)} if columns.names else {}
    details[MERGED] = [part.captioned.output.uri() for part in parts]
    fingerprint = Fingerprint({MERGED: " ".join(part.captioned.manifest.fingerprint.digest for part in parts)})
    manifest = Manifest("caption", fingerprint, [*kept], details, len(items), 0, {}, len(items), 1, begun.isoformat())
    output.write(MANIFEST, manifest.to_json().encode())
    output.delete(_BEGUN)
    return written, replaced


_FOLDERS = (CAPTIONS.folder, FAILURES.folder, f"{os.path.dirname(MANIFEST)}/shards")


def _columns(parts: Sequence[Part]) -> pa.Schema:
    """The columns that are kept of the sources of all outputs.

    Raises:
        ValueError: if two have one of them in different types.
    """
    found = pa.schema([])
    for part in parts:
        for field in kept_of(part.captioned.format.schema):
            place = found.get_field_index(field.name)
            if place >= 0 and found.field(place).type != field.type:
                raise ValueError(
                    f"the kept column {field.name} is {found.field(place).type} in one and {field.type} in another: "
                    f"caption one of them again with --keep-columns {field.name}:TYPE"
                )
            found = found if place >= 0 else found.append(field)
    return found


def _rows(
    part: Part, name: str, done: Collection[str], sources: dict[str, pa.RecordBatch], columns: pa.Schema
) -> Iterator[tuple[dict[str, Any], pa.RecordBatch | None]]:
    """Rows of a file that no other output replaces, each with its kept columns.

    Args:
        part: the output.
        name: of the file.
        done: ids that are written.
        sources: kept columns of rows that were replaced, by id: an output that has none takes them from there.
        columns: that are kept in what is written.
    """
    table = part.captioned.table(name)
    kept = kept_of(part.captioned.format.schema).names
    of_all = [table[one.name] if one.name in kept else pa.nulls(len(table), one.type) for one in columns]
    values = pa.table(of_all, columns).combine_chunks().to_batches()[:1] if kept else []
    for number, row in enumerate(table.drop_columns(kept).to_pylist()):
        id = row["id"]
        of_source = values[0].slice(number, 1) if values else sources.get(id)
        if id not in part.replaced and id not in done:
            yield row, of_source
        elif of_source is not None and id not in done:
            sources[id] = of_source


def _typed(row: dict[str, Any], kept: pa.RecordBatch | None, writer: str) -> CaptionRow:
    """A row that says who wrote it."""
    alternatives = tuple(Alternative(one["caption"], one["score"]) for one in row["alternatives"])
    return CaptionRow(**{**row, "alternatives": alternatives, "model": row["model"] or writer}, kept=kept)


def _commit(output: Storage, receipt: Receipt, rows: Sequence[CaptionRow], begun: datetime, form: ParquetRows) -> str:
    """Writes the rows of one file and their receipt; gives the stem of both names."""
    ids = [row.id for row in rows]
    digest = hashlib.sha256("\n".join([receipt.fingerprint, *ids]).encode()).hexdigest()[:16]
    stem = f"merged-{digest}"
    name = f"{CAPTIONS.folder}/{stem}{CAPTIONS.suffix}"
    data = form.encode(rows)
    output.write(name, data)
    found = Receipt(stem, receipt.fingerprint, begun.isoformat(), 0.0, stamp(name, data, ids), None)
    output.write(found.name, found.to_json())
    return stem


def _write_failures(output: Storage, parts: Sequence[Part], done: Collection[str], begun: datetime) -> set[str]:
    """Failure rows of images that no output has a caption of, the latest of each."""
    failed: dict[str, FailureRow] = {}
    for part in parts:
        for rows in failures_of(part.captioned.output, part.receipts).values():
            failed |= {row.id: row for row in rows if row.id not in done}
    if not failed:
        return set()
    kept_fingerprint = parts[0].captioned.manifest.kept_fingerprints[-1]
    stem = f"merged-{hashlib.sha256(chr(10).join(failed).encode()).hexdigest()[:16]}"
    name = f"{FAILURES.folder}/{stem}{FAILURES.suffix}"
    data = FAILURES.encode(failed.values())
    found = Receipt(stem, kept_fingerprint, begun.isoformat(), 0.0, None, stamp(name, data, failed))
    output.write(name, data)
    output.write(found.name, found.to_json())
    return {stem}


def _items(parts: Sequence[Part]) -> list[WorkItem]:
    """What the outputs were asked for, each id once."""
    found: dict[str, WorkItem] = {}
    for part in parts:
        for item in asked_items(part.captioned.output):
            found.setdefault(item.id, item)
    return list(found.values())
