"""A zip that is gone through gives what a list of its members gives, word for word, from any entry on."""

import io
import itertools
import random
import struct
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.container_stream import ContainerStream, Event
from beamscribe.pipelines.images.reading import ReadFile, Reading, read_image
from beamscribe.pipelines.sources import zip_passing
from beamscribe.pipelines.sources.archive_listing import ArchiveListing
from beamscribe.pipelines.sources.archives import list_archive
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.sources.zip_unpacking import BZIP2, DEFLATED, LZMA, STORED, ZSTD
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.run import ContainerUnreadError
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import ZIP, WorkItem
from beamscribe.storage.storage import Storage
from tests.faults.test_fuzzed_archives import EXAMPLES, make_zip, mutated
from tests.pipelines.fake_job import START, run_of
from tests.pipelines.sources.test_zip_directory import DAMAGE, LIES, made, patched

BOUND = 40_000


def odd_zip(method: int = DEFLATED) -> bytes:
    """A zip of everything that a listing tells apart."""
    chance = random.Random(0)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def link(name: str, target: str) -> None:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)

        link("early.jpg", "deep/c.jpg")
        archive.writestr("deep/", b"")
        for name in "abcdefgh":
            archive.writestr(f"deep/{name}.jpg", chance.randbytes(900 + ord(name)))
            archive.writestr(f"{name}.txt", b"no image " * 300)
        archive.writestr("deep/a.jpg", b"another of this name")
        archive.writestr("__MACOSX/deep/._a.jpg", b"metadata")
        archive.writestr("empty.jpg", b"")
        archive.writestr("large.jpg", bytes(BOUND + 1))
        archive.writestr("x" * 200 + "é.jpg", b"a long name")
        link("out.jpg", "/etc/passwd")
        link("loop.jpg", "loop.jpg")
        link("long.jpg", "x" * 5000)
        link("a link", "deep")
        link("through.jpg", "a link/h.jpg")
        wide = zipfile.ZipInfo("wide.jpg")
        wide.extra = b"\xfe\xca" + (8000).to_bytes(2, "little") + bytes(8000)
        archive.writestr(wide, b"a long header")
        with archive.open("zip64.jpg", "w", force_zip64=True) as member:
            member.write(b"with a wide size")
        archive.writestr("last.jpg", chance.randbytes(30_000))
    return file.getvalue()


def zstd_zip() -> bytes:
    """As zip tools of today write it; Python's does not."""
    content = b"photograph " * 500
    packed = pa.compress(content, "zstd", asbytes=True)
    stored = made({"a.jpg": packed, "b.jpg": b"stored"}, STORED)
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        stored = patched(stored, at, struct.pack("<H", ZSTD), signature=signature)
    crc = zipfile.crc32(content)  # type: ignore[attr-defined]
    return patched(patched(stored, 24, struct.pack("<L", len(content))), 16, struct.pack("<L", crc))


def shuffled(data: bytes) -> bytes:
    """With a directory in another order than the bytes."""
    end = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack_from("<2L", data, end + 12)
    entries, at = [], start
    while at < start + size:
        lengths = struct.unpack_from("<3H", data, at + 28)
        entries.append(data[at : at + 46 + sum(lengths)])
        at += len(entries[-1])
    random.Random(1).shuffle(entries)
    return data[:start] + b"".join(entries) + data[end:]


WHOLE = odd_zip()
ODD = {
    **{f"method {method}": odd_zip(method) for method in (STORED, DEFLATED, BZIP2, LZMA)},
    "zstd": zstd_zip(),
    "behind something else": b"#!/bin/sh of a self-extracting archive" + WHOLE,
    "in another order": shuffled(WHOLE),
    "encrypted": patched(WHOLE, 8, b"\x01", 4),
    "a link that is damaged": patched(WHOLE, 16, bytes(4), 0),
    "cut off": WHOLE[:-30],
    "beginning cut off": WHOLE[5000:],
    "no entry in the middle": patched(WHOLE, 0, b"XX", 9),
    "comment": WHOLE[:-2] + struct.pack("<H", 60_000) + b"PK" * 30_000,
    "nothing": b"",
    **{f"a member {name}": data for name, (data, _) in LIES.items()},
    **{f"directory: {name}": data for name, (data, _) in DAMAGE.items()},
}

