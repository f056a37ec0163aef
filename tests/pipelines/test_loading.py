import io
import itertools
import threading
import time

import pytest
from PIL import Image

from model.backbone.spec import BackboneSpec
from pipelines.corpus import Reference
from pipelines.loading import THREADS, batches, load_batches, load_images
from pipelines.reading import LoadedImage, Reading, failure
from pipelines.shards import Shard, Todo
from schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START, run_of

SPEC = BackboneSpec("tiny", (4, 6), (1, 1, 1))


def png(colour, size=(12, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def todo(uri, attempts=0, id=""):
    return Todo(Reference(id or uri, uri), attempts)


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
    from pipelines import reading

    read_uri = reading.read_uri

    def slow(uri, *how):
        time.sleep(0.05 if uri in photos[::5] else 0)
        return read_uri(uri, *how)

    monkeypatch.setattr(reading, "read_uri", slow)
    assert [item.todo.reference.uri for item in load([todo(path) for path in photos])] == photos


def test_reads_ahead_in_threads_but_not_further_than_told(photos, monkeypatch):
    from pipelines import reading

    read_uri, started, at_work, most = reading.read_uri, [], set(), []
    lock = threading.Lock()

    def noting(uri, *how):
        with lock:
            started.append(uri)
            at_work.add(uri)
            most.append(len(at_work))
        time.sleep(0.01)
        with lock:
            at_work.discard(uri)
        return read_uri(uri, *how)

    monkeypatch.setattr(reading, "read_uri", noting)
    images = load_images([todo(path) for path in photos], SPEC, Reading({}), START, ahead=6)
    next(images)
    time.sleep(0.2)
    assert sorted(started) == photos[:6]
    assert 1 < max(most) <= THREADS
    next(images)
    time.sleep(0.1)
    assert sorted(started) == photos[:7]
    images.close()
    assert len(started) == 7


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


IMAGES = [LoadedImage(todo(str(n)), "", None) for n in range(5)]
FAILED = [failure(todo(str(n)), "read", "E", "m", START) for n in range(3)]


@pytest.mark.parametrize(
    ("loaded", "size", "expected"),
    [
        ([], 2, []),
        (IMAGES[:2], 2, [(IMAGES[:2], [])]),
        (IMAGES[:1], 2, [(IMAGES[:1], [])]),
        (IMAGES, 2, [(IMAGES[:2], []), (IMAGES[2:4], []), (IMAGES[4:], [])]),
        (FAILED, 2, [([], FAILED)]),
        (
            [FAILED[0], IMAGES[0], FAILED[1], IMAGES[1], FAILED[2]],
            2,
            [(IMAGES[:2], FAILED[:2]), ([], FAILED[2:])],
        ),
        ([IMAGES[0], IMAGES[1]], 1, [(IMAGES[:1], []), (IMAGES[1:2], [])]),
    ],
)
def test_batches(loaded, size, expected):
    assert list(batches(iter(loaded), size)) == expected


@pytest.mark.parametrize("suspect", [False, True], ids=["in threads", "apart"])
def test_a_shard_in_batches(photos, memory, suspect):
    shard = Shard("s", tuple(todo(uri) for uri in [*photos[:5], "/missing.png"]), suspect)
    found = list(load_batches(shard, SPEC, Reading({}), run_of(memory), batch_size=2))
    assert [[item.image.pixels[0, 0, 0] for item in images] for images, _ in found] == [[0, 1], [2, 3], [4]]
    assert [row.error_type for _, failures in found for row in failures] == ["FileNotFoundError"]
