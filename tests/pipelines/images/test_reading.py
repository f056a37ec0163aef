import hashlib
import http.server
import io
import os
import socket
import threading

import numpy as np
import pytest
from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.pipelines.images.reading import LoadedImage, Reading, load_image
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START

SPEC = BackboneSpec("tiny", (4, 6), (1, 1, 1))
INSIDE = Reading({}, allow_private=True)


def png(colour, size=(12, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def todo(uri, attempts=0, id=""):
    return PendingItem(WorkItem(id or uri, uri), attempts)


def test_loads_an_image_with_its_digest(tmp_path):
    data = png((10, 20, 30))
    (tmp_path / "a.png").write_bytes(data)
    asked = todo(f"file://{tmp_path}/a.png", id="7")
    loaded = load_image(asked, SPEC, Reading({}), START)
    assert isinstance(loaded, LoadedImage)
    assert loaded.todo is asked
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert (loaded.image.width, loaded.image.height) == (12, 8)
    assert loaded.image.pixels.shape == (4, 6, 3)
    assert np.array_equal(np.unique(loaded.image.pixels.reshape(-1, 3), axis=0), [[10, 20, 30]])


def test_loads_from_remote_storage(memory):
    memory.write("a.png", png((1, 2, 3)))
    assert isinstance(load_image(todo(memory.uri("a.png")), SPEC, Reading({}), START), LoadedImage)


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
    row = load_image(todo(uri, attempts=2, id="7"), SPEC, Reading({}), START)
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
    row = load_image(todo(uri), SPEC, Reading({}), START)
    assert isinstance(row, FailureRow)
    assert row[:4] == (uri, uri, "read", error_type)
    assert (row.attempts, row.run_started) == (1, START)
    assert row.message


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    data = png((1, 2, 3))
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    assert isinstance(load_image(todo(f"file://{tmp_path}/link.png"), SPEC, Reading({}), START), LoadedImage)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**40)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.png"))
        for name, error_type in {
            "pipe.png": "OSError",
            "zero.png": "OSError",
            "socket.png": "OSError",
            "huge.png": "FileTooLargeError",
        }.items():
            row = load_image(todo(f"file://{tmp_path}/{name}"), SPEC, Reading({}, max_bytes=10**6), START)
            assert isinstance(row, FailureRow)
            assert row[2:4] == ("read", error_type)
    for bound, kind in ((len(data), LoadedImage), (len(data) - 1, FailureRow)):
        found = load_image(todo(f"file://{tmp_path}/a.png"), SPEC, Reading({}, max_bytes=bound), START)
        assert isinstance(found, kind)


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
    assert isinstance(load_image(todo(f"{server}/200.png"), SPEC, INSIDE, START), LoadedImage)
    row = load_image(todo(f"{server}/404.png"), SPEC, INSIDE, START)
    assert (row.stage, row.error_type) == ("read", "FileNotFoundError")


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_an_image_that_a_server_refuses_is_a_failure_row(server, status):
    row = load_image(todo(f"{server}/{status}.png"), SPEC, INSIDE, START)
    assert isinstance(row, FailureRow)
    assert row.stage == "read"


@pytest.mark.parametrize("uri", ["http://", "http://[::1/a.jpg", "http://127.0.0.1:9/nobody-listens.jpg"])
def test_an_address_without_an_answer_is_a_failure_row(uri):
    assert isinstance(load_image(todo(uri), SPEC, Reading({}), START), FailureRow)


def test_failure_counts_one_attempt_more():
    row = failure(todo("u", attempts=4, id="7"), "speak", "BadAudio", "silent", START)
    assert row == FailureRow("u", "7", "speak", "BadAudio", "silent", 5, START)


@pytest.mark.parametrize(
    "error", [RecursionError("too deep"), MemoryError(), OverflowError("x" * 10_000), KeyError("\udce9")]
)
def test_whatever_one_image_raises_is_its_failure_row(tmp_path, monkeypatch, error):
    from beamscribe.pipelines.images import reading

    def fails(*how):
        raise error

    (tmp_path / "a.png").write_bytes(WHOLE)
    monkeypatch.setattr(reading, "decode_image", fails)
    row = load_image(todo(f"file://{tmp_path}/a.png"), SPEC, Reading({}), START)
    assert (row.stage, row.error_type) == ("decode", type(error).__name__)
    monkeypatch.setattr(reading, "read_reference", fails)
    row = load_image(todo(f"file://{tmp_path}/a.png"), SPEC, Reading({}), START)
    assert (row.stage, row.error_type) == ("read", type(error).__name__)
    assert len(row.message.encode()) <= 2000