Outcome = tuple[Any, ...]


def container_of(output: Storage, data: bytes, inside: str = "") -> Container:
    output.write("photos.zip", data)
    uri = output.uri("photos.zip")
    return Container(uri, ZIP, *size_and_version(Where.of(uri, {}, False)), inside)


def outcome(file: Any) -> Outcome:
    return ("data", file.data) if isinstance(file, ReadFile) else (file.stage, file.error_type, file.message)


def listed(container: Container) -> tuple[list[WorkItem], Counter[str], list[Outcome]]:
    """Items, what is skipped, and what reading each item gives."""
    found = list(list_archive(container.uri, ZIP, container.inside, {}))
    items = [one for one in found if isinstance(one, WorkItem)]
    skipped = Counter(one.reason for one in found if isinstance(one, Skipped))
    return items, skipped, [outcome(read_image(PendingItem(one), Reading({}, max_bytes=BOUND), START)) for one in items]


def events_of(stream: ContainerStream, events: list[Event]) -> list[Event]:
    """Adds all that are still to come."""
    while (event := stream.peek()) is not None:
        stream.take()
        stream.release(event.size)
        events.append(event)
    return events


def passed(container: Container, output: Storage, before: list[Event], begins: int) -> tuple[list[Event], Any]:
    """Members from an entry on, behind those that are known, and what is told of the whole."""
    listing = ArchiveListing(container.uri, container.inside, container.version)
    for event in before:
        listing.next(event.found)
    stream = ContainerStream(container, Reading({}, max_bytes=BOUND), run_of(output), begins, listing)
    events = events_of(stream, [])
    again = ArchiveListing(container.uri, container.inside, container.version)
    found = [again.next(event.found) for event in (*before, *events)] + list(again.links())
    skipped = Counter(one.reason for one in found if isinstance(one, Skipped))
    return events, (skipped, stream.rest)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_passing, "PIECE_BYTES", 3000)
    monkeypatch.setattr(zip_passing, "ENTRIES_TOGETHER", 5)


def compare(container: Container, output: Storage) -> list[Event]:
    items, skipped, outcomes = listed(container)
    events, (passed_skipped, rest) = passed(container, output, [], 0)
    images = [event for event in events if event.todo is not None]
    assert [event.todo.reference for event in images if event.todo] + rest == items
    assert [outcome(event.file) for event in images] == outcomes[: len(images)]
    assert passed_skipped == skipped
    return events


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_members_and_failures_are_those_of_a_list(data: bytes, memory: Storage) -> None:
    container = container_of(memory, data)
    events = compare(container, memory)
    for place in range(0, len(events), 4):
        again, _ = passed(container, memory, events[:place], events[place].begins)
        for one, event in zip(again, events[place:], strict=True):
            assert one._replace(file=None) == event._replace(file=None)
            assert one.file is None or outcome(one.file) == outcome(event.file)


DEEP = [*(f"deep/{letter}.jpg" for letter in "abcdefgh"), "deep/a.jpg#2"]


@pytest.mark.parametrize(
    ("inside", "names"),
    [
        ("deep", DEEP),
        ("deep/*.jpg", DEEP),
        ("*.txt", [f"{letter}.txt" for letter in "abcdefgh"]),
        ("large.jpg", ["large.jpg"]),
        ("nothing", []),
    ],
)
def test_what_is_asked_for_inside(inside: str, names: list[str], memory: Storage) -> None:
    events = compare(container_of(memory, WHOLE, inside), memory)
    assert [event.todo.reference.id.rpartition("::")[2] for event in events if event.todo] == names


