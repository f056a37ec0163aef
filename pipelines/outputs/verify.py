"""`beamscribe verify`: is every image of an output accounted for, and is every file as it was written?"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.model.feature_records import FeatureRecords
from beamscribe.pipelines.commits.repair import repair
from beamscribe.pipelines.commits.stored_corpus import corpus_parts, ids_of_part
from beamscribe.pipelines.outputs.inspection import Inspected, Inspection, Verdict, inspect_parts
from beamscribe.pipelines.outputs.verify_tars import check_tars
from beamscribe.pipelines.runtime.flags.verify import parser
from beamscribe.pipelines.sources.asked import Beyond, read_beyond
from beamscribe.pipelines.speech.verify_audio import NAMELESS, check_audio_of
from beamscribe.pipelines.work.shards import OWN_NAME
from beamscribe.schemas.counted import counted
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import FileStamp
from beamscribe.schemas.rows import CAPTIONS, FAILURES, INDEX, OWN_FOLDERS, RowFormat, RowKey, read_failures
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage.committed import stored_receipts
from beamscribe.storage.output_reader import manifest_of, read_parts
from beamscribe.storage.storage import Storage

FORMATS: dict[str, RowFormat] = {"featurize": FeatureRecords(), "caption": CAPTIONS, "speak": INDEX}
"""How each job stores its rows."""

_MARKERS = re.compile(r"_SUCCESS|_committed_.*|_started_.*|desktop\.ini|Thumbs\.db|.*\.crc", re.IGNORECASE)
"""What other programs leave in folders, and no reader takes for data."""

SHOWN = 5
"""Ids or files that a finding names."""


def verify(output: Storage) -> Verdict:
    """Reads everything back: conservation, schema versions, checksums, duplicates, fingerprints, orphans.

    Raises:
        RefusedError: if the folder is no output of Beamscribe.
    """
    return inspect(output).verdict


def inspect(output: Storage, see: Callable[[Iterable[str]], None] = lambda ids: None) -> Inspection:
    """As `verify`, and says which files to remove.

    Args:
        output: which one.
        see: called with the ids that have a row.

    Raises:
        RefusedError: if the folder is no output of Beamscribe.
    """
    manifest = manifest_of(output)
    form = format_of(manifest)
    receipts = stored_receipts(output, form)
    stamps = {stamp.name: stamp for receipt in receipts for stamp in receipt.files}
    findings: list[str] = []
    remove: set[str] = set()
    rows: Counter[str] = Counter()
    replacing: list[str] = []
    holders: set[str] = set()
    tarred: set[str] = set()
    for name, found in _read_all(output, form.folder, form.suffix, stamps, form.read_keys, findings, remove):
        if any(key.tarred for key in found):
            tarred.add(name)
        current = [key.id for key in found if key.fingerprint in manifest.kept_fingerprints]
        replacing += [key.id for key in found if key.fingerprint not in manifest.kept_fingerprints]
        rows.update(current)
        if len(set(current)) < len(current) or any(id in holders for id in current):
            remove.add(name)
        elif name not in remove:
            holders.update(current)
    replaced = {
        receipt.failures.name
        for receipt in receipts
        if receipt.failures and receipt.fingerprint not in manifest.kept_fingerprints
    }
    failed = [
        row
        for _, rows_of_file in _read_all(
            output, FAILURES.folder, FAILURES.suffix, stamps, read_failures, findings, remove, replaced
        )
        for row in rows_of_file
    ]
    failures = Counter(row.id for row in failed)
    asked: set[str] = set()
    for entry in corpus_parts(output):
        try:
            asked.update(ids_of_part(output, entry.name).to_pylist())
        except ValueError as error:
            findings.append(str(error))
    findings += _ids("ids with more than one row", (id for id, count in rows.items() if count > 1))
    findings += _ids("ids with more than one failure row", (id for id, count in failures.items() if count > 1))
    findings += _ids("ids with both a row and a failure row", rows.keys() & failures.keys())
    twice = [id for id in replacing if id in rows or id in failures]
    findings += _ids("rows that newer ones replace (the run that replaces them removes them at its end)", twice)
    waiting = len(replacing) - len(twice)
    stays = ("row of earlier settings stays", "rows of earlier settings stay")
    notes = [f"{counted(waiting, *stays)} until a run replaces {'it' if waiting == 1 else 'them'}"] if waiting else []
    temporaries = output.temporaries(OWN_FOLDERS)
    findings += _ids("temporaries that a killed run left (the next run removes them)", temporaries)
    orphans: set[str] = set()
    findings += check_tars(output, form, tarred, stamps, remove, orphans)
    if len(asked) != manifest.references:
        findings.append(
            f"the stored corpus has {len(asked)} ids, the manifest says {manifest.references} (the next run stores it)"
        )
    told = manifest.references + manifest.repeated + sum(manifest.skipped.values())
    if told != manifest.listed:
        findings.append(
            f"the sources of the latest run name {manifest.listed}, but items, repeats and what was skipped are "
            f"{told} (the next run counts again)"
        )
    beyond = Beyond()
    try:
        beyond = read_beyond(output)
    except ValueError as error:
        findings.append(str(error))
    asked.update(item.id for item in beyond.items)
    todo = asked - rows.keys() - failures.keys()
    see(rows)
    if manifest.job == "speak":
        findings += _audio_findings(output, finished=not todo and not beyond.unfinished, remove=remove, orphans=orphans)
    foreign = sorted(name for name in remove | orphans if not OWN_NAME.fullmatch(name))
    findings += [f"{name} has no name that Beamscribe gives: delete it, or move it elsewhere" for name in foreign]
    remove, orphans = remove.difference(foreign), orphans.difference(foreign)
    verdict = Verdict(len(rows), len(failures.keys() - rows.keys()), len(todo), tuple(findings))
    return Inspection(
        verdict, frozenset(remove), frozenset((*orphans, *temporaries)), tuple(notes), beyond.unfinished, beyond.noun
    )


def format_of(manifest: Manifest) -> RowFormat:
    """How the rows of an output are stored.

    Raises:
        RefusedError: if its job is none of this Beamscribe's.
    """
    if manifest.job not in FORMATS:
        raise RefusedError(f"this is the output of a job called {manifest.job}, which this Beamscribe does not have")
    return FORMATS[manifest.job]


def _is_marker(name: str) -> bool:
    return _MARKERS.fullmatch(name.rsplit("/", 1)[-1]) is not None


RowT = TypeVar("RowT", RowKey, FailureRow)


def _read_all(
    output: Storage,
    folder: str,
    suffix: str,
    stamps: dict[str, FileStamp],
    read: Callable[[bytes, str], Iterable[RowT]],
    findings: list[str],
    remove: set[str],
    left_out: Collection[str] = (),
) -> Iterator[tuple[str, list[RowT]]]:
    """Files in a folder but some, each with its rows; what is wrong with one goes to `findings` and `remove`."""
    names = [entry.name for entry in output.files(folder) if entry.name not in left_out]
    findings += [
        f"{name} is no data file of Beamscribe: delete it, or move it elsewhere"
        for name in names
        if not name.endswith(suffix) and not _is_marker(name)
    ]
    names = [name for name in names if name.endswith(suffix)]

    def read_one(name: str) -> tuple[str, list[RowT]] | OSError | ValueError:
        try:
            data = output.read(name)
            return hashlib.sha256(data).hexdigest(), list(read(data, name))
        except (OSError, ValueError) as error:
            return error

    for name, found in zip(names, output.prefetch(read_one, names), strict=True):
        if isinstance(found, NewerSchemaError):
            findings.append(str(found))
            continue
        if isinstance(found, OSError | ValueError):
            findings.append(f"{name} cannot be read: {found}")
            remove.add(name)
            continue
        sha256, rows = found
        stamp = stamps.get(name)
        if stamp is None:
            findings.append(f"{name} has no receipt that fits it (the next run makes one)")
        elif sha256 != stamp.sha256:
            findings.append(f"{name} is not as it was written: its checksum differs")
            remove.add(name)
        yield name, rows


def _audio_findings(output: Storage, finished: bool, remove: set[str], orphans: set[str]) -> list[str]:
    """What is wrong with the audio, one line each."""
    try:
        found = check_audio_of(output, finished)
    except (OSError, ValueError):
        # The index file has a finding of its own; without it nothing can be said of the audio.
        return []
    remove |= found.remove
    orphans |= {name for name in found.orphans if not _is_marker(name)}
    found.wrong[NAMELESS] = {name for name in found.wrong.get(NAMELESS, ()) if not _is_marker(name)}
    return [finding for what, names in found.wrong.items() for finding in _ids(what, names)]


def _ids(what: str, found: Iterable[str]) -> list[str]:
    names = sorted(found)
    if not names:
        return []
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"]


def run(argv: Sequence[str]) -> int:
    """Verifies an output, and repairs it if asked to.

    Returns:
        0 if all is well, 1 if only work is left to do, 3 if something is wrong.

    Raises:
        RefusedError: if the folder is no output of Beamscribe, or cannot be read.
    """
    args = parser().parse_strictly(argv)
    output = Storage(args.output, args.storage_options)
    parts = read_parts(output)
    wanted = [part for part in parts if part.rows]
    try:
        found = inspect_parts(output, wanted, inspect) if parts else [Inspected("", output, inspect(output))]
        _tell(found)
        if args.repair and any(one.inspection.verdict.findings for one in found):
            for _, place, inspection in found:
                if inspection.verdict.findings:
                    repair(place, format_of(manifest_of(place)), inspection.remove, inspection.orphans)
            found = inspect_parts(output, wanted, inspect) if parts else [Inspected("", output, inspect(output))]
            print("beamscribe verify: after the repair")
            _tell(found)
    except OSError as error:
        raise RefusedError(f"{args.output} cannot be read: {error}") from error
    verdicts = [one.inspection.verdict for one in found]
    wrong = any(one.findings for one in verdicts)
    todo, unread = sum(one.todo for one in verdicts), sum(one.inspection.archives for one in found)
    state = "wrong" if wrong else "incomplete, run its job again" if todo or unread else "whole"
    archives = f", {counted(unread, found[0].inspection.noun)} not read to their end" if unread else ""
    in_parts = f" in {counted(len(wanted), 'part')}" if parts else ""
    print(
        f"beamscribe verify: {args.output} is {state}: {counted(sum(one.rows for one in verdicts), 'row')}, "
        f"{counted(sum(one.failures for one in verdicts), 'failure')}, {todo:,} to do{archives}{in_parts}"
    )
    return CHECK_FAILED if wrong else STOPPED if todo or unread else DONE


def _tell(found: Iterable[Inspected]) -> None:
    for name, _, inspection in found:
        where = f"{name}: " if name else ""
        for line in (*inspection.verdict.findings, *inspection.notes):
            print(printable(f"beamscribe verify: {where}{line}"))
