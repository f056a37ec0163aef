"""S3's protocol with a client of its own: what is asked for, and how much."""

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.errors import RefusedError
from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.read_ahead import read_width
from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.images.shard_files import read_each, read_shard
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import manifest_files, read_manifests
from beamscribe.pipelines.sources.table_containers import table_containers
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import FileTooLargeError, read_uri
from tests.pipelines.fake_job import START, run_of

pytest.importorskip("s3fs")


def png(number):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def store(folder, delay_msec=0, failing_percent=0):
    """Storage options for a folder served as a bucket, and a function that gives the counts."""
    command = [sys.executable, "-m", "benchmarks.delayed_store", str(folder), str(delay_msec), str(failing_percent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"

        def counts():
            with urllib.request.urlopen(f"{address}/-/counts") as answer:
                return json.load(answer)

        yield {"endpoint_url": address, "key": "k", "secret": "s"}, counts
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(tmp_path):
    """60 photographs in folders, a marker of a folder, an empty file, and two tars of 20 photographs."""
    folder = tmp_path / "bucket"
    for number in range(60):
        path = folder / "photos" / f"{number % 3}" / ("deep" if number % 2 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (folder / "photos" / "top.png").write_bytes(png(99))
    (folder / "photos" / "empty.png").write_bytes(b"")
    (folder / "tars").mkdir()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(20):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(png(number))
            tar.addfile(info, io.BytesIO(png(number)))
    (folder / "tars" / "a.tar").write_bytes(file.getvalue())
    (folder / "tars" / "b.tar.gz").write_bytes(gzip.compress(file.getvalue()))
    with zipfile.ZipFile(folder / "photographs.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.png", png(number))
    return folder


def test_what_a_store_is_asked_for(bucket):
    with store(bucket, delay_msec=20) as (options, counts):
        reading = Reading(options)
        corpus = list_images(["s3://bucket/photos"], options)
        local = list_images([str(bucket / "photos")], {})
        prefix = f"file://{bucket}/photos"
        assert [one.uri.removeprefix("s3://bucket/photos") for one in corpus.references] == [
            one.uri.removeprefix(prefix) for one in local.references
        ]
        assert corpus.listed == local.listed == 62
        todo = [PendingItem(one) for one in corpus.references]
        assert read_width(corpus.references, reading) == 128
        before = counts()
        files = list(read_each(todo, reading, START, 128))
        for file in files:
            path = str(bucket) + file.todo.reference.uri.removeprefix("s3://bucket")
            with open(path, "rb") as expected:
                assert file.data == expected.read()
        after = counts()
        assert after["GET"] - before["GET"] == 62, "one request a photograph"
        assert after["HEAD"] - before["HEAD"] == 0, "the size of the empty one is known from the listing"
        # All 62 may be, but a busy machine begins them slowly.
        assert after["at once"] > 10

        with pytest.raises(FileTooLargeError, match="75 bytes, more than 20"):
            read_uri("s3://bucket/photos/top.png", options, max_bytes=20)
        with pytest.raises(FileNotFoundError):
            read_uri("s3://bucket/photos/none.png", options, max_bytes=20)

        size = sum(path.stat().st_size for path in (bucket / "tars").iterdir())
        before = counts()
        found = list_images(["s3://bucket/tars/*"], options).references
        assert [one.uri.rpartition("::")[2] for one in found] == 2 * [f"{number}.png" for number in range(20)]
        for start in (0, 20):
            files = list(read_shard([PendingItem(one) for one in found[start : start + 20]], reading, START))
            assert [file.data for file in files if isinstance(file, ReadFile)] == [png(number) for number in range(20)]
        after = counts()
        assert after["bytes"] - before["bytes"] <= 2 * size
        assert after["GET"] - before["GET"] == 4

        [container] = list_images(["s3://bucket/photographs.zip"], options, list_members=False).containers
        shards = container_shards(
            container._replace(slice_size=8), reading, run_of(Storage(str(bucket.parent / "out")))
        )
        slices = [[file.data for file in shard.passing if isinstance(file, ReadFile)] for shard in shards]
        assert slices == [[png(number) for number in numbers] for numbers in (range(8), range(8, 16), range(16, 20))]


@pytest.mark.slow
def test_a_busy_store_loses_nothing(bucket):
    with store(bucket, failing_percent=10) as (options, counts):
        todo = [PendingItem(one) for one in list_images(["s3://bucket/photos"], options).references]
        files = list(read_each(todo, Reading(options), START, 64))
        assert all(isinstance(file, ReadFile) for file in files)
        assert counts()["503"] > 0


@pytest.mark.slow
def test_what_a_store_is_asked_for_a_table(tmp_path):
    """A small one is one request, a large one few and large ones; what a glob names is not asked for its size."""
    (tmp_path / "bucket").mkdir()
    for name, rows, size in (("large", 400, 20_000), ("small", 30, 20_000)):
        images = [{"bytes": os.urandom(size), "path": f"{number}.jpg"} for number in range(rows)]
        pq.write_table(pa.table({"image": images}), tmp_path / "bucket" / f"{name}.parquet", row_group_size=100)
    with store(tmp_path / "bucket", delay_msec=20) as (options, counts):
        corpus = table_containers(manifest_files(["s3://bucket/*.parquet"], options), Columns(), options)
        before = counts()
        assert before["HEAD"] <= 2
        for container, rows, most in zip(corpus.containers, (400, 30), (24, 1), strict=True):
            shards = container_shards(
                container._replace(slice_size=100), Reading(options), run_of(Storage(str(tmp_path / "out")))
            )
            assert sum(len(shard.passing.listed()) for shard in shards) == rows
            after = counts()
            assert after["GET"] - before["GET"] <= most
            assert after["HEAD"] - before["HEAD"] <= 2, "its version, at the beginning and at the end"
            assert after["bytes"] - before["bytes"] <= 1.05 * container.size
            before = after


@pytest.mark.slow
def test_tables_with_ids_are_listed_side_by_side(tmp_path):
    (tmp_path / "bucket").mkdir()
    for number in range(6):
        images = [{"bytes": png(number), "path": None} for _ in range(10)]
        ids = [f"{number}-{row}" for row in range(10)]
        pq.write_table(pa.table({"id": ids, "image": images}), tmp_path / "bucket" / f"{number}.parquet")
    (tmp_path / "bucket" / "3.parquet").write_bytes(b"PAR1 and no table PAR1")
    with store(tmp_path / "bucket", delay_msec=50) as (options, counts):
        good = [f"s3://bucket/{number}.parquet" for number in (5, 0, 1, 2, 4)]
        corpus = read_manifests(good, Columns(), options)
        assert corpus.references.ids.to_pylist() == [
            f"{number}-{row}" for number in (5, 0, 1, 2, 4) for row in range(10)
        ]
        asked = counts()["HEAD"]
        with pytest.raises(RefusedError, match=r"bucket/3\.parquet cannot be read"):
            read_manifests(["s3://bucket/*.parquet"], Columns(), options)
        assert counts()["HEAD"] <= asked + 1, "the glob has told sizes and versions"
        read_manifests(["s3://bucket/[0124].parquet"], Columns(), options)
        assert counts()["at once"] > 1
