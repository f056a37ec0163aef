"""How many images a plan expects of archives that nobody has listed."""

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.runtime import plan as plan_module
from beamscribe.pipelines.runtime.plan_archives import MOST_IMAGES, Archives, look_into
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.zip_unpacking import STORED
from beamscribe.pipelines.work.container import Container
from beamscribe.storage.location import locate
from beamscribe.storage.storage import Storage
from tests.pipelines.runtime.test_containers_gone_through import go, photos
from tests.pipelines.sources.made_tars import by_tarfile
from tests.pipelines.sources.test_table_passing import container_of
from tests.pipelines.sources.test_zip_directory import made
from tests.pipelines.sources.test_zip_passing import shuffled


def written(folder: Path, *archives: bytes) -> tuple[Container, ...]:
    folder.mkdir()
    for number, data in enumerate(archives):
        (folder / f"{number}.tar.gz").write_bytes(gzip.compress(data, compresslevel=0))
    return list_images([str(folder / "*.tar.gz")], {}, list_members=False).containers


def test_nothing_is_expected_of_nothing() -> None:
    assert look_into((), {}) == Archives()


def test_equal_archives_hold_what_one_holds(tmp_path: Path) -> None:
    containers = written(tmp_path / "in", photos(20), photos(20, 20), photos(20, 40))
    found = look_into(containers, {})
    assert (found.number, found.images, len(found.sample)) == (3, 60, 20)
    assert found.size == sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    assert {item.container for item in found.sample} == {found.uri}


def test_of_a_long_archive_only_the_beginning_is_read(tmp_path: Path) -> None:
    count = 3 * MOST_IMAGES
    found = look_into(written(tmp_path / "in", photos(count)), {})
    assert len(found.sample) == MOST_IMAGES
    assert found.images == pytest.approx(count, rel=0.03)


def test_of_a_zip_the_directory_tells_all_images(memory: Storage) -> None:
    count = 3 * MOST_IMAGES
    files = {f"{number:03}.{suffix}": bytes(500) for number in range(count) for suffix in ("jpg", "npy", "txt")}
    for data in (made(files, STORED), shuffled(made(files, STORED))):
        memory.write("photos.zip", data)
        found = look_into(list_images([memory.uri("photos.zip")], {}, list_members=False).containers, {})
        assert len(found.sample) == MOST_IMAGES
        assert found.images == count


def test_slices_that_are_done_are_not_expected_again(tmp_path: Path) -> None:
    [one] = written(tmp_path / "in", photos(20))
    assert look_into([one._replace(slices=3, slice_size=4)], {}).images == 8


def test_an_archive_without_images_expects_none(tmp_path: Path) -> None:
    found = look_into(written(tmp_path / "in", by_tarfile([("a.txt", b"text")])), {})
    assert (found.number, found.images, found.sample) == (1, 0, [])


def test_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    [one] = written(tmp_path / "in", photos(2))
    (tmp_path / "in" / "0.tar.gz").unlink()
    with pytest.raises(RefusedError, match=r"0\.tar\.gz cannot be read"):
        look_into([one], {})


def test_what_is_damaged_or_empty_says_nothing_of_the_others(tmp_path: Path) -> None:
    containers = written(tmp_path / "in", photos(20), photos(20, 20), photos(20, 40))
    first = Path(locate(look_into(containers, {}).uri).path)
    size = first.stat().st_size
    first.write_bytes(bytes(size))
    assert look_into(containers, {}).images == pytest.approx(60, abs=1)
    first.unlink()
    found = look_into(containers, {})
    assert found.images == pytest.approx(60, abs=1)
    assert found.uri != first.as_uri()


def test_of_tables_another_one_is_looked_into_where_one_is_damaged(memory: Storage) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x" * 100] * 50}), file)
    containers = [container_of(memory, file.getvalue(), name=f"{number}.parquet") for number in range(3)]
    first = look_into(containers, {}).uri
    [damaged] = [one for one in containers if one.uri == first]
    memory.write(first.rsplit("/", 1)[1], bytes(damaged.size))
    found = look_into(containers, {})
    assert (found.number, found.images, len(found.sample)) == (3, 150, 50)
    for one in containers:
        memory.write(one.uri.rsplit("/", 1)[1], bytes(one.size))
    with pytest.raises(RefusedError, match=r"\.parquet cannot be read"):
        look_into(containers, {})


def test_a_plan_says_what_it_expects_and_writes_nothing(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "seconds_running", lambda: 2.0)
    written(tmp_path / "in", photos(20), photos(20, 20))
    output = Storage(str(tmp_path / "out"))
    assert go(str(tmp_path / "in" / "*.tar.gz"), output, plan=True) == DONE
    told = capsys.readouterr().out
    assert "about 40 of 40 to do" in told
    assert "2 archives, 0.0 GB, with as many images as the first 20 of" in told
    assert "20 of 20 sampled are well" in " ".join(told.split())
    assert "plan: about 40 to do in" in told
    assert not (tmp_path / "out").exists()


def test_a_plan_counts_what_is_done(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "seconds_running", lambda: 2.0)
    written(tmp_path / "in", photos(20), photos(20, 20))
    output = Storage(str(tmp_path / "out"))
    assert go(str(tmp_path / "in" / "0.tar.gz"), output) == DONE
    capsys.readouterr()
    assert go(str(tmp_path / "in" / "*.tar.gz"), output, plan=True) == DONE
    assert "about 20 of 40 to do" in capsys.readouterr().out
