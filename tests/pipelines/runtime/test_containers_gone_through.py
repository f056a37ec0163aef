"""Containers as work items: nobody lists them, a worker reads each once, and a killed one goes on where it was."""

import contextlib
import gzip
import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.images import container_stream
from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.images.shard_files import read_shard
from beamscribe.pipelines.outputs.job_status import status
from beamscribe.pipelines.outputs.verify import inspect, verify
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources import archives, gzip_blocks, tar_passing
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import manifest_files, read_manifests
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.pipelines.sources.table_containers import table_containers
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.output_reader import MANIFEST, manifest_of
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import START, FakeJob, caption, captions_of, failures_of
from tests.pipelines.images.test_shard_files import BOUND, archive
from tests.pipelines.sources.made_tars import by_tarfile
from tests.pipelines.sources.test_zip_passing import ODD, odd_zip

BETWEEN_TWO_WRITES = (5, 14)
"""Writes and deletes before a kill: the members of the first slice are stored and not its rows, rows of the second are
and not its receipt."""

FINGERPRINT = Fingerprint({"style": "oil"})


class Reader:
    """Says of an image what its bytes are."""

    def __init__(self, run: Run, failing: frozenset[str], met: dict[str, Callable[[], None]], readers: str) -> None:
        self._run, self._failing, self._met, self._readers = run, failing, met, readers

    def container_shards(self, container: Any) -> Iterator[Any]:
        if self._readers:
            Path(self._readers, f"{container.name}-{os.getpid()}").touch()
        return container_shards(container, Reading({}, max_bytes=BOUND), self._run)

    def __call__(self, shard: Any) -> Iterator[Any]:
        files = shard.passing or read_shard(shard.todo, Reading({}, max_bytes=BOUND), self._run.started)
        for file in files:
            if not isinstance(file, ReadFile):
                yield file
                continue
            name = name_of(file.todo.reference.id)
            self._met.get(name, list)()
            files.release(file)
            if name in self._failing:
                yield failure(file.todo, "decode", "FakeError", "as it was told", self._run.started)
            else:
                yield caption(file.todo.reference, f"{len(file.data)} bytes {file.data[:9]!r}", self._run)


@dataclass(frozen=True)
class ReadingJob(FakeJob):
    """Whose workers read what they caption.

    Attributes:
        met: what happens at an image.
        readers: a folder that gets a file for each container, with the number of the process that reads it.
    """

    met: dict[str, Callable[[], None]] = field(default_factory=dict)
    readers: str = ""

    def open(self, run: Run) -> Any:
        return Reader(run, self.failing, self.met, self.readers)


def corpus_of(sources: Sequence[str], list_members: bool, limit: int | None = None) -> Corpus:
    """Archives, or tables, that are listed or gone through."""
    if not sources[0].endswith(".parquet"):
        return list_images(sources, {}, limit, list_members=list_members)
    gone_through = None if list_members else table_containers(manifest_files(sources, {}), Columns(), {})
    return gone_through or read_manifests(sources, Columns(), {}, limit)


def go(source: Any, output: Storage, list_members: bool = False, engine: Sequence[str] = (), **how: Any) -> int:
    """Launches a job; of its flags a shard has two images if nothing else is said."""
    failing, met, readers = frozenset(how.pop("failing", ())), how.pop("met", {}), how.pop("readers", "")
    sources = [source] if isinstance(source, str) else source
    flags = {"shard_size": 2, "limit": None, "retry_failed": False, "on_change": "refuse", **how}
    return launch(
        Request(
            job=ReadingJob(failing, met=met, readers=readers),
            corpus=corpus_of(sources, list_members, flags["limit"]),
            output=output,
            fingerprint=FINGERPRINT,
            details={},
            flags=JobFlags(storage_options={}, **flags),
            options=parse(FlagParser(prog="beamscribe fake"), [*engine])[1],
        )
    )


def rows_of(output: Storage) -> tuple[Any, Any]:
    """Captions, and failures without the words of their messages."""
    return captions_of(output), [(one.id, one.stage, one.error_type) for one in failures_of(output)]


