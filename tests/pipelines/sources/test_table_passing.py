"""A table that is gone through gives what a list of its rows gives, word for word, from any row on."""

import io
import os
import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.container_stream import ContainerStream, Event
from beamscribe.pipelines.images.reading import ReadFile, Reading, read_image
from beamscribe.pipelines.sources import table_child, table_passing
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.container_listing import list_container, listing_of
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.slice_listing import SliceListing, listed_in
from beamscribe.pipelines.sources.table_listing import AskedRows
from beamscribe.pipelines.sources.table_processes import TableProcesses
from beamscribe.pipelines.sources.versions import size_and_version
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.run import ContainerUnreadError
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import PARQUET, WorkItem
from beamscribe.storage.storage import Storage
from tests.faults.test_fuzzed_archives import mutated
from tests.pipelines.fake_job import START, run_of

BOUND = 100
EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "8"))
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SERVE = "from beamscribe.pipelines.sources import table_server; import os, sys; "


def parquet(table: pa.Table, group: int = 3, **how: Any) -> bytes:
    """The file of a table."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=group, **how)
    return file.getvalue()


def held(rows: list[Any], ids: list[Any] | None = None, **how: Any) -> bytes:
    """A table as Hugging Face's `datasets` write them: of a row the bytes, the name of a file, or nothing."""
    values = [{"bytes": one} if isinstance(one, bytes) else None if one is None else {"path": one} for one in rows]
    return parquet(pa.table({"image": pa.array(values, STRUCT), **({"id": ids} if ids else {})}), **how)


def damaged(data: bytes, what: bytes) -> bytes:
    """With a page that is not as it was written."""
    assert what in data
    return data.replace(what, what[:-1] + b"?")


PLAIN = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
ROWS = [b"photo 0", None, "a.jpg", b"photo 3", "htp://x/1", b"", "", b"x" * (BOUND + 1), "a.jpg", b"photo 9"]
ODD = {
    "rows of all kinds": held(ROWS),
    "ids": held(ROWS, [f"id {number}" for number in range(9)] + [None]),
    "a damaged row group": damaged(held([b"photo %d" % number for number in range(8)], **PLAIN), b"photo 4"),
    "damaged ids": damaged(held([b"x"] * 8, [f"number {one}" for one in range(8)], **PLAIN), b"number 4"),
    "a column of bytes": parquet(pa.table({"jpg": [b"a", b"b", None, b"d"], "id": [7, 8, 9, None]})),
    "lists": parquet(pa.table({"image": pa.array([[{"bytes": b"a"}], [{"bytes": b"b"}] * 2, []], pa.list_(STRUCT))})),
    "a dictionary": parquet(pa.table({"image": pa.array([b"a", b"b", b"a"]).dictionary_encode()})),
    "names": parquet(
        pa.table({"url": ["a.jpg", None, "b.jpg", "a.jpg", "zip://a::b"], "id": ["1", "2", "3", "4", "5"]})
    ),
    "no rows": held([]),
    "no statistics": held([b"a", b"b"], write_statistics=False),
}

Outcome = tuple[Any, ...]


def container_of(output: Storage, data: bytes, column: str | None = None, name: str = "t.parquet") -> Container:
    output.write(name, data)
    uri = output.uri(name)
    inside = AskedRows(column, allow_http=False).to_inside()
    return Container(uri, PARQUET, *size_and_version(Where.of(uri, {}, False)), inside)


def outcome(file: Any) -> Outcome:
    return ("data", file.data) if isinstance(file, ReadFile) else (file.stage, file.error_type, file.message)


def read(item: WorkItem) -> Outcome:
    return outcome(read_image(PendingItem(item), Reading({}, max_bytes=BOUND), START))


def stream_of(
    container: Container, output: Storage, before: list[Event], begins: int, first: int = 0, max_bytes: int = BOUND
) -> ContainerStream:
    listing = listing_of(container)
    for event in before:
        listing.next(event.found)
    return ContainerStream(container, Reading({}, max_bytes=max_bytes), run_of(output), begins, listing, first=first)


def events_of(stream: ContainerStream, events: list[Event]) -> list[Event]:
    """Adds all that are still to come."""
    while (event := stream.peek()) is not None:
        stream.take()
        stream.release(event.size)
        events.append(event)
    return events


def passed(container: Container, output: Storage) -> tuple[list[Event], list[WorkItem]]:
    """All rows, and what is told at the end."""
    stream = stream_of(container, output, [], 0)
    return events_of(stream, []), stream.rest


@pytest.fixture(autouse=True)
def own_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    processes = TableProcesses()
    monkeypatch.setattr(table_passing, "PROCESSES", processes)
    yield
    processes.close()


