"""What `beamscribe verify` finds in an output, and in the parts of one that is in parts."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from beamscribe.pipelines.work.shards import bucket
from beamscribe.schemas.counted import counted
from beamscribe.schemas.output_parts import OutputPart
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage


class Verdict(NamedTuple):
    """What `verify` found.

    Attributes:
        rows: ids with a row.
        failures: ids with a failure row and no row.
        todo: ids of the corpus with neither.
        findings: what is wrong, one line each.
    """

    rows: int
    failures: int
    todo: int
    findings: tuple[str, ...]


class Inspection(NamedTuple):
    """What was found, and what to do about it.

    Attributes:
        verdict: for people.
        remove: files of which nothing can be kept, or that repeat what others hold; a run does their images again.
        orphans: files that belong to nothing.
        notes: what is not wrong and may surprise, one line each.
        archives: and tables that were not read to their end, so that nobody knows what is to do in them.
        noun: what one of them is called.
    """

    verdict: Verdict
    remove: frozenset[str]
    orphans: frozenset[str]
    notes: tuple[str, ...] = ()
    archives: int = 0
    noun: str = "archive"


class Inspected(NamedTuple):
    """An output that was looked at.

    Attributes:
        name: of the part that it is; empty: it is no part.
        output: its folder.
        inspection: what was found.
    """

    name: str
    output: Storage
    inspection: Inspection


class Inspects(Protocol):
    """Looks at one output, see `beamscribe.pipelines.outputs.verify.inspect`."""

    def __call__(self, output: Storage, see: Callable[[Iterable[str]], None], /) -> Inspection:
        """What is found."""
        ...


def inspect_parts(output: Storage, parts: Sequence[OutputPart], inspect: Inspects) -> list[Inspected]:
    """Looks at all parts of an output, one after the other; a part that is not begun is still to do.

    Ids are told apart within a part, where the launcher lists them; of all parts they are compared here, by digests of
    eight bytes.

    Args:
        output: that the parts are in.
        parts: that are asked for.
        inspect: looks at one.

    Raises:
        RefusedError: if a part cannot be read.
    """
    found: list[Inspected] = []
    digests: list[np.ndarray] = []

    def see(ids: Iterable[str]) -> None:
        digests.append(np.fromiter((bucket(id, 2**64) for id in ids), np.uint64))

    for part in parts:
        below = output.below(part.name)
        manifest = read_manifest_of(below)
        if manifest is None:
            inspection = Inspection(Verdict(0, 0, part.rows, ()), frozenset(), frozenset())
        else:
            inspection = inspect(below, see)
            verdict = inspection.verdict
            unlisted = max(0, part.rows - manifest.listed)
            inspection = inspection._replace(verdict=verdict._replace(todo=verdict.todo + unlisted))
        found.append(Inspected(part.name, below, inspection))
    every = np.concatenate([*digests, np.zeros(0, np.uint64)])
    again = len(every) - len(np.unique(every))
    if again:
        note = (
            f"{counted(again, 'row')} have an id that a row of another part has too: manifests name these images more "
            "than once, and each part holds its own caption of them"
        )
        last = found[-1]
        found[-1] = last._replace(inspection=last.inspection._replace(notes=(*last.inspection.notes, note)))
    return found
