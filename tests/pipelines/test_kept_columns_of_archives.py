"""`--keep-columns` of what stands beside images in archives: the same, however an archive is read."""

import contextlib
import gzip
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED
from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.images.container_slices import container_shards
from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.images.shard_files import read_shard
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.keeping import suffixes_beside
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.keep import parse_keep
from beamscribe.schemas.kept_columns import DECLARED, DETAIL, kept_field, to_text
from beamscribe.schemas.rows import CAPTIONS, with_kept_columns
from beamscribe.storage.storage import Storage
from tests.pipelines.dying_storage import DyingStorage, Killed
from tests.pipelines.fake_job import FakeJob, caption
from tests.pipelines.sources.made_tars import by_tarfile

pytestmark = pytest.mark.slow

KEEPS = parse_keep("txt,title,source_width=width:int64")
SCHEMA = pa.schema([kept_field(one.column, DECLARED[one.type or "string"], one.source) for one in KEEPS])


def samples(count: int) -> list[tuple[str, bytes]]:
    """Members before and behind their images; of some there is nothing, or what cannot be read."""
    files = []
    for number in range(count):
        about = json.dumps({"title": f"t{number}", "width": f"{number}" if number != 3 else "wide", "txt": "no"})
        image = (f"{number:03}.jpg", b"photo %d" % number * 50)
        text = (f"{number:03}.txt", f"text {number}\n".encode())
        more = [(f"{number:03}.json", about.encode() if number != 4 else b"{")]
        files += [*more, image, text] if number % 2 else [image, *more] if number else [image]
    return files


EXPECTED = {
    "000": (None, None, None, False),
    "001": ("text 1", "t1", 1, False),
    "002": ("no", "t2", 2, False),
    "003": ("text 3", "t3", None, True),
    "004": (None, None, None, True),
    "005": ("text 5", "t5", 5, False),
}


class Reader:
    """Says of an image what is kept of it, and fails where it is told to."""

    def __init__(self, run: Run, failing: frozenset[str]) -> None:
        self._run, self._failing, self._columns = run, failing, SampleColumns(KEEPS, SCHEMA)

    def container_shards(self, container: Any) -> Iterator[Any]:
        return container_shards(container, Reading({}), self._run, self._columns)

    def __call__(self, shard: Any) -> Iterator[Any]:
        todo = self._columns.filled(shard.todo, Reading({}), self._run)
        files = shard.passing or read_shard(todo, Reading({}), self._run.started)
        for file in files:
            assert isinstance(file, ReadFile)
            files.release(file)
            if file.todo.reference.id[-7:-4] in self._failing:
                yield failure(file.todo, "decode", "FakeError", "as it was told", self._run.started)
                continue
            yield caption(file.todo.reference, f"{len(file.data)}", self._run)._replace(kept=file.todo.kept)


@dataclass(frozen=True)
class ReadingJob(FakeJob):
    def open(self, run: Run) -> Any:
        return Reader(run, self.failing)


def go(uri: str, output: Storage, list_members: bool = False, failing: str = "", retry: bool = False) -> int:
    flags: dict[str, Any] = {"shard_size": 2, "limit": None, "retry_failed": retry, "on_change": "refuse"}
    return launch(
        Request(
            job=ReadingJob(frozenset(failing.split()), format=with_kept_columns(CAPTIONS, SCHEMA)),
            corpus=list_images([uri], {}, list_members=list_members, beside=suffixes_beside(KEEPS)),
            output=output,
            fingerprint=Fingerprint({"style": "oil"}),
            details={DETAIL: to_text(SCHEMA)},
            flags=JobFlags(storage_options={}, **flags),
            options=parse(FlagParser(prog="beamscribe fake"), [])[1],
        )
    )