@pytest.mark.slow
@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_rows_and_failures_are_those_of_a_list(data: bytes, memory: Storage) -> None:
    container = container_of(memory, data)
    events, rest = passed(container, memory)
    images = [event.todo.reference for event in events if event.todo]
    if events:
        listed = list(read_manifests([container.uri], Columns(id=""), {}).references)
        files = {item.uri for item in rest if not item.member}
        # A list gives a file that rows name its own URI as id.
        assert sorted(images + [item for item in rest if item.member]) == sorted(
            item for item in listed if item.uri not in files
        )
        assert files == {item.uri for item in listed if not item.member}
    outcomes = {item.id: read(item) for item in images}
    assert {event.todo.reference.id: outcome(event.file) for event in events if event.todo} == outcomes
    found = [item for item in list_container(container, {}) if isinstance(item, WorkItem)]
    assert {item.id: item for item in found} == {item.id: item for item in images + rest}
    for place in range(0, len(events), 2):
        again = events_of(stream_of(container, memory, events[:place], events[place].begins), [])
        for one, event in zip(again, events[place:], strict=True):
            assert one._replace(file=None) == event._replace(file=None)
            assert one.file is None or outcome(one.file) == outcome(event.file)


HELD = st.lists(
    st.none() | st.binary(max_size=6) | st.sampled_from(["a.jpg", "b/c.jpg", "htp://x/1", "http://x.org/1", "["]),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HELD, st.integers(1, 5), st.integers(1, 5))
def test_slices_that_are_replayed_are_a_list(memory: Storage, rows: list[Any], group: int, slice_size: int) -> None:
    container = container_of(memory, held(rows, group=group))
    shards = []
    for shard in container_shards(container._replace(slice_size=slice_size), Reading({}), run_of(memory)):
        shards.append([*shard.passing.finish().todo] if shard.passing else [*shard.todo])
        if shard.passing:
            memory.write(shard.passing.finish().name, shard.passing.finish().listing)
    slices = [
        SliceListing.from_json(memory.read(entry.name), entry.name)
        for entry in memory.files("_beamscribe/slices")
        if container.asked in entry.name
    ]
    known = listed_in(container, sorted(slices, key=lambda one: one.number))
    for entry in memory.files("_beamscribe/slices"):
        memory.delete(entry.name)
    done = [item.reference for shard in shards for item in shard]
    assert known.whole
    assert known.listed == len(rows)
    assert len({item.id for item in done}) == len(done)
    assert set(known.items) == set(done)
    assert list(list_container(container, {})) == list(known.items)
    assert len({item.uri for item in done if item.member and item.member.kind == PARQUET}) == sum(
        isinstance(row, bytes) for row in rows
    )


def test_a_row_that_names_a_file_on_the_web_is_not_asked_for_without_leave(memory: Storage) -> None:
    container = container_of(memory, held([b"a", "http://127.0.0.1:9/a.jpg"]))
    _, [item] = passed(container, memory)
    assert read(item)[1:] == (
        "UnreadableMemberError",
        "row 1: http://127.0.0.1:9/a.jpg is on the web: --allow-http permits reading from there",
    )
    inside = AskedRows(None, allow_http=True).to_inside()
    _, [item] = passed(container._replace(inside=inside), memory)
    assert item == WorkItem(f"{container.uri}::1", "http://127.0.0.1:9/a.jpg")


@pytest.mark.parametrize(
    ("data", "column", "says"),
    [
        (b"no table", None, "it cannot be listed: ArrowInvalid: "),
        (held([b"a"]), "photo", "it cannot be listed: it has no column photo, only image"),
        (held([b"a"] * 9)[:-20], None, "it cannot be listed: ArrowInvalid: "),
    ],
)
def test_what_is_wrong_with_a_table_is_its_failure(data: bytes, column: str | None, says: str, memory: Storage) -> None:
    container = container_of(memory, data, column)
    events, [item] = passed(container, memory)
    assert not events
    assert (item.id, item.uri) == (container.uri, container.uri)
    assert item.member
    assert item.member.detail.startswith(says)
    assert list(list_container(container, {})) == [item]


def dying(monkeypatch: pytest.MonkeyPatch, *rows: int) -> None:
    """Reading these rows ends the process."""
    command = SERVE + (
        "from beamscribe.pipelines.sources.table_passed import _Images; read = _Images.read; "
        f"_Images.read = lambda self, group, row: os.abort() if 3 * group + row in {rows} "
        "else read(self, group, row); table_server.serve(int(sys.argv[1]), int(sys.argv[2]))"
    )
    monkeypatch.setattr(table_child, "COMMAND", command)


