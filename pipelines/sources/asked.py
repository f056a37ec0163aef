"""What an output was asked for: the stored corpus, and what workers have found in containers since it was stored."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from beamscribe.pipelines.commits.stored_corpus import read_corpus
from beamscribe.pipelines.sources.slice_listing import StoredSlices
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.pipelines.work.work_item import TAR, ZIP, WorkItem
from beamscribe.schemas.manifest import FOLDER as BOOKKEEPING
from beamscribe.schemas.table import check_version
from beamscribe.storage.storage import Storage

CONTAINERS = f"{BOOKKEEPING}/containers.json"
VERSION = 1


class Beyond(NamedTuple):
    """What is known of the containers of an output beyond its stored corpus and its manifest.

    Attributes:
        items: images that were found since.
        skipped: what was left out since, counted by reason.
        containers: that the latest run goes through.
        whole: of these, how many were read to their end.
        bytes: of all of them.
        passed: of these, bytes of what was read; of a compressed tar or a table that is not read to its end none, of
            such a zip those of its images.
        noun: what one of them is called.
    """

    items: tuple[WorkItem, ...] = ()
    skipped: Counter[str] = Counter()
    containers: int = 0
    whole: int = 0
    bytes: int = 0
    passed: int = 0
    noun: str = noun_of(())

    @property
    def unfinished(self) -> int:
        """Containers that were not read to their end."""
        return self.containers - self.whole


def write_containers(output: Storage, containers: Iterable[Container]) -> None:
    """Stores the containers of a run.

    Args:
        output: of the run.
        containers: of which so many `slices` are in the stored corpus and the manifest.
    """
    if containers := list(containers):
        output.write(CONTAINERS, json.dumps({"schema_version": VERSION, "containers": containers}).encode())
    else:
        output.delete(CONTAINERS)


def read_containers(output: Storage) -> tuple[Container, ...]:
    """The containers of the latest run.

    Raises:
        ValueError: if the file is damaged.
        NewerSchemaError: if a newer Beamscribe wrote it.
    """
    what = output.uri(CONTAINERS)
    try:
        fields = json.loads(output.read(CONTAINERS))
        check_version(what, fields["schema_version"], VERSION)
        return tuple(map(Container.from_json, fields["containers"]))
    except FileNotFoundError:
        return ()
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"{what} is damaged: {error}") from error


def read_beyond(output: Storage) -> Beyond:
    """What workers have found since the launcher looked.

    Raises:
        ValueError: if a file is damaged.
    """
    containers = read_containers(output)
    if not containers:
        return Beyond()
    stored = StoredSlices(output)
    items: list[WorkItem] = []
    skipped: Counter[str] = Counter()
    whole = passed = 0
    for one in containers:
        is_whole, slices = stored.is_whole(one), len(stored.names_of(one))
        whole += is_whole
        passed += one.size if is_whole else 0
        if is_whole and slices <= one.slices:
            continue
        now, before = stored.of(one), stored.of(one, one.slices)
        items += now.items[len(before.items) :]
        skipped += now.skipped - before.skipped
        if one.kind == TAR and not is_whole:
            passed += now.ends
        elif one.kind == ZIP and not is_whole:
            passed += sum(item.member.size for item in now.items if item.member)
    size = sum(one.size for one in containers)
    return Beyond(tuple(items), skipped, len(containers), whole, size, passed, noun_of(containers))


def asked_items(output: Storage) -> Iterator[WorkItem]:
    """Every image that the latest run was asked for, as far as it is known; some may be told twice.

    Raises:
        ValueError: if a file is damaged.
    """
    yield from read_corpus(output)
    yield from read_beyond(output).items
