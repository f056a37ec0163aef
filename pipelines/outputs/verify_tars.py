"""Tars beside rows of captions as `verify` sees them: are they those of their rows, and as they were written?"""

from collections.abc import Collection, Mapping

from beamscribe.schemas.receipt import FileStamp
from beamscribe.schemas.rows import RowFormat
from beamscribe.schemas.sample_tar import tar_of
from beamscribe.storage.committed import stem_of
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.sample_tars import LostTarError, sample_tars, stamp_of_tar
from beamscribe.storage.storage import Storage

AT_ONCE = 2
"""Tars that are read at once: each is in memory as a whole."""

MEND = "(verify --repair, then the job again)"


def check_tars(
    output: Storage,
    form: RowFormat,
    tarred: Collection[str],
    stamps: Mapping[str, FileStamp],
    remove: set[str],
    orphans: set[str],
) -> list[str]:
    """What is wrong with the tars, one line each.

    Args:
        output: of a job.
        form: how its rows are stored.
        tarred: files of rows that say that a tar is beside them.
        stamps: of files that have a receipt, by name.
        remove: gets files of rows whose tar is not theirs.
        orphans: gets tars without rows.
    """
    findings = []

    def look(rows: str) -> FileStamp | OSError | ValueError:
        try:
            return stamp_of_tar(output, stem_of(rows))
        except (OSError, ValueError) as error:
            return error

    names = sorted(tarred)
    for rows, found in zip(names, prefetch(look, names, AT_ONCE, AT_ONCE), strict=True):
        if isinstance(found, LostTarError):
            findings.append(f"{found} {MEND}")
            remove.add(rows)
        elif isinstance(found, OSError | ValueError):
            findings.append(f"{tar_of(stem_of(rows))} cannot be compared with {rows}: {found}")
        elif found.name in stamps and stamps[found.name].sha256 != found.sha256:
            findings.append(f"{found.name} is not as it was written: its checksum differs {MEND}")
            remove.add(rows)
    wanted = {tar_of(stem_of(rows)) for rows in names}
    for entry in sample_tars(output, form):
        if entry.name not in wanted:
            findings.append(f"{entry.name} is beside no rows (the next run removes it if Beamscribe wrote it)")
            orphans.add(entry.name)
    return findings
