import hashlib
import http.server
import io
import threading
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.commits.stored_corpus import write_corpus
from beamscribe.pipelines.images.reading import LoadedImage, Reading, load_image
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.sources.queries import strip_queries
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import TAR, Member, WorkItem
from beamscribe.schemas.corpus_item import FOLDER as CORPUS
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import START
from tests.pipelines.images.test_reading import SPEC, png

PHOTOGRAPH = png((10, 20, 30))


def signed(path: str) -> str:
    """As CDNs and object stores sign an address: every letter of it counts."""
    return f"{path}{'&' if '?' in path else '?'}sig={hashlib.sha256(path.encode()).hexdigest()[:16]}"


class _Signing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        path = self.path[: -len("?sig=") - 16]
        whole = signed(path) == self.path and "/gone" not in path
        self.send_response(200 if whole else 403)
        self.send_header("Content-Length", str(len(PHOTOGRAPH)))
        self.end_headers()
        self.wfile.write(PHOTOGRAPH)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Signing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "path",
    [
        "/plain.jpg",
        "/a%20b.jpg",
        "/resize?url=https%3A%2F%2Fexample.org%2Fa.jpg&w=640",
        "/x.jpg?response-content-type=image%2Fjpeg",
        "/album%3A2024/b.jpg",
        "/user%40home/c.jpg",
    ],
)
def test_signed_addresses_are_asked_for_as_they_are_with_and_without_the_flag(server: str, path: str) -> None:
    uri = server + signed(path)
    corpus = distinct([WorkItem(uri, uri)])
    for references in (corpus.references, strip_queries(corpus).references):
        loaded = load_image(PendingItem(references[0]), SPEC, Reading({}, allow_private=True), START)
        assert isinstance(loaded, LoadedImage)
        assert loaded.sha256 == hashlib.sha256(PHOTOGRAPH).hexdigest()
    assert references[0].id == references[0].uri == server + path.partition("?")[0]


def test_no_signature_is_stored(server: str, memory: Storage) -> None:
    uri = server + signed("/gone.jpg")
    references = strip_queries(distinct([WorkItem(uri, uri)])).references
    row = load_image(PendingItem(references[0]), SPEC, Reading({}, allow_private=True), START)
    assert isinstance(row, FailureRow)
    assert "403" in row.message
    write_corpus(memory, references)
    stored = pq.read_table(io.BytesIO(memory.read(memory.files(CORPUS)[0].name)))
    assert not [text for text in (*map(str, row), str(stored.to_pylist())) if "sig" in text]


def test_what_has_no_query_or_another_storage_stays() -> None:
    member = Member(TAR, 0, 512, 7)
    kept = [
        WorkItem("s3://b/a?x=1.jpg", "s3://b/a?x=1.jpg"),
        WorkItem("https://h/a.jpg", "https://h/a.jpg"),
        WorkItem("file:///a?b", "file:///a?b"),
    ]
    inside = WorkItem(
        "https://h/a.tar?s::x.jpg", "https://h/a.tar?s::x.jpg", container="https://h/a.tar?s", member=member
    )
    named = WorkItem("7", "https://h/b.jpg?s#f")
    found = list(strip_queries(distinct([*kept, inside, named])).references)
    assert found[:3] == kept
    assert found[3][:2] == ("https://h/a.tar::x.jpg", "https://h/a.tar::x.jpg")
    assert found[3].to_read().container == "https://h/a.tar?s"
    assert found[4][:2] == ("7", "https://h/b.jpg")
    assert found[4].to_read().uri == "https://h/b.jpg?s#f"


def test_two_images_are_not_made_one() -> None:
    images = [WorkItem(f"https://h/image?id={number}", f"https://h/image?id={number}") for number in range(2)]
    with pytest.raises(
        RefusedError, match=r"--strip-query: https://h/image is there with several queries.*--id-column"
    ):
        strip_queries(distinct(images))
    ids = [image._replace(id=str(number)) for number, image in enumerate(images)]
    assert [image.id for image in strip_queries(distinct(ids)).references] == ["0", "1"]