@pytest.mark.slow
def test_a_row_that_ends_its_process_is_its_failure_and_the_third_that_of_the_table(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = container_of(memory, held([b"%d" % number for number in range(12)]))
    other = container_of(memory, held([b"other"]), name="other.parquet")
    died = ("read", "UnreadableMemberError", "reading it ended a process of its own (SIGABRT): it is damaged")
    dying(monkeypatch, 2, 7)
    events, rest = passed(container, memory)
    assert [outcome(event.file) for event in events] == [
        died if number in (2, 7) else ("data", b"%d" % number) for number in range(12)
    ]
    assert rest == []
    dying(monkeypatch, 1, 2, 4)
    table_passing.PROCESSES.close()
    events, [item] = passed(container, memory)
    assert len(events) == 5
    assert item.member
    assert item.member.detail == (
        "the table is damaged; 5 rows of it could be listed: reading other rows of it has ended a process 3 times: it "
        "is damaged"
    )
    monkeypatch.undo()
    events, rest = passed(other, memory)
    assert [outcome(event.file) for event in events] == [("data", b"other")]


@pytest.mark.slow
def test_mutated_tables(memory: Storage) -> None:
    """Whatever a table says, its rows are those of a list, as far as there are some, and nothing else happens."""
    chance = random.Random(0)
    whole = held([b"photo %d" % number for number in range(20)], [str(number) for number in range(20)], **PLAIN)
    for _ in range(EXAMPLES):
        container = container_of(memory, mutated(whole, chance))
        events, rest = passed(container, memory)
        items = [event.todo.reference for event in events if event.todo] + rest
        assert len({item.id for item in items}) == len(items)
        listed = [item for item in list_container(container, {}) if isinstance(item, WorkItem)]
        assert [item.id for item in items] == [item.id for item in listed]


def test_one_that_is_replaced_meanwhile_is_noticed(memory: Storage) -> None:
    container = container_of(memory, held([b"a", b"b"]))
    container_of(memory, held([b"other", None, b"rows"]))
    with pytest.raises(ContainerUnreadError, match="it was replaced while the job ran"):
        events_of(stream_of(container, memory, [], 0), [])


def test_storage_that_fails_is_no_failure_of_a_row(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(memory, held([os.urandom(2**18) for _ in range(12)]))
    cat_file = MemoryFileSystem.cat_file

    def refusing(self: Any, path: str, start: int = 0, end: int = 0, **options: Any) -> bytes:
        if 2**21 < start < 2**21 + 2**19:
            raise PermissionError("not now")
        return cat_file(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refusing)
    stream = stream_of(container, memory, [], 0)
    events: list[Event] = []
    with pytest.raises(ContainerUnreadError, match="cannot be read to its end: not now"):
        events_of(stream, events)
    assert (stream.damage, stream.rest) == ("", [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of bytes of each read."""
    found: list[int] = []
    cat_file = MemoryFileSystem.cat_file

    def counting(self: Any, path: str, *part: Any, **options: Any) -> bytes:
        data = cat_file(self, path, *part, **options)
        found.append(len(data))
        return data

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("with_nulls", [False, True])
def test_bytes_are_read_once_and_in_large_pieces(with_nulls: bool, memory: Storage, asked: list[int]) -> None:
    rows: list[Any] = [os.urandom(20_000) for _ in range(400)]
    rows[200] = None if with_nulls else rows[200]
    data = held(rows, [str(number) for number in range(400)], group=100)
    container = container_of(memory, data)
    events, _ = passed(container, memory)
    assert len(events) == 400
    assert sum(asked) <= 1.05 * len(data)
    assert len(asked) <= len(data) / 2**19 + 6
    asked.clear()
    events = events_of(stream_of(container, memory, events[:350], 350), [])
    assert len(events) == 50
    assert sum(asked) <= 0.3 * len(data)


@pytest.mark.slow
@pytest.mark.parametrize("begins", [300, 1500])
def test_one_row_group_is_begun_again_in_the_middle_of_a_page(begins: int, memory: Storage, asked: list[int]) -> None:
    """Arrow has written a dictionary of 1,024 images, which is read as a page, and pages of as many."""
    rows: list[Any] = [os.urandom(20_000) for _ in range(2000)]
    data = held(rows, group=2000)
    container = container_of(memory, data)
    stream, events = stream_of(container, memory, [], 0, max_bytes=2**20), []
    while len(events) < begins and (event := stream.peek()):
        stream.take()
        stream.release(event.size)
        events.append(event)
    stream.restarts.store(1, begins)
    stream.close()
    before = sum(asked)
    assert before <= begins / 2000 * len(data) + 2**24, "what is behind is not read"
    asked.clear()
    rest = events_of(stream_of(container, memory, events, begins, 1, 2**20), [])
    assert sum(asked) <= (1 - begins / 2000) * len(data) + 2**21
    assert [event.file.data for event in rest if isinstance(event.file, ReadFile)] == rows[begins:]


@pytest.mark.slow
def test_behind_a_row_that_ends_its_process_reading_goes_on(
    memory: Storage, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not begin at the row group."""
    rows: list[Any] = [os.urandom(20_000) for _ in range(1000)]
    container = container_of(memory, held(rows, group=1000))
    dying(monkeypatch, 400, 800)
    events = events_of(stream_of(container, memory, [], 0, max_bytes=2**20), [])
    failed = [number for number, event in enumerate(events) if not isinstance(event.file, ReadFile)]
    assert failed == [400, 800]
    assert [event.file.data for event in events if isinstance(event.file, ReadFile)] == [
        row for number, row in enumerate(rows) if number not in failed
    ]
    assert sum(asked) < 1.3 * sum(map(len, rows))


def test_processes_are_used_again(memory: Storage) -> None:
    started: list[Any] = []
    for number in range(3):
        passed(container_of(memory, held([b"a"]), name=f"{number}.parquet"), memory)
        [process] = table_passing.PROCESSES._idle
        started.append(process.pid)
    assert len(set(started)) == 1
    assert started[0]
