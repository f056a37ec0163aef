"""Object stores on this machine, which the real clients (s3fs, gcsfs) speak to as they would to the real ones.

A test asks for `object_store` and runs once on each. The servers live in threads of the tests' process, on free ports.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import fsspec
import pytest

# gcsfs would ask over gRPC what kind of bucket it has, which the emulator does not understand; read at its import.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class ObjectStore(NamedTuple):
    """An empty bucket.

    Attributes:
        root: its URI.
        options: what `--storage-options` must say for the client to find it.
    """

    root: str
    options: dict[str, Any]

    def put(self, name: str, data: bytes) -> str:
        """Stores an object; returns its URI."""
        fs, path = fsspec.core.url_to_fs(self.root, **self.options)
        # A URI would be taken apart where there is `::` in the name.
        fs.pipe_file(f"{path}/{name}", data)
        return f"{self.root}/{name}"

    def names(self) -> list[str]:
        """Objects in the bucket, by name."""
        fs, path = fsspec.core.url_to_fs(self.root, **self.options)
        fs.invalidate_cache()
        return sorted(os.path.relpath(name, path) for name in fs.find(path))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a server that speaks S3."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    """Address of a server that speaks Google Cloud Storage's JSON API."""
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket that s3fs speaks to."""
    pytest.importorskip("s3fs")
    return _bucket("s3", {"endpoint_url": s3_endpoint}, monkeypatch)


@pytest.fixture
def gcs(gcs_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket that gcsfs speaks to."""
    pytest.importorskip("gcsfs")
    return _bucket("gs", {"endpoint_url": gcs_endpoint, "token": "anon", "project": "test"}, monkeypatch)


@pytest.fixture(params=["s3", "gcs"])
def object_store(request: pytest.FixtureRequest) -> ObjectStore:
    """The same bucket on either store."""
    return request.getfixturevalue(request.param)


def _bucket(protocol: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    name = f"beamscribe-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem(protocol, **options).mkdir(name)
    return ObjectStore(f"{protocol}://{name}", options)
