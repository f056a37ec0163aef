"""URIs that strangers wrote into files reach nothing: a server on this machine counts who connects to it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.spec import INCEPTION_V3
from beamscribe.model.bundle import BundleError, open_bundle
from beamscribe.pipelines.images.reading import Reading, load_image
from beamscribe.pipelines.outputs.report.pictures import MissingPictureError, PictureReading, read_photograph
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.speech.captioned import list_captions
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import TAR, ZIP, Member, WorkItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.training.dataset import FeatureSet
from beamscribe.training.pixels import PixelReader
from tests.pipelines.fake_job import START
from tests.pipelines.outputs.report.made_report import row

pytestmark = pytest.mark.slow

REFUSED = (
    "zip://x.jpg::http://{}/x.zip",
    "tar://x.jpg::http://{}/x.tar",
    "libarchive://x.jpg::http://{}/x.7z",
    "reference://x.jpg::http://{}/x.json",
    "zip://x.jpg::simplecache::http://{}/x.zip",
    "simplecache::http://{}/x.jpg",
    "filecache::http://{}/x.jpg",
    "blockcache::http://{}/x.jpg",
    "cached::zip://x.jpg::http://{}/x.zip",
    "dir::http://{}/x.jpg",
    "ftp://{}/x.jpg",
    "webhdfs://{}/x.jpg",
    "hdfs://{}/x.jpg",
    "jupyter://{}/x.jpg",
    "sftp://{}/x.jpg",
    "smb://{}/x.jpg",
    "github://{}:x@main/x.jpg",
    "git://{}:x@/x.jpg",
    "dbfs://{}/x.jpg",
    "http+unix://{}/x.jpg",
)
LOCAL = ("file://{}/x.jpg", "//{}/x.jpg", "http:{}/x.jpg", "blob:http://{}/x.jpg", "url={}/x.jpg", "http:/{}/x.jpg")
"""Paths of this machine, whatever they look like."""
WEB = (
    "http://{}/x.jpg",
    "HTTP://{}/x.jpg",
    "https://{}/x.jpg",
    "http://localhost:{port}/x.jpg",
    "http://2130706433:{port}/x",
)


@pytest.fixture
def connections() -> Iterator[tuple[str, list[object]]]:
    """The address of a server that answers nothing, and everyone who connected."""
    found: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def count() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                found.append(address)
                connection.close()

        threading.Thread(target=count, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", found
        with socket.create_connection(server.getsockname()[:2]):
            pass
        # The count works.
        while not found:
            pass
        server.shutdown(socket.SHUT_RDWR)


def written(uris: tuple[str, ...], address: str) -> list[str]:
    return [uri.format(address, port=address.rpartition(":")[2]) for uri in uris]


def test_nothing_is_asked_of_a_manifest_without_the_flag(tmp_path: Path, connections: tuple[str, list[object]]) -> None:
    address, found = connections
    for name, uris in {"hostile.txt": REFUSED + LOCAL, "web.txt": WEB}.items():
        (tmp_path / name).write_text("\n".join(written(uris, address)) + "\n")
    columns = {"uri": written(REFUSED + LOCAL, address), "id": [str(n) for n in range(len(REFUSED + LOCAL))]}
    pq.write_table(pa.table(columns), tmp_path / "hostile.parquet")
    args = parser().parse_strictly(["--manifest", "x", "--output", "y"])
    for name in ("hostile.txt", "hostile.parquet"):
        references = read_manifests([str(tmp_path / name)], Columns(), {}).references
        assert len(references) == len(REFUSED + LOCAL)
        options.refuse_web((reference.uri for reference in references), args)
        for reference in references:
            assert isinstance(load_image(PendingItem(reference), INCEPTION_V3, Reading({}), START), FailureRow)
    web = read_manifests([str(tmp_path / "web.txt")], Columns(), {}).references
    for reference in web:
        with pytest.raises(RefusedError, match="--allow-http"):
            options.refuse_web([reference.uri], args)
        # With the flag, none of them is a public address.
        assert isinstance(load_image(PendingItem(reference), INCEPTION_V3, Reading({}), START), FailureRow)
    assert found == []


def test_nothing_is_asked_of_captions(tmp_path: Path, connections: tuple[str, list[object]]) -> None:
    address, found = connections
    uris = written(REFUSED + LOCAL + WEB, address)
    for allow_http in (False, True):
        reading = PictureReading(None, {}, allow_http)
        for uri in uris:
            hostile = row("a")._replace(image_uri=uri)
            members = [WorkItem("a", f"{uri}::x", container=uri, member=Member(kind, 0, 0, 1)) for kind in (TAR, ZIP)]
            for reference in (None, *members):
                with pytest.raises(MissingPictureError):
                    read_photograph(hostile, reading, reference)
    pq.write_table(pa.table({"image_uri": uris, "caption": ["a dog"] * len(uris)}), tmp_path / "c.parquet")
    assert len(list_captions(str(tmp_path / "c.parquet"), {}, None).references) == len(uris)
    assert found == []


def test_nothing_is_asked_of_bundles_and_features(connections: tuple[str, list[object]]) -> None:
    address, found = connections
    for uri in written(REFUSED + LOCAL + WEB, address):
        with pytest.raises(BundleError):
            open_bundle(uri, named_by_file=True)
        features = FeatureSet(
            ("a",),
            (uri,),
            ("a",),
            np.zeros(1),
            np.zeros(1),
            np.zeros(1),
            (("a",),),
            (8, 8, 2048),
            "b",
            "w",
            "d",
            0,
            np.zeros(1),
        )
        with pytest.raises(RefusedError, match="cannot be read to tune the backbone"):
            PixelReader(features, INCEPTION_V3, None, {})(np.arange(1))
    assert found == []