def values(output: Storage) -> dict[str, tuple[Any, ...]]:
    tables = [pq.read_table(pa.BufferReader(output.read(one.name))) for one in output.files("captions")]
    assert {str(one.schema.field("source_width").type) for one in tables} == {"int64"}
    rows = [row for one in tables for row in one.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    assert [one.num_rows for one in tables] != []
    return {row["id"][-7:-4]: (row["txt"], row["title"], row["source_width"]) for row in rows}


def without_repairs(expected: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {name: one[:3] for name, one in expected.items()}


@pytest.fixture
def put(memory: Storage, tmp_path: Path) -> Any:
    """Stores the samples where their archive is gone through, or would be if it were no zip; gives its URI."""

    def store(name: str) -> str:
        data = by_tarfile(samples(6))
        if name.endswith(".gz"):
            (tmp_path / name).write_bytes(gzip.compress(data))
            return str(tmp_path / name)
        if name.endswith(".zip"):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                # Of a zip the members of a sample may stand anywhere, so that it is listed wherever it is.
                for member in sorted(samples(6), key=lambda one: one[0][::-1]):
                    archive.writestr(*member)
            data = file.getvalue()
        memory.write(name, data)
        return memory.uri(name)

    return store


@pytest.mark.parametrize("name", ["photos.tar", "photos.tar.gz", "photos.zip"])
def test_columns_are_the_same_however_an_archive_is_read(name: str, put: Any, tmp_path: Path) -> None:
    uri = put(name)
    passed, listed, again = (Storage(str(tmp_path / folder)) for folder in ("passed", "listed", "again"))
    assert go(uri, passed) == DONE
    assert values(passed) == without_repairs(EXPECTED)
    assert go(uri, listed, list_members=True) == DONE
    assert values(listed) == without_repairs(EXPECTED)
    # What has failed is read as a member that is known, though its archive was gone through.
    assert go(uri, again, failing="001 002") == DONE
    assert go(uri, again, retry=True) == DONE
    assert values(again) == without_repairs(EXPECTED)
    assert verify(again) == (6, 0, 0, ())


def test_a_kill_in_the_middle_of_an_archive_costs_no_column(put: Any, memory: Storage) -> None:
    uri = put("photos.tar")
    for operations in (5, 9, 14):
        output = DyingStorage(f"memory://dying-beside-{operations}")
        output.live(operations)
        code = None
        with contextlib.suppress(Killed):
            code = go(uri, output)
        output.live(None)
        output.delete(LEASE)
        assert code != DONE
        assert go(uri, output) == DONE
        assert values(output) == without_repairs(EXPECTED)
        assert verify(output) == (6, 0, 0, ())
        output.remove()


TITLED = """
from beamscribe.model.captioner_interface import Encoded

class Titled:
    fingerprint_fields = {"captioner": "titled", "version": "1"}
    wants = Encoded(64)
    batch_size = 4

    def caption(self, images):
        return [f"An image of {image.fields['title'] or 'nothing'}." for image in images]
"""


def test_the_command_keeps_columns_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "titled2.py").write_text(TITLED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "titled2", raising=False)
    monkeypatch.chdir(tmp_path)
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "green").save(file, "PNG")
    members = [(name.replace(".jpg", ".png"), file.getvalue() if ".jpg" in name else data) for name, data in samples(6)]
    Path("photos.tar").write_bytes(by_tarfile(members))
    Path("photos.tar.gz").write_bytes(gzip.compress(by_tarfile(members)))
    Path("loose.png").write_bytes(file.getvalue())
    keep = ["--keep-columns", "txt,title,source_width=width:int64", "--captioner", "titled2:Titled", "--strict"]
    assert main(["caption", "--images", "loose.png", "--output", "nowhere", *keep]) == REFUSED
    assert "loose photographs have no columns" in capsys.readouterr().err
    for sources in (["photos.tar"], ["photos.tar.gz", "loose.png"]):
        output = f"out-{sources[0]}"
        # With --strict the warning of what could not be read is an error.
        assert main(["caption", "--images", *sources, "--output", output, *keep]) == CHECK_FAILED
        assert "a kept column is null in 2 rows" in capsys.readouterr().err
        rows = pq.read_table(f"{output}/captions").to_pylist()
        loose = [row for row in rows if row["id"].endswith("loose.png")]
        assert [(row["txt"], row["repairs"]) for row in loose] == [(None, [])] * (len(sources) - 1)
        found = {row["id"][-7:-4]: row for row in rows if row not in loose}
        told = {name: "kept-value-null" in row["repairs"] for name, row in found.items()}
        kept = {name: (row["txt"], row["title"], row["source_width"], told[name]) for name, row in found.items()}
        assert kept == EXPECTED
        assert {row["caption"] for row in found.values()} == {
            *("An image of t1.", "An image of t2.", "An image of t3.", "An image of t5.", "An image of nothing.")
        }
    Path("m.csv").write_text("url,title\nloose.png,t\n")
    plan = ["caption", "--manifest", "m.csv", "--output", "planned", *keep[2:4], "--keep-columns", "title", "--plan"]
    assert main(plan) == DONE
    assert (
        main(["caption", "--images", "photos.tar", "--output", "x", *keep[2:4], "--keep-columns", "title,licence"])
        == DONE
    )
    assert "no row has a value of the kept columns licence" in capsys.readouterr().err
