"""Shards are a function of the corpus alone, the same after every restart."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR, WorkItem
from beamscribe.pipelines.work.work_items import WorkItems

_STEM = r"(?:[0-9]{5,}-of-[0-9]{5,}|[0-9a-f]{16}(?:-[0-9]{5,})?)-[0-9a-f]{16}"
OWN_NAME = re.compile(rf"[a-z]+/{_STEM}\.[a-z.]+|audio/[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.[a-z0-9]+")
"""Files below an output that Beamscribe may delete: shard id and digest of what was asked, or the key of an audio."""


class PendingItem(NamedTuple):
    """A reference that is still to do.

    Attributes:
        reference: which.
        attempts: runs that have failed at it.
        kept: what its source says of it in the columns that are kept, see `beamscribe.schemas.kept_columns`.
    """

    reference: WorkItem
    attempts: int = 0
    kept: pa.RecordBatch | None = None


class PassedSlice(NamedTuple):
    """What was found in a slice of a container that was gone through.

    Attributes:
        todo: its images.
        name: of the file below the output that says so.
        listing: bytes of that file.
    """

    todo: tuple[PendingItem, ...]
    name: str
    listing: bytes


class Passing(Protocol):
    """The images of a slice, which are told one by one while their container is gone through."""

    def __iter__(self) -> Iterator[Any]:
        """Files, or failures where there is none."""
        ...

    def listed(self) -> tuple[PendingItem, ...]:
        """All images of the slice, whose bytes are passed over."""
        ...

    def finish(self) -> PassedSlice:
        """What was found in it.

        Raises:
            ContainerUnreadError: if the container is another one by now.
        """
        ...


class Shard(NamedTuple):
    """Work that is committed together.

    Attributes:
        name: shard id, the same after every restart.
        todo: what is still to do, in the order of their container, else by group and id.
        suspect: whether an earlier attempt at it never ended, as after an image that kills its decoder.
        container: to be gone through, which is committed in slices, a shard each; then nothing else is to do.
        passing: tells what is to do while a container is gone through.
    """

    name: str
    todo: tuple[PendingItem, ...]
    suspect: bool = False
    container: Container | None = None
    passing: Passing | None = None


def bucket(key: str, count: int) -> int:
    """The bucket of a key, `blake2b(key) mod count`: the same on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % count


def shard_count(references: int, shard_size: int) -> int:
    """The power of two that is not below `references / shard_size`."""
    shards = 1
    while shards * shard_size < references:
        shards *= 2
    return shards


def shard_name(reference: WorkItem, count: int, size: int) -> str:
    """The shard of a reference: a slice of its container, else by hash of its group and part, else of its id.

    Args:
        reference: which.
        count: shards that loose references are hashed into.
        size: images of a container that are cut off together; what has no place in one, and a compressed tar, which is
            inflated from its beginning, is not cut.
    """
    if not reference.container:
        parted = "" if reference.part is None else f" {reference.part}"
        return bucket_name(f"{reference.group}{parted}" or reference.id, count)
    name = container_name(reference.container)
    member = reference.member
    return name if member is None or member.kind == INFLATED_TAR else f"{name}-{member.place // size:05d}"


def container_name(uri: str) -> str:
    """What the shards of a container whose members are listed begin with."""
    return hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()


def bucket_name(key: str, count: int) -> str:
    """The shard of everything that is hashed by this key."""
    return f"{bucket(key, count):05d}-of-{count:05d}"


class ShardPlan(Iterable[Shard]):
    """Shards of what is to do, by name; each is made when it is asked for.

    Args:
        references: of the corpus.
        attempts: runs that have failed at what is to be tried again, by id.
        places: (count,) integers, of what is to do in the corpus.
        count: shards that loose references are hashed into.
        size: as `shard_name` takes it.
    """

    def __init__(
        self, references: WorkItems, attempts: Mapping[str, int], places: np.ndarray, count: int, size: int
    ) -> None:
        self._references, self._attempts = references, attempts
        names: dict[str, int] = {}
        todo = references if len(places) == len(references) else references.take(places)
        numbers = (names.setdefault(shard_name(reference, count, size), len(names)) for reference in todo)
        shard_of_each = np.fromiter(numbers, np.int64, len(places))
        self._places = places[np.argsort(shard_of_each, kind="stable")]
        sizes = np.bincount(shard_of_each, minlength=len(names))
        ends = np.cumsum(sizes)
        self._shards = sorted(zip(names, ends - sizes, ends, strict=True))

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Shard]:
        for name, start, end in self._shards:
            references = self._references.take(self._places[start:end])
            yield make_shard(name, (PendingItem(one, self._attempts.get(one.id, 0)) for one in references))


def make_shard(name: str, todo: Iterable[PendingItem]) -> Shard:
    """A shard whose order does not depend on that of the corpus."""
    return Shard(name, tuple(sorted(todo, key=_order)))


def _order(item: PendingItem) -> tuple[str, int, int, str]:
    """By group and its parts, then as a container has them, then by id."""
    reference = item.reference
    part = -1 if reference.part is None else reference.part
    return reference.group, part, reference.member.place if reference.member else 0, reference.id


def asked_digest(fingerprint: str, ids: Iterable[str]) -> str:
    """Names what was asked (never what came out), so that a retry or a duplicate bundle replaces its twin whole."""
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=8)
    for item in sorted(ids):
        digest.update(b"\0" + item.encode())
    return digest.hexdigest()
