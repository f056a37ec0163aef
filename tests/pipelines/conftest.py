import uuid

import fsspec
import pytest

from pipelines.storage import Storage


@pytest.fixture
def memory():
    """A folder in fsspec's memory filesystem, which stands for an object store."""
    output = Storage(f"memory://{uuid.uuid4().hex}")
    yield output
    fs = fsspec.filesystem("memory")
    if fs.exists(output.path("")):
        fs.rm(output.path(""), recursive=True)


@pytest.fixture
def local(tmp_path):
    return Storage(str(tmp_path / "output"))


@pytest.fixture(params=["local", "memory"])
def output(request):
    """The same folder twice: on the disk, and where nothing can be renamed or linked."""
    return request.getfixturevalue(request.param)
