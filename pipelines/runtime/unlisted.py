"""What the launcher knows of containers whose members it does not list, and what workers have to go through."""

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.container_listing import list_container
from beamscribe.pipelines.sources.corpus import Corpus, Skipped, distinct
from beamscribe.pipelines.sources.slice_listing import Listed, StoredSlices
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.pipelines.work.shards import Shard, container_name
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.counted import counted
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.table import NewerSchemaError


class Known(NamedTuple):
    """What is known at a moment.

    Attributes:
        corpus: with the members that are known.
        containers: with the number of their slices that are known.
        unfinished: of these, those that were not read to their end.
    """

    corpus: Corpus
    containers: tuple[Container, ...] = ()
    unfinished: tuple[Container, ...] = ()

    def shards(self) -> list[Shard]:
        """A shard a container that is to be gone through."""
        return [Shard(one.name, (), container=one) for one in self.unfinished]


class Unlisted:
    """The containers of a request.

    A container of which an output holds rows that no slice explains, as those of an earlier version of the file or of a
    run that listed it, is listed here as a whole: only so nothing is done twice.

    Args:
        request: what is asked for.
        receipts: of all commits in its output.

    Raises:
        RefusedError: if a newer Beamscribe has listed members.
        OSError: if the storage cannot read a container that has to be listed here.
    """

    def __init__(self, request: Request, receipts: Iterable[Receipt]) -> None:
        self._request = request
        self._listed_here: dict[str, list[WorkItem | Skipped]] = {}
        containers = request.corpus.containers
        if not containers:
            return
        known = self._known()
        open_ones = [one for one in containers if not known[one.uri].whole]
        committed: dict[str, set[str]] = {
            name: set() for one in open_ones for name in (one.name, container_name(one.uri))
        }
        for receipt in receipts:
            ids = committed.get(receipt.stem[:16])
            if ids is not None:
                ids.update(id for file in (receipt.rows, receipt.failures) if file for id in file.ids)
        for one in open_ones:
            done = committed[one.name] | committed[container_name(one.uri)]
            if done - {item.id for item in known[one.uri].items}:
                self._listed_here[one.uri] = list(list_container(one, request.flags.storage_options))

    def _known(self) -> dict[str, Listed]:
        if not self._request.corpus.containers:
            return {}
        stored = StoredSlices(self._request.output)

        def of(one: Container) -> Listed:
            try:
                found = stored.of(one)
                # Objects of one container at a time.
                return found._replace(items=WorkItems.of(found.items))
            except NewerSchemaError as error:
                raise RefusedError(str(error)) from error
            except ValueError:
                return Listed()  # A damaged file is none.

        containers = (one for one in self._request.corpus.containers if one.uri not in self._listed_here)
        return {one.uri: of(one) for one in containers}

    def look(self) -> Known:
        """What is known by now."""
        corpus = self._request.corpus
        if not corpus.containers:
            return Known(corpus)
        known = self._known()
        size = self._request.flags.shard_size
        containers = tuple(
            one._replace(slices=known[one.uri].slices, slice_size=size) for one in corpus.containers if one.uri in known
        )
        skipped = [Skipped(*one) for one in corpus.skipped.items()]
        for listed in known.values():
            skipped += [Skipped(*one) for one in listed.skipped.items()]
        items = chain.from_iterable(listed.items for listed in known.values())
        found = distinct(chain(corpus.references, items, *self._listed_here.values(), skipped))
        found = found._replace(
            repeated=found.repeated + corpus.repeated, listed=found.listed + corpus.repeated, kept=corpus.kept
        )
        unfinished = tuple(one for one in containers if not known[one.uri].whole)
        return Known(found, containers, unfinished)


def refuse_empty(known: Known) -> None:
    """Refuses containers that hold no image, which nobody knows before they are read.

    Raises:
        RefusedError: if there is nothing else.
    """
    if known.containers and not known.unfinished and not len(known.corpus.references):
        noun = noun_of(known.containers)
        named = known.containers[0].uri if len(known.containers) == 1 else counted(len(known.containers), noun)
        if noun == "table":
            raise RefusedError(f"--manifest {named} has no rows: give tables that have some")
        others = "".join(
            f"; {counted(count, 'file')} there: {reason}" for reason, count in sorted(known.corpus.skipped.items())
        )
        raise RefusedError(
            f"--images {named} names no image{others}: name a folder, a glob or an archive that holds images"
        )


def archives(known: Known) -> str:
    """Containers that are to be gone through, as a part of a sentence; empty where there are none."""
    noun = noun_of(known.unfinished)
    return f"; {counted(len(known.unfinished), noun)} not read to their end" if known.unfinished else ""
