import gc
import io
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.pipelines.images.loading import load_images, load_shard
from beamscribe.pipelines.images.read_ahead import FILES_PER_READ, ReadAhead, read_width
from beamscribe.pipelines.images.reading import LoadedImage, ReadFile, Reading, decode_read
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import INFLATED_TAR, Member, WorkItem
from beamscribe.schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START, run_of

SPEC = BackboneSpec("tiny", (4, 6), (1, 1, 1))


def png(colour, size=(12, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def todo(uri, attempts=0, id=""):
    return PendingItem(WorkItem(id or uri, uri), attempts)


@pytest.fixture
def photos(tmp_path):
    """20 images of one colour each, (0, 0, 0) to (19, 0, 0)."""
    paths = [tmp_path / f"{n:02}.png" for n in range(20)]
    for n, path in enumerate(paths):
        path.write_bytes(png((n, 0, 0)))
    return [str(path) for path in paths]


def load(items, ahead=8):
    return list(load_images(items, SPEC, Reading({}), START, ahead))


@pytest.mark.parametrize("ahead", [1, 2, 7, 20, 64])
def test_keeps_the_order(photos, ahead):
    loaded = load([todo(path) for path in photos], ahead)
    assert [item.image.pixels[0, 0, 0] for item in loaded] == list(range(20))
    assert [item.todo.reference.uri for item in loaded] == photos


def test_slow_images_stay_in_their_place(photos, monkeypatch):
    from beamscribe.pipelines.images import reading

    read = reading.read_reference

    def slow(reference, *how):
        time.sleep(0.05 if reference.uri in photos[::5] else 0)
        return read(reference, *how)

    monkeypatch.setattr(reading, "read_reference", slow)
    assert [item.todo.reference.uri for item in load([todo(path) for path in photos])] == photos


def test_reads_ahead_in_threads_but_not_further_than_told(photos, monkeypatch):
    from beamscribe.pipelines.images import reading

    read, started, at_work, most = reading.read_reference, [], set(), []
    lock = threading.Lock()

    def noting(reference, *how):
        uri = reference.uri
        with lock:
            started.append(uri)
            at_work.add(uri)
            most.append(len(at_work))
        time.sleep(0.01)
        with lock:
            at_work.discard(uri)
        return read(reference, *how)

    monkeypatch.setattr(reading, "read_reference", noting)
    images = load_images([todo(path) for path in photos], SPEC, Reading({}), START, ahead=2, width=2)
    next(images)
    time.sleep(0.3)
    begun = 2 + FILES_PER_READ * 2
    assert sorted(started) == photos[:begun]
    assert 1 < max(most) <= 2
    next(images)
    time.sleep(0.2)
    assert sorted(started) == photos[: begun + 1]
    images.close()
    assert len(started) == begun + 1


def test_reading_begins_before_the_first_image_is_asked_for(photos, monkeypatch):
    from beamscribe.pipelines.images import reading

    read, started = reading.read_reference, threading.Event()
    monkeypatch.setattr(reading, "read_reference", lambda *asked: started.set() or read(*asked))
    images = load_images([todo(path) for path in photos], SPEC, Reading({}), START, ahead=6)
    assert started.wait(10)
    assert len(list(images)) == 20


def test_bytes_ahead_are_bounded_and_released():
    size, begun = 2**20, []

    def read(item):
        begun.append(item)
        return [ReadFile(item, bytes(size), 0.0)]

    with ThreadPoolExecutor(8) as pool:
        files = ReadAhead(read, range(100), pool, most=50, most_bytes=4 * size)
        first = next(files)
        time.sleep(0.2)
        # Taken and not yet released, it counts as those that wait do.
        assert len(begun) <= 5
        held = [first]
        held += [next(files) for _ in range(20)]
        assert len(begun) <= 26, "one at a time when there is no room"
        for file in held:
            files.release(file)
        assert [file.todo for file in files] == list(range(21, 100))
    assert begun == sorted(begun)


def test_what_waits_is_not_read_after_the_end():
    reading, go = threading.Event(), threading.Event()

    def read(item):
        reading.set()
        go.wait(10)
        return [ReadFile(item, b"", 0.0)]

    with ThreadPoolExecutor(1) as pool:
        files = ReadAhead(read, iter(range(10)), pool, most=5)
        assert reading.wait(10)
        files.close()
        go.set()
    assert files._under_way == 4, "the first was being read"


@pytest.mark.parametrize(
    ("uris", "asked", "width"),
    [
        (["/a.png", "/b.png"], None, 4),
        (["s3://bucket/a.png"], None, 128),
        (["/a.png", "https://host/b.png"], None, 64),
        (["memory://a.png"], None, 4),
        (["unknown://a.png"], None, 4),
        (["s3://bucket/a.png"], 7, 7),
        ([], None, 4),
    ],
)
def test_width_of_reading(uris, asked, width):
    assert read_width([WorkItem(uri, uri) for uri in uris], Reading({"s3": {"anon": True}}, io_threads=asked)) == width


def test_containers_that_are_gone_through_in_order_are_read_by_few():
    item = WorkItem("a", "s3://b/a.tgz::1", container="s3://b/a.tgz", member=Member(INFLATED_TAR, 0))
    assert read_width([item], Reading({}, io_threads=64)) == 4


def test_takes_what_is_asked_for_lazily(photos):
    endless = (todo(path) for path in itertools.cycle(photos))
    first = list(itertools.islice(load_images(endless, SPEC, Reading({}), START, ahead=4), 5))
    assert [item.todo.reference.uri for item in first] == photos[:5]


def test_nothing_to_load():
    assert load([]) == []


def test_failures_keep_their_place_among_images(photos):
    uris = [photos[0], "/missing/1.png", photos[1], "/missing/2.png"]
    loaded = load([todo(uri) for uri in uris], ahead=2)
    assert [type(item) for item in loaded] == [LoadedImage, FailureRow, LoadedImage, FailureRow]


@pytest.mark.slow
@pytest.mark.parametrize("suspect", [False, True], ids=["in threads", "apart"])
def test_a_shard(photos, memory, suspect):
    shard = Shard("s", tuple(todo(uri) for uri in [*photos[:5], "/missing.png"]), suspect)
    found = list(load_shard(shard, SPEC, Reading({}), run_of(memory), batch_size=2))
    assert [item.image.pixels[0, 0, 0] for item in found[:5]] == [0, 1, 2, 3, 4]
    assert all(item.read_msec > 0 and item.decode_msec > 0 for item in found[:5])
    assert [row.error_type for row in found[5:]] == ["FileNotFoundError"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:8] + data], ids=["cut", "wrong"]
)
def test_a_file_that_is_not_decoded_is_not_kept(damage):
    """An error is in the frames that it leads to, as is the file, until Python looks for cycles."""
    data = damage(png((1, 2, 3), (120, 80)))
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(data)
        assert isinstance(decode_read(ReadFile(todo("x"), data, 0.0), SPEC, Reading({}), START), FailureRow)
        assert sys.getrefcount(data) == before
    finally:
        gc.enable()
