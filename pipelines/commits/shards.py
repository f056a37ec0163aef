"""Cut first, subtract after: shards are a function of the corpus alone, the same after every restart."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from pipelines.corpora.corpus import INFLATED_TAR, Reference

DEFAULT_SHARD_SIZE = 256
"""References a shard holds at most on average: some ten seconds of work on two cores, which is what a kill can cost."""


class Todo(NamedTuple):
    """A reference that is still to do, and how many runs have failed at it."""

    reference: Reference
    attempts: int = 0


class Committed(NamedTuple):
    """An id that an earlier run committed: `attempts` is 0 for a row, else the attempts of its failure row."""

    id: str
    attempts: int = 0


class Shard(NamedTuple):
    """Work that is committed together.

    Attributes:
        name: shard id, the same after every restart.
        todo: what is still to do, in the order of their container, else by group and id.
        suspect: whether an earlier attempt at it never ended, as after an image that kills its decoder.
    """

    name: str
    todo: tuple[Todo, ...]
    suspect: bool = False


def bucket(key: str, count: int) -> int:
    """The bucket of a key, `blake2b(key) mod count`: the same on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % count


def shard_count(references: int, shard_size: int) -> int:
    """The power of two that is not below `references / shard_size`."""
    shards = 1
    while shards * shard_size < references:
        shards *= 2
    return shards


def shard_name(reference: Reference, count: int, size: int) -> str:
    """The shard of a reference: a slice of its container, else by hash of its group, else of its id.

    Args:
        reference: which.
        count: shards that loose references are hashed into.
        size: images of a container that are cut off together; what has no place in one, and a compressed tar, which is
            inflated from its beginning, is not cut.
    """
    if not reference.container:
        return bucket_name(reference.group or reference.id, count)
    name = hashlib.blake2b(reference.container.encode(), digest_size=8).hexdigest()
    member = reference.member
    return name if member is None or member.kind == INFLATED_TAR else f"{name}-{member.place // size:05d}"


def bucket_name(key: str, count: int) -> str:
    """The shard of everything that is hashed by this key."""
    return f"{bucket(key, count):05d}-of-{count:05d}"


def subtract(references: Iterable[Reference], committed: Iterable[Committed], retry_failed: bool) -> list[Todo]:
    """References without a row; those with a failure row only if they are to be tried again."""
    rows: set[str] = set()
    failed: dict[str, int] = {}
    for item in committed:
        if item.attempts == 0:
            rows.add(item.id)
        else:
            failed[item.id] = max(item.attempts, failed.get(item.id, 0))
    todo = []
    for reference in references:
        if reference.id in rows:
            continue
        attempts = failed.get(reference.id, 0)
        if not attempts or retry_failed:
            todo.append(Todo(reference, attempts))
    return todo


def cut(todo: Iterable[Todo], count: int, size: int) -> list[Shard]:
    """Shards of what is to do, by name; `count` and `size` as `shard_name` takes them."""
    shards: dict[str, list[Todo]] = {}
    for item in todo:
        shards.setdefault(shard_name(item.reference, count, size), []).append(item)
    return [make_shard(name, shards[name]) for name in sorted(shards)]


def make_shard(name: str, todo: Iterable[Todo]) -> Shard:
    """A shard whose order does not depend on that of the corpus."""
    return Shard(name, tuple(sorted(todo, key=_turn)))


def _turn(item: Todo) -> tuple[str, int, str]:
    """By group, then as a container has them, then by id."""
    reference = item.reference
    return reference.group, reference.member.place if reference.member else 0, reference.id


def asked_digest(fingerprint: str, ids: Iterable[str]) -> str:
    """Names what was asked (never what came out), so that a retry or a duplicate bundle replaces its twin whole."""
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=8)
    for item in sorted(ids):
        digest.update(b"\0" + item.encode())
    return digest.hexdigest()
