"""Ids that images of two tables have: nobody knows of them before workers have gone through both.

The image of the first table keeps the id, in the order in which the tables are named. Another one gets an id of its
own, `7#2`, under which the next run does it; the row that a worker has committed under the first id is removed.
"""

import collections
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.shards import container_name
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.counted import counted


class Shared(NamedTuple):
    """What a container has in common with those before it.

    Attributes:
        ids: of its images, with those of their own.
        files: ids of files that one before it names too.
        renamed: images that have got an id of their own.
    """

    ids: frozenset[str]
    files: frozenset[str]
    renamed: int


def apart(
    references: WorkItems, containers: Sequence[Container], counts: Sequence[int]
) -> tuple[WorkItems, dict[Container, Shared]]:
    """Gives images that share an id with another one ids of their own, in their order.

    Args:
        references: of the corpus, those of containers last and in the order of these.
        containers: which they are.
        counts: images of each of them.

    Returns:
        The references, and what containers have in common with others; those are left out that have nothing.
    """
    _, again, earlier = references.repeats()
    ends = len(references) - sum(counts) + np.cumsum([0, *counts])
    owners = np.searchsorted(ends, again, side="right") - 1
    elsewhere = owners != np.searchsorted(ends, earlier, side="right") - 1
    again, earlier, owners = again[elsewhere], earlier[elsewhere], owners[elsewhere]
    if not len(again):
        return references, {}
    taken: set[str] = set(references.ids.to_pylist())
    known: dict[str, dict[str, str]] = {}
    renamed: dict[int, str] = {}
    files: collections.defaultdict[int, set[str]] = collections.defaultdict(set)
    both = zip(references.take(again), references.take(earlier), strict=True)
    for place, owner, (one, first) in zip(again.tolist(), owners.tolist(), both, strict=True):
        ids = known.setdefault(one.id, {first.uri: first.id})
        if one.uri not in ids:
            numbers = (f"{one.id}#{number}" for number in itertools.count(len(ids) + 1))
            ids[one.uri] = next(id for id in numbers if id not in taken)
            taken.add(ids[one.uri])
        if ids[one.uri] == one.id:
            files[owner].add(one.id)
        renamed[place] = ids[one.uri]
    references = WorkItems.of(one._replace(id=renamed.get(place, one.id)) for place, one in enumerate(references))
    shared = {
        containers[owner]: Shared(
            frozenset(references.ids[ends[owner] : ends[owner + 1]].to_pylist()),
            frozenset(files[owner]),
            int(np.count_nonzero(owners == owner)) - len(files[owner]),
        )
        for owner in set(owners.tolist())
        if owner >= 0
    }
    return references, shared


def drop_shared(ledger: Ledger, shared: Mapping[Container, Shared], asked: WorkItems) -> bool:
    """Removes rows that workers have committed under an id which is that of another container's image.

    Only the holder of the lease may call this.

    Args:
        ledger: of the output.
        shared: what containers have in common.
        asked: with ids of their own.

    Returns:
        Whether there were any.
    """
    if not shared:
        return False
    of_stem = {
        name: one for container, one in shared.items() for name in (container.name, container_name(container.uri))
    }
    ids = set(asked.ids.to_pylist())
    receipts = ledger.receipts()
    in_both = set().union(*(one.files for one in shared.values()))
    held = collections.Counter(
        id
        for receipt in receipts
        for file in (receipt.rows, receipt.failures)
        if file
        for id in file.ids
        if id in in_both
    )
    dropped = False
    for receipt in receipts:
        own = of_stem.get(receipt.stem[:16])
        if own is None:
            continue
        found = [id for file in (receipt.rows, receipt.failures) if file for id in file.ids]
        rest = {id for id in found if (id in own.ids or id not in ids) and not (id in own.files and held[id] > 1)}
        for id in set(found) - rest:
            held[id] -= 1
        dropped |= ledger.keep_only(receipt, rest)
    return dropped


def tell_shared(job: str, shared: Mapping[Container, Shared]) -> None:
    """Says how many images are done again under another id, if there are some."""
    renamed = sum(one.renamed for one in shared.values())
    if renamed:
        print(
            f"beamscribe {job}: {counted(renamed, 'image has', 'images have')} the id of an image of another table and "
            "get one of their own, such as 7#2, under which the next run does them",
            file=sys.stderr,
        )
