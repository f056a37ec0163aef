"""`beamscribe export`: captions in the forms that other programs read."""

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from model import whole_files
from model.uri import filesystem, only_os_errors, read_uri
from pipelines.caption_lines import Row, coco_results, csv_line, csv_lines, json_lines
from pipelines.flags.export import parser
from pipelines.report.caption_output import Captions, open_captions
from pipelines.sidecars import Captioned, Written, write_below, write_beside
from schemas import caption_row
from schemas.coco import CocoError, describe, parse_coco
from schemas.command import DONE, RefusedError, stopped_writing
from schemas.matching import ANNOTATIONS, Matcher, MatchError
from schemas.printable import printable

BEGINNING = 4096
"""Of a file that are looked at to tell whether an earlier export wrote it."""


def open_matcher(ours: argparse.Namespace, captioned: Captions) -> Matcher | None:
    """What finds the COCO image of each row; None where the rows' own ids are COCO's.

    Raises:
        RefusedError: if the annotations cannot be read, or there are none and ids came from elsewhere.
    """
    if ours.annotations is None:
        if ours.by_id or captioned.ids == ANNOTATIONS:
            return None
        raise RefusedError(
            f"the ids in {ours.captions} did not come from annotations, so they are not COCO's: --annotations JSON "
            "gives those of the file names; --by-id says that the ids of the rows are COCO's all the same"
        )
    try:
        corpus = parse_coco(read_uri(ours.annotations, ours.storage_options))
    except (OSError, CocoError) as error:
        raise RefusedError(f"--annotations {ours.annotations}: {error}") from error
    if corpus.defects:
        print(printable(f"beamscribe export: {ours.annotations} has defects:\n{describe(corpus.defects)}", lines=True))
    return Matcher(corpus.images, captioned.ids, ours.by_id)


def write_lines(uri: str, lines: Iterable[str], options: dict[str, Any]) -> None:
    """Writes a file of any size, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    fs, path = filesystem(uri, options)
    encoded = (line.encode() for line in lines)
    if isinstance(fs, LocalFileSystem):
        with whole_files.replacing(path) as file:
            file.writelines(encoded)
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "export")
        with open(temporary, "wb") as file:
            file.writelines(encoded)
        with only_os_errors():
            fs.put_file(temporary, path)


def refuse_foreign(uri: str, form: str, options: dict[str, Any]) -> None:
    """Leaves files alone that an earlier export of this form did not write.

    Raises:
        RefusedError: if there is one.
    """
    fs, path = filesystem(uri, options)
    with only_os_errors():
        if not fs.exists(path):
            return
        begun = fs.cat_file(path, start=0, end=BEGINNING) if fs.isfile(path) else None
    if begun is None or not _is_ours(begun, form):
        raise RefusedError(
            f"--output {uri} is there and no {form} that beamscribe export wrote: --replace writes over it, or name "
            "another file"
        )


def _is_ours(begun: bytes, form: str) -> bool:
    if form == "csv":
        return begun.startswith(csv_line(caption_row.SCHEMA.names).encode())
    if form == "jsonl":
        return begun == b"" or begun.startswith(b'{"image_uri": ')
    return begun.startswith((b"[]\n", b'[{"image_id": '))


def run(argv: Sequence[str]) -> int:
    """Exports the captions of an output.

    Returns:
        0, or 1 if the files cannot all be written.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours = parser().parse_strictly(argv)
    options = ours.storage_options
    _refuse_places(ours)
    captioned = open_captions(ours.captions, options)
    matcher = open_matcher(ours, captioned) if ours.to == "coco-results" else None
    count = 0

    def rows() -> Iterator[Row]:
        nonlocal count
        for row in _readable(ours.captions, captioned):
            count += 1
            yield row

    written: Written | None = None
    try:
        if ours.to == "sidecar":
            photographs = (Captioned(row["id"], row["image_uri"], row["caption"]) for row in rows())
            write = write_below if ours.output else write_beside
            written = write(photographs, ours.sidecar, ours.output or ours.beside, ours.replace, options)
        else:
            if not ours.replace:
                refuse_foreign(ours.output, ours.to, options)
            write_lines(ours.output, _lines(ours, rows(), matcher), options)
    except MatchError as error:
        raise RefusedError(f"{ours.captions} cannot be exported: {error}") from error
    except OSError as error:
        return stopped_writing("export", ours.output or ours.beside, error)
    print(printable(_told(ours, count, written)))
    return DONE


def _refuse_places(ours: argparse.Namespace) -> None:
    """Refuses a command that does not say where to write.

    Raises:
        RefusedError: then.
    """
    if ours.to != "sidecar":
        if not ours.output:
            raise RefusedError(f"--to {ours.to} needs --output, the file to write")
        if ours.beside:
            raise RefusedError("--beside is for sidecars: --output names the file to write")
    elif bool(ours.output) == bool(ours.beside):
        raise RefusedError(
            "--to sidecar needs --output, a folder of their own, or --beside, the folder that the photographs are below"
        )


def _lines(ours: argparse.Namespace, rows: Iterable[Row], matcher: Matcher | None) -> Iterator[str]:
    if ours.to == "coco-results":
        return coco_results(rows, matcher)
    return csv_lines(rows, ours.formulas) if ours.to == "csv" else json_lines(rows)


def _readable(path: str, captioned: Captions) -> Iterator[Row]:
    """Every row.

    Raises:
        RefusedError: if a file cannot be read, which is told apart from one that cannot be written.
    """
    try:
        for rows in captioned.files():
            yield from rows
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be exported: {error}") from error


def _told(ours: argparse.Namespace, count: int, written: Written | None) -> str:
    """The last line."""
    told = f"beamscribe export: {count} captions as {ours.to}"
    if written and written.kept:
        told += f", {written.kept} left as they were, since they say something else"
        told += "" if ours.replace else " (--replace writes over them)"
    if written and written.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(written.skipped.items()))
        told += f", {sum(written.skipped.values())} photographs without a file beside them ({reasons})"
    return f"{told} → {ours.output or 'beside the photographs below ' + ours.beside}"