def photos(count: int, first: int = 0) -> bytes:
    """A tar of samples as WebDataset has them."""
    files = []
    for number in range(first, first + count):
        files += [(f"{number:03}.jpg", b"photo %d" % number * 50), (f"{number:03}.json", b"{}")]
    return by_tarfile(files)


def zipped(tar: bytes) -> bytes:
    """The same files in a zip."""
    file = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as found, zipfile.ZipFile(file, "w") as archive:
        for member in found:
            archive.writestr(member.name, found.extractfile(member).read())  # type: ignore[union-attr]
    return file.getvalue()


def name_of(id: str) -> str:
    """What the image of an id is called; one in a table as if it had a name."""
    name = id.rpartition("::")[2]
    return f"{int(name):03}.jpg" if name.isdigit() else name


def tabled(tar: bytes) -> bytes:
    """The same images in a table, two in a row group."""
    rows, file = [], io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        for member in found:
            if member.name.endswith(".jpg"):
                data = found.extractfile(member).read()  # type: ignore[union-attr]
                rows.append({"image": {"bytes": data, "path": member.name}})
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    return file.getvalue()


@pytest.fixture
def put(memory: Storage, tmp_path: Any) -> Any:
    """Stores an archive where it is gone through; gives its URI."""

    def store(name: str, data: bytes) -> str:
        if not name.endswith(".gz"):
            if name.endswith(".parquet"):
                data = tabled(data)
            memory.write(name, zipped(data) if name.endswith(".zip") and data[:2] != b"PK" else data)
            return memory.uri(name)
        (tmp_path / name).write_bytes(gzip.compress(data))
        return str(tmp_path / name)

    return store


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damaged"), [("photos.tar", True), ("photos.tar.gz", False), ("photos.zip", False), ("photos.zip", True)]
)
def test_what_is_gone_through_is_what_is_listed(
    name: str, damaged: bool, put: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    zip = ODD["no entry in the middle"] if damaged else odd_zip()
    uri = put(name, zip if name.endswith(".zip") else archive(damaged))
    listed, passed = Storage(str(tmp_path / "listed")), Storage(str(tmp_path / "passed"))
    assert go(uri, listed, list_members=True) == DONE
    reads: list[Any] = []
    for kind in ("pass_through_tar", "pass_through_zip"):
        pass_through = getattr(container_stream, kind)
        monkeypatch.setattr(container_stream, kind, lambda *a, through=pass_through: reads.append(a) or through(*a))
    monkeypatch.setattr(archives, "list_archive", None)
    assert go(uri, passed) == DONE
    assert len(reads) == 1
    assert rows_of(passed) == rows_of(listed)
    one, other = manifest_of(passed), manifest_of(listed)
    for field_name in ("references", "repeated", "skipped", "listed"):
        assert getattr(one, field_name) == getattr(other, field_name), field_name
    found = status(passed)
    assert (found.asked, found.todo, found.archives, found.archives_read) == (one.references, 0, 1, 1)
    assert found.skipped == one.skipped
    assert verify(passed).findings == ()
    assert not passed.files("_beamscribe/started")
    # A further run reads nothing.
    before = rows_of(passed)
    assert go(uri, passed) == DONE
    assert len(reads) == 1
    assert rows_of(passed) == before
    capsys.readouterr()


def killed_and_continued(uri: str, operations: int, undisturbed: Any, slices: int = 3) -> bool:
    """Dies at an operation, then runs to the end; whether there was so much to do."""
    output = DyingStorage(f"memory://dying-{operations}")
    output.live(operations)
    code: int | None = None
    with contextlib.suppress(Killed):
        code = go(uri, output)
    output.live(None)
    output.delete(LEASE)
    if code != DONE and output.exists(MANIFEST):
        found = inspect(output)
        whole = found.verdict.rows == len(undisturbed[0])
        assert whole or found.archives or found.verdict.todo or found.verdict.findings, operations
        told = status(output)
        assert told.unfinished or told.done == len(undisturbed[0]), operations
    assert go(uri, output) == DONE
    assert rows_of(output) == undisturbed, operations
    assert verify(output) == (len(undisturbed[0]), 0, 0, ()), operations
    listings = [entry for entry in output.files(FOLDER) if not entry.name.endswith("-restart.json")]
    # The point of the last slice stays if the kill comes between the slice's receipt and the deletion.
    assert len(listings) == slices >= len(output.files(FOLDER)) - 1
    output.remove()
    return code != DONE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photos.tar", "photos.zip", "photos.parquet"])
def test_a_kill_between_any_two_writes_of_a_slice_costs_no_row_and_no_second_one(
    name: str, put: Any, memory: Storage
) -> None:
    uri = put(name, photos(5))
    assert go(uri, memory) == DONE
    undisturbed = rows_of(memory)
    assert len(undisturbed[0]) == 5
    for operations in BETWEEN_TWO_WRITES:
        assert killed_and_continued(uri, operations, undisturbed)


@pytest.mark.slow
def test_kills_anywhere_cost_no_row_and_no_second_one(put: Any, memory: Storage) -> None:
    uri = put("photos.tar", photos(5))
    assert go(uri, memory) == DONE
    undisturbed = rows_of(memory)
    operations = 3
    while killed_and_continued(uri, operations, undisturbed):
        operations += 2
    assert operations > 15


@pytest.mark.slow
def test_a_compressed_tar_goes_on_where_it_was(put: Any, memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_blocks, "SPACING", 1000)
    pixels = random.Random(0).randbytes
    uri = put("photos.tar.gz", by_tarfile([(f"{number:03}.jpg", pixels(30_000)) for number in range(8)]))
    assert go(uri, memory) == DONE
    undisturbed = rows_of(memory)
    begun: list[int] = []
    inflate = tar_passing.inflated

    def noting(file: Any, suffix: str, note: Any, point: Point | None) -> Iterator[bytes]:
        begun.append(point.inflated if point else 0)
        return inflate(file, suffix, note, point)

    monkeypatch.setattr(tar_passing, "inflated", noting)
    operations = 3
    while killed_and_continued(uri, operations, undisturbed, slices=4):
        operations += 3
    slice_bytes = 2 * (512 + -(-30_000 // 512) * 512)
    assert {-(-place // slice_bytes) for place in begun} == {0, 1, 2, 3}
    assert all(-place % slice_bytes < 40_000 for place in begun), "a block or two before the slice"


@pytest.mark.parametrize(
    ("name", "done", "passed"),
    [
        ("photos.tar.gz", 2, 0),
        ("photos.tar", 4, 8 * 1024),
        ("photos.zip", 4, 4 * 350),
        pytest.param("photos.parquet", 4, 0, marks=pytest.mark.slow),
    ],
)
def test_a_container_that_is_replaced_while_it_is_read_is_noticed(
    name: str, done: int, passed: int, put: Any, tmp_path: Path, capsys: Any
) -> None:
    """A remote one is looked at when it is at its end, if not much time passes before."""
    uri, output = put(name, photos(5)), Storage(str(tmp_path / "output"))
    assert go(uri, output, met={"003.jpg": lambda: put(name, photos(7))}) == STOPPED
    told = capsys.readouterr()
    assert f"{uri} cannot be read to its end: it was replaced while the job ran" in told.err
    assert f"{done} done, 0 failed, 0 to do" in told.out
    noun = "table" if name.endswith(".parquet") else "archive"
    assert told.out.strip().endswith(f"; 1 {noun} not read to their end, run the same command again")
    before = status(output)
    assert (before.archives, before.archives_read, before.unfinished) == (1, 0, True)
    assert before.archive_bytes_read == passed
    assert inspect(output).archives == 1
    assert main(["verify", str(output.uri())]) == STOPPED
    # What is there stays, as where members are listed; the other archive has the others.
    assert go(uri, output) == DONE
    assert [name_of(id) for id, _ in captions_of(output)] == [f"{number:03}.jpg" for number in range(7)]
    assert verify(output) == (7, 0, 0, ())


def test_failures_are_tried_again_and_an_attempt_that_is_repeated_does_nothing_twice(
    put: Any, memory: Storage, tmp_path: Path
) -> None:
    uris = [
        put("photos.tar", photos(5)),
        put("others.tar.gz", photos(3, first=5)),
        put("more.zip", photos(3, first=8)),
    ]
    output = Storage(str(tmp_path / "output"))
    assert go(uris, output, failing=["001.jpg", "006.jpg", "009.jpg"]) == DONE
    assert verify(output) == (8, 3, 0, ())
    files = {entry.name: output.read(entry.name) for entry in output.files("captions")}
    # An engine may give a container to a second worker after a first one that has done its slices.
    containers = list_images(uris, {}, list_members=False).containers
    run = Run(output, ReadingJob().format, FINGERPRINT.digest, START)
    shards = [list(container_shards(one._replace(slice_size=2), Reading({}), run)) for one in containers]
    names = [[shard.name[-5:] for shard in found] for found in shards]
    assert names == [["00002"], ["00001"], ["00001"]], "only the last slices"
    assert go(uris, output, retry_failed=True) == DONE
    assert verify(output) == (11, 0, 0, ())
    assert files.items() <= {entry.name: output.read(entry.name) for entry in output.files("captions")}.items()
    assert status(output).skipped == {"no image suffix": 11}


@pytest.mark.parametrize("name", ["texts.tar.gz", "texts.zip"])
def test_an_archive_without_an_image_is_refused_once_it_is_read(name: str, put: Any, tmp_path: Path) -> None:
    uri = put(name, by_tarfile([("a.txt", b"a"), ("b.txt", b"b")]))
    with pytest.raises(RefusedError, match=rf"{name} names no image; 2 files there: no image suffix"):
        go(uri, Storage(str(tmp_path / "output")))


@pytest.mark.parametrize(
    "name", ["photos.tar.gz", "photos.zip", pytest.param("photos.parquet", marks=pytest.mark.slow)]
)
def test_what_listed_members_before_is_continued(
    name: str, put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs of earlier versions, and of flags that need a list."""
    uri, output = put(name, photos(6)), Storage(str(tmp_path / "output"))
    assert go(uri, output, list_members=True, limit=3, failing=["002.jpg"]) == DONE
    captions, failures = rows_of(output)
    monkeypatch.setattr(container_stream, "pass_through_tar", None)
    monkeypatch.setattr(container_stream, "pass_through_zip", None)
    monkeypatch.setattr(container_stream, "pass_through_table", None)
    assert go(uri, output) == DONE
    assert set(captions) < set(rows_of(output)[0])
    assert rows_of(output)[1] == failures
    assert verify(output) == (5, 1, 0, ())
    assert not output.files(FOLDER)


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip", pytest.param("photos.parquet", marks=pytest.mark.slow)])
def test_an_image_that_ends_its_process_is_read_apart(name: str, put: Any, memory: Storage) -> None:
    """A slice that two attempts did not end is listed first, so that its images can be read one by one."""
    uri = put(name, photos(3))
    [container] = corpus_of([uri], list_members=False).containers
    run = Run(memory, ReadingJob().format, FINGERPRINT.digest, START)
    [first, *_] = container_shards(container._replace(slice_size=9), Reading({}), run)
    assert first.passing is not None
    listed = first.passing.listed()
    assert [name_of(item.reference.id) for item in listed] == [f"{number:03}.jpg" for number in range(3)]
    assert list(first.passing) == []
    assert len(first.passing.finish().todo) == 3


@pytest.mark.parametrize("name", ["photos.tar", "photos.zip", "photos.parquet"])
def test_an_archive_that_is_named_twice_is_listed(name: str, put: Any, memory: Storage) -> None:
    uri = put(name, photos(3))
    corpus = corpus_of([uri, uri], list_members=False)
    assert (corpus.containers, len(corpus.references), corpus.repeated) == ((), 3, 3)
