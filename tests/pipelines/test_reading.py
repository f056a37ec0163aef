import hashlib
import http.server
import io
import itertools
import threading
import time

import numpy as np
import pytest
from PIL import Image

from model.backbone.spec import BackboneSpec
from pipelines.corpus import Reference
from pipelines.reading import THREADS, LoadedImage, batches, failure, load_image, load_images
from pipelines.shards import Todo
from schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START

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
    return list(load_images(items, SPEC, {}, START, ahead))


def test_loads_an_image_with_its_digest(tmp_path):
    data = png((10, 20, 30))
    (tmp_path / "a.png").write_bytes(data)
    asked = todo(f"file://{tmp_path}/a.png", id="7")
    loaded = load_image(asked, SPEC, {}, START)
    assert isinstance(loaded, LoadedImage)
    assert loaded.todo is asked
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert (loaded.image.width, loaded.image.height) == (12, 8)
    assert loaded.image.pixels.shape == (4, 6, 3)
    assert np.array_equal(np.unique(loaded.image.pixels.reshape(-1, 3), axis=0), [[10, 20, 30]])


def test_loads_from_remote_storage(memory):
    memory.write("a.png", png((1, 2, 3)))
    assert isinstance(load_image(todo(memory.uri("a.png")), SPEC, {}, START), LoadedImage)


@pytest.mark.parametrize("ahead", [1, 2, 7, 20, 64])
def test_keeps_the_order(photos, ahead):
    loaded = load([todo(path) for path in photos], ahead)
    assert [item.image.pixels[0, 0, 0] for item in loaded] == list(range(20))
    assert [item.todo.reference.uri for item in loaded] == photos


def test_slow_images_stay_in_their_place(photos, monkeypatch):
    from pipelines import reading

    read_uri = reading.read_uri

    def slow(uri, options):
        time.sleep(0.05 if uri in photos[::5] else 0)
        return read_uri(uri, options)

    monkeypatch.setattr(reading, "read_uri", slow)
    assert [item.todo.reference.uri for item in load([todo(path) for path in photos])] == photos


def test_reads_ahead_in_threads_but_not_further_than_told(photos, monkeypatch):
    from pipelines import reading

    read_uri, started, at_work, most = reading.read_uri, [], set(), []
    lock = threading.Lock()

    def noting(uri, options):
        with lock:
            started.append(uri)
            at_work.add(uri)
            most.append(len(at_work))
        time.sleep(0.01)
        with lock:
            at_work.discard(uri)
        return read_uri(uri, options)

    monkeypatch.setattr(reading, "read_uri", noting)
    images = load_images([todo(path) for path in photos], SPEC, {}, START, ahead=6)
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
    first = list(itertools.islice(load_images(endless, SPEC, {}, START, ahead=4), 5))
    assert [item.todo.reference.uri for item in first] == photos[:5]


def test_nothing_to_load():
    assert load([]) == []


WHOLE = png((1, 2, 3), size=(200, 200))
BROKEN = {
    "empty": (b"", "decode", "EmptyFile"),
    "text": (b"this is no image", "decode", "NotAnImage"),
    "html": (b"<html>404 Not Found</html>", "decode", "NotAnImage"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "decode", "Truncated"),
}


@pytest.mark.parametrize(("data", "stage", "error_type"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_a_failure_row(tmp_path, data, stage, error_type):
    (tmp_path / "a.png").write_bytes(data)
    uri = f"file://{tmp_path}/a.png"
    row = load_image(todo(uri, attempts=2, id="7"), SPEC, {}, START)
    assert isinstance(row, FailureRow)
    assert row[:4] == (uri, "7", stage, error_type)
    assert (row.attempts, row.run_started) == (3, START)
    assert row.message


@pytest.mark.parametrize(
    ("uri", "error_type"),
    [
        ("file:///no/such/photo.jpg", "FileNotFoundError"),
        ("file:///", "IsADirectoryError"),
        ("nosuch://bucket/photo.jpg", "StorageError"),
        ("memory://nowhere/photo.jpg", "FileNotFoundError"),
        ("/name/with\0nul.jpg", "ValueError"),
        ("file:///caf\\udce9.jpg", "FileNotFoundError"),
    ],
)
def test_what_cannot_be_read_is_a_failure_row(uri, error_type):
    row = load_image(todo(uri), SPEC, {}, START)
    assert isinstance(row, FailureRow)
    assert row[:4] == (uri, uri, "read", error_type)
    assert (row.attempts, row.run_started) == (1, START)
    assert row.message


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers /500.png with 500, and with the image where there is one."""

    def do_HEAD(self):  # noqa: N802 - the name is http.server's
        self.do_GET()

    def do_GET(self):  # noqa: N802
        status = int(self.path.strip("/").split(".")[0])
        body = png((1, 2, 3)) if status == 200 else b"sorry"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_image_behind_http(server):
    assert isinstance(load_image(todo(f"{server}/200.png"), SPEC, {}, START), LoadedImage)
    row = load_image(todo(f"{server}/404.png"), SPEC, {}, START)
    assert (row.stage, row.error_type) == ("read", "FileNotFoundError")


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_an_image_that_a_server_refuses_is_a_failure_row(server, status):
    row = load_image(todo(f"{server}/{status}.png"), SPEC, {}, START)
    assert isinstance(row, FailureRow)
    assert row.stage == "read"


@pytest.mark.parametrize("uri", ["http://", "http://[::1/a.jpg", "http://127.0.0.1:9/nobody-listens.jpg"])
def test_an_address_without_an_answer_is_a_failure_row(uri):
    assert isinstance(load_image(todo(uri), SPEC, {}, START), FailureRow)


def test_failures_keep_their_place_among_images(photos):
    uris = [photos[0], "/missing/1.png", photos[1], "/missing/2.png"]
    loaded = load([todo(uri) for uri in uris], ahead=2)
    assert [type(item) for item in loaded] == [LoadedImage, FailureRow, LoadedImage, FailureRow]


def test_failure_counts_one_attempt_more():
    row = failure(todo("u", attempts=4, id="7"), "speak", "BadAudio", "silent", START)
    assert row == FailureRow("u", "7", "speak", "BadAudio", "silent", 5, START)


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
