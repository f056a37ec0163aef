"""`beamscribe export`: captions in the forms that other programs read."""

import argparse
from collections.abc import Iterable, Iterator, Sequence

from beamscribe.errors import CHECK_FAILED, DONE, RefusedError, stopped_writing
from beamscribe.pipelines.outputs.audio_files import audio_of
from beamscribe.pipelines.outputs.caption_lines import coco_results, columns_of, csv_lines
from beamscribe.pipelines.outputs.captions import Captions, kept_names, open_captions, rows_by_file
from beamscribe.pipelines.outputs.datasets import write_dataset
from beamscribe.pipelines.outputs.destination import refuse_own_folders
from beamscribe.pipelines.outputs.export_speech import export_speech
from beamscribe.pipelines.outputs.line_files import refuse_foreign, write_lines
from beamscribe.pipelines.outputs.report.pictures import PictureReading
from beamscribe.pipelines.outputs.sidecar_places import Captioned
from beamscribe.pipelines.outputs.sidecars import Written, write_below, write_beside, write_copies
from beamscribe.pipelines.runtime.flags.export import DATASETS, parser
from beamscribe.schemas.caption_json import Row, json_lines
from beamscribe.schemas.coco import CocoError, describe, parse_coco
from beamscribe.schemas.counted import counted
from beamscribe.schemas.matching import ANNOTATIONS, Matcher, MatchError
from beamscribe.schemas.printable import printable
from beamscribe.storage.output_reader import manifest_of
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import read_uri


def open_matcher(args: argparse.Namespace, captioned: Captions) -> Matcher | None:
    """What finds the COCO image of each row; None where the rows' own ids are COCO's.

    Raises:
        RefusedError: if the annotations cannot be read, or there are none and ids came from elsewhere.
    """
    if args.annotations is None:
        if args.by_id or captioned.ids == ANNOTATIONS:
            return None
        raise RefusedError(
            f"the ids in {args.captions} did not come from annotations, so they are not COCO's: --annotations JSON "
            "gives those of the file names; --by-id says that the ids of the rows are COCO's all the same"
        )
    try:
        corpus = parse_coco(read_uri(args.annotations, args.storage_options))
    except (OSError, CocoError) as error:
        raise RefusedError(f"--annotations {args.annotations}: {error}") from error
    if corpus.defects:
        print(printable(f"beamscribe export: {args.annotations} has defects:\n{describe(corpus.defects)}", lines=True))
    return Matcher(corpus.images, captioned.ids, args.by_id)