@pytest.mark.slow
def test_mutated_zips(memory: Storage) -> None:
    chance = random.Random("mutated zips")
    members = [(f"{number}.jpg", "file", chance.randbytes(700 * number), "") for number in range(8)]
    for _ in range(EXAMPLES):
        compare(container_of(memory, mutated(make_zip(members, chance.choice((0, 8, 12, 14))), chance)), memory)


def test_bytes_are_read_once_and_not_before_they_are_wanted(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_passing, "PIECE_BYTES", 100_000)
    monkeypatch.setattr(zip_passing, "ENTRIES_TOGETHER", 256)
    chance = random.Random(0)
    names = [f"{number:03}.{'txt' if number % 2 else 'jpg'}" for number in range(200)]
    data = made({name: chance.randbytes(10_000) for name in names}, STORED)
    container = container_of(memory, data)
    asked: list[tuple[int, int]] = []
    cat_file = MemoryFileSystem.cat_file

    def counting(self: Any, path: str, start: int = 0, end: int = 0, **options: Any) -> bytes:
        asked.append((start, end))
        return cat_file(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    events, _ = passed(container, memory, [], 0)
    assert sum(event.todo is not None for event in events) == 100
    assert sum(end - start for start, end in asked) <= 1.05 * len(data)
    assert len(asked) <= 12
    asked.clear()
    again, _ = passed(container, memory, events[:190], 190)
    assert len(again) == 10
    assert sum(end - start for start, end in asked) <= 2**14 + 150_000


def test_one_that_is_replaced_meanwhile_is_noticed(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamscribe.pipelines.sources.versions.VALID_SECONDS", 0.0)
    container = container_of(memory, WHOLE)
    container_of(memory, odd_zip(STORED))
    stream = ContainerStream(
        container, Reading({}), run_of(memory), 0, ArchiveListing(container.uri, "", container.version)
    )
    with pytest.raises(ContainerUnreadError, match="it was replaced while the job ran"):
        events_of(stream, [])


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_process_without_threads_is_no_damage_of_the_archive(
    memory: Storage, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    container = container_of(memory, WHOLE)
    submit, numbers = ThreadPoolExecutor.submit, itertools.count(1)

    def refusing(*args: Any, **options: Any) -> Any:
        if next(numbers) > calls:
            raise RuntimeError("can't start new thread")
        return submit(*args, **options)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refusing)
    stream = ContainerStream(
        container, Reading({}), run_of(memory), 0, ArchiveListing(container.uri, "", container.version)
    )
    with pytest.raises(ContainerUnreadError, match="can't start new thread"):
        events_of(stream, [])
    assert (stream.damage, stream.rest) == ("", [])


def test_a_slice_ends_where_it_is_full(memory: Storage) -> None:
    container = container_of(memory, made({f"2026.11.{number:02}.jpg": b"x" for number in range(25)}, STORED))
    shards = list(container_shards(container._replace(slice_size=10), Reading({}), run_of(memory)))
    assert [len(shard.passing.listed()) if shard.passing else 0 for shard in shards] == [10, 10, 5]


def test_storage_that_fails_is_no_failure_of_an_image(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(memory, WHOLE)
    cat_file = MemoryFileSystem.cat_file

    def refusing(self: Any, path: str, start: int = 0, end: int = 0, **options: Any) -> bytes:
        if 9000 < start < 30_000:
            raise PermissionError("not now")
        return cat_file(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refusing)
    stream = ContainerStream(
        container, Reading({}), run_of(memory), 0, ArchiveListing(container.uri, "", container.version)
    )
    events: list[Event] = []
    with pytest.raises(ContainerUnreadError, match="cannot be read to its end: not now"):
        events_of(stream, events)
    assert len(events) > 5, "what comes before is told"
    assert all(isinstance(event.file, ReadFile) for event in events if event.todo)
    assert stream.rest == []
