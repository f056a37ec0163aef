"""Sound by photograph: `photo.mp3` for `photo.jpg`, or a table that says which file is whose."""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.errors import DONE, RefusedError, stopped_writing
from beamscribe.pipelines.outputs.audio_files import read_audio
from beamscribe.pipelines.outputs.caption_lines import cell, csv_line
from beamscribe.pipelines.outputs.line_files import refuse_foreign, write_lines
from beamscribe.pipelines.outputs.report.sound import SpokenAt
from beamscribe.pipelines.outputs.sidecar_places import Captioned, Places, places_below, places_beside
from beamscribe.schemas.caption_json import AUDIO
from beamscribe.schemas.counted import counted
from beamscribe.schemas.printable import printable
from beamscribe.schemas.rows import INDEX
from beamscribe.storage.output_reader import open_output
from beamscribe.storage.storage import Storage

COLUMNS = ("image_uri", "id", "caption", AUDIO, "duration_seconds")
_READ = ["image_uri", "id", "caption", "audio_uri", "duration_seconds"]


class Spoken(NamedTuple):
    """A photograph and where its sound is."""

    photograph: Captioned
    place: SpokenAt
    seconds: float


def read_index(output: Storage) -> Iterator[Spoken]:
    """Every spoken photograph.

    Raises:
        ValueError: if a file is damaged.
        OSError: if one cannot be read.
    """
    for table in open_output(output, INDEX).tables(_READ, newer=["audio_member"]):
        for row in table.to_pylist():
            place = SpokenAt(row["audio_uri"], row["audio_member"])
            photograph = Captioned(row["id"], row["image_uri"], row["caption"])
            yield Spoken(photograph, place, row["duration_seconds"])


def export_speech(args: argparse.Namespace) -> int:
    """Exports an output of speak.

    Args:
        args: of `beamscribe export`.

    Returns:
        0, or 1 if the files cannot all be written.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    if args.to not in ("csv", "files", "sidecar") or args.embed or args.columns or args.speech:
        raise RefusedError(f"{args.captions} holds sound: --to files, csv or sidecar, without --embed and --columns")
    output = Storage(args.captions, args.storage_options)
    try:
        spoken = list(read_index(output))
    except (OSError, ValueError) as error:
        raise RefusedError(f"{args.captions} cannot be exported: {error}") from error
    if not spoken:
        raise RefusedError(f"{args.captions} has no index/*.parquet: nothing is spoken yet")
    try:
        told = _table(args, output, spoken) if args.to == "csv" else _files(args, output, spoken)
    except ValueError as error:
        raise RefusedError(f"{args.captions} cannot be exported: {error}") from error
    except OSError as error:
        return stopped_writing("export", args.output or args.beside, error)
    where = args.output or f"beside the photographs below {args.beside}"
    print(printable(f"beamscribe export: sound of {counted(len(spoken), 'photograph')} as {args.to}{told} → {where}"))
    return DONE


def _table(args: argparse.Namespace, output: Storage, spoken: list[Spoken]) -> str:
    if not args.replace:
        refuse_foreign(args.output, "csv", args.storage_options)

    def lines() -> Iterator[str]:
        yield csv_line(COLUMNS)
        for one in spoken:
            member = f"::{one.place.member}" if one.place.member else ""
            where = output.uri(one.place.uri) + member
            fields = (one.photograph.uri, one.photograph.id, one.photograph.caption, where, one.seconds)
            yield csv_line([cell(field, args.formulas) for field in fields])

    write_lines(args.output, lines(), args.storage_options)
    return ""


def _files(args: argparse.Namespace, output: Storage, spoken: list[Spoken]) -> str:
    place_of = {one.photograph: one.place for one in spoken}
    by_suffix: dict[str, list[Captioned]] = defaultdict(list)
    for photograph, place in place_of.items():
        by_suffix[os.path.splitext(place.member or place.uri)[1].removeprefix(".")].append(photograph)
    kept, skipped = 0, 0
    for suffix, photographs in sorted(by_suffix.items()):
        plan = places_below if args.output else places_beside
        places = plan(photographs, suffix, args.output or args.beside, args.storage_options)
        kept += _write(places, output, place_of, args.replace)
        skipped += places.skipped.total()
    told = f", {kept} left as they were, since they are other files" if kept else ""
    told += " (--replace writes over them)" if kept and not args.replace else ""
    return told + (f", {counted(skipped, 'photograph')} without a file beside them" if skipped else "")


def _write(places: Places, output: Storage, place_of: dict[Captioned, SpokenAt], replace: bool) -> int:
    """Writes the files; returns how many were there and are others."""
    wanted: dict[SpokenAt, list[str]] = defaultdict(list)
    for name, photograph in zip(places.names, places.photographs, strict=True):
        wanted[place_of[photograph]].append(name)
    kept = 0
    for place, data in read_audio(output, set(wanted)):
        for name in wanted.pop(place):
            there = places.storage.exists(name)
            if there and not replace:
                kept += places.storage.read(name) != data
            else:
                places.storage.write(name, data)
    if wanted:
        missing = next(iter(wanted))
        raise RefusedError(
            f"{output.uri(missing.uri)} lacks the sound of {wanted[missing][0]}: speak the captions again"
        )
    return kept