def run(argv: Sequence[str]) -> int:
    """Exports the captions of an output.

    Returns:
        0, or 1 if the files cannot all be written, or 3 if photographs are not there that should be in them.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    options = args.storage_options
    _refuse_places(args)
    if args.output:
        refuse_own_folders(args.output, args.captions)
    if (spoken := manifest_of(Storage(args.captions, options))).job == "speak":
        return export_speech(args)
    if args.to == "files":
        raise RefusedError(f"--to files is for sound, and {args.captions} holds the output of {spoken.job}")
    captioned = open_captions(args.captions, options)
    if args.to in DATASETS:
        return _export_dataset(args, captioned)
    matcher = open_matcher(args, captioned) if args.to == "coco-results" else None
    count = unsure = 0

    def rows() -> Iterator[Row]:
        nonlocal count
        for row in _readable(args.captions, captioned, 0.0 if args.to == "sidecar" else args.min_confidence):
            count += 1
            yield row

    written: Written | None = None
    try:
        if args.to == "sidecar":
            photographs = [_captioned(row, args.min_confidence) for row in rows()]
            unsure = sum(not one.caption for one in photographs)
            if args.embed:
                written = write_copies(photographs, args.output, args.replace, options)
            else:
                write = write_below if args.output else write_beside
                written = write(photographs, args.sidecar, args.output or args.beside, args.replace, options)
        else:
            if not args.replace:
                refuse_foreign(args.output, args.to, options, kept_names(captioned))
            write_lines(args.output, _lines(args, rows(), matcher, kept_names(captioned)), options)
    except MatchError as error:
        raise RefusedError(f"{args.captions} cannot be exported: {error}") from error
    except OSError as error:
        return stopped_writing("export", args.output or args.beside, error)
    print(printable(_told(args, count, written, unsure)))
    return DONE


def _export_dataset(args: argparse.Namespace, captioned: Captions) -> int:
    reading = PictureReading(args.images_root, args.storage_options, args.allow_http, max_bytes=args.max_bytes)
    try:
        found = write_dataset(captioned, args.to, args.output, reading, args.replace, args.min_confidence)
    except ValueError as error:
        raise RefusedError(f"{args.captions} cannot be exported: {error}") from error
    except OSError as error:
        return stopped_writing("export", args.output, error)
    photographs = counted(found.samples, "photograph with its caption", "photographs with their captions")
    told = f"beamscribe export: {photographs} as {args.to} in {counted(found.files, 'file')}"
    if found.left_out:
        reasons = "; ".join(f"{counted(count, 'time')}: {reason}" for reason, count in found.left_out.most_common())
        told += f", {counted(found.left_out.total(), 'caption')} left out, the same command tries again ({reasons})"
    print(printable(f"{told} → {args.output}"))
    return CHECK_FAILED if found.left_out else DONE


def _captioned(row: Row, least: float) -> Captioned:
    """A photograph with its caption; with none where it is less sure than that."""
    unsure = row["confidence"] is not None and row["confidence"] < least
    return Captioned(row["id"], row["image_uri"], "" if unsure else row["caption"])


def _refuse_places(args: argparse.Namespace) -> None:
    """Refuses a command that does not say where to write.

    Raises:
        RefusedError: then.
    """
    if args.embed and (args.to != "sidecar" or not args.output):
        raise RefusedError("--embed writes copies of the photographs: --to sidecar --output, a folder for them")
    if args.to != "csv" and (args.columns or args.speech):
        raise RefusedError("--columns and --speech are for --to csv")
    if args.to not in ("sidecar", "files"):
        if not args.output:
            if args.to in DATASETS:
                raise RefusedError(f"--to {args.to} needs --output, the folder to write")
            raise RefusedError(f"--to {args.to} needs --output, the file to write")
        if args.beside:
            raise RefusedError("--beside is for sidecars: --output names the file to write")
    elif bool(args.output) == bool(args.beside):
        raise RefusedError(
            "--to sidecar needs --output, a folder of their own, or --beside, the folder that the photographs are below"
        )


def _lines(
    args: argparse.Namespace, rows: Iterable[Row], matcher: Matcher | None, kept: Sequence[str]
) -> Iterator[str]:
    if args.to == "coco-results":
        return coco_results(rows, matcher)
    if args.to == "jsonl":
        return json_lines(rows)
    audio = audio_of(args.speech, args.storage_options) if args.speech else None
    return csv_lines(rows, args.formulas, columns_of(args.columns, audio is not None, kept), audio)


def _readable(path: str, captioned: Captions, least: float) -> Iterator[Row]:
    """Every row.

    Raises:
        RefusedError: if a file cannot be read, which is told apart from one that cannot be written.
    """
    try:
        for rows in rows_by_file(captioned, least):
            yield from rows
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be exported: {error}") from error


def _told(args: argparse.Namespace, count: int, written: Written | None, unsure: int = 0) -> str:
    """The last line."""
    told = f"beamscribe export: {counted(count, 'caption')} as {args.to}"
    if unsure:
        told += f", {unsure} of them decorative (confidence below {args.min_confidence:g})"
    if written and written.kept:
        told += f", {written.kept} left as they were, since they say something else"
        told += "" if args.replace else " (--replace writes over them)"
    if written and written.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(written.skipped.items()))
        told += f", {counted(sum(written.skipped.values()), 'photograph')} without a file beside them ({reasons})"
    return f"{told} → {args.output or 'beside the photographs below ' + args.beside}"
