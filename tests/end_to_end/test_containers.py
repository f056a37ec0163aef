"""The same photographs in every kind of container give the same captions; a damaged one costs only what is damaged.

`BEAMSCRIBE_CONTAINER_PHOTOGRAPHS=600` takes so many of Flickr8k instead of the made pictures.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.model.pretrained import EMBEDDED
from tests.pipelines.made_corpora import image_table, write_archive, write_arrow, write_image_parquet, write_webdataset

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

PHOTOGRAPHS = int(os.environ.get("BEAMSCRIBE_CONTAINER_PHOTOGRAPHS", "0"))


@pytest.fixture(scope="module")
def files(made_images: Path, request: pytest.FixtureRequest) -> dict[str, bytes]:
    """Photographs by name, and two files that are none."""
    folder, count = made_images / "images", 10
    if PHOTOGRAPHS:
        folder, count = request.getfixturevalue("shared") / "flickr8k" / "images", PHOTOGRAPHS
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:count]}
    return found | {"empty.jpg": b"", "text.jpg": b"no photograph"}


def loose(folder: Path, files: dict[str, bytes]) -> str:
    (folder / "photos").mkdir()
    for name, data in files.items():
        (folder / "photos" / name).write_bytes(data)
    return str(folder / "photos")


def archives(folder: Path, files: dict[str, bytes]) -> list[str]:
    made = [write_archive(folder / kind, files) for kind in ("deflated.zip", "plain.tar", "small.tar.gz")]
    return ["--images", *made, write_webdataset(folder / "shard-0.tar", files)]


def manifests(folder: Path, files: dict[str, bytes]) -> list[str]:
    photos = loose(folder, files)
    (folder / "list.csv").write_text("id,uri\n" + "".join(f"csv::{name},photos/{name}\n" for name in files))
    pq.write_table(pa.table({"image_uri": [f"{photos}/{name}" for name in files]}), folder / "list.parquet")
    table = write_arrow(folder / "train.arrow", image_table(files), stream=True)
    images = write_image_parquet(folder / "train.parquet", files)
    return ["--manifest", images, table, str(folder / "list.csv"), str(folder / "list.parquet")]


def caption(folder: Path, source: list[str], *flags: str) -> Path:
    output = folder / "output"
    command = ["caption", *source, "--model", EMBEDDED, "--output", str(output), "--shard-size", "4"]
    assert main([*command, "--batch-size", "4", *flags]) == DONE
    return output


Outcome = tuple[tuple, ...]


def outcomes(output: Path) -> list[list[Outcome]]:
    """What must be equal of the rows and failures of each source, in an order that does not depend on ids."""
    found: dict[str, list[Outcome]] = {}
    for row in ds.dataset(output / "captions").to_table().to_pylist():
        alternatives = tuple(item["caption"] for item in row["alternatives"])
        facts = (row["sha256"], row["caption"], row["width"], row["height"], alternatives, row["score"])
        found.setdefault(source_of(row["id"]), []).append(facts)
    for row in ds.dataset(output / "failures").to_table().to_pylist():
        found.setdefault(source_of(row["id"]), []).append((row["stage"], row["error_type"]))
    return [sorted(rows, key=str) for rows in found.values()]


def source_of(id: str) -> str:
    return id.rpartition("::")[0] or os.path.dirname(id)


def assert_equal(first: list[Outcome], second: list[Outcome]) -> None:
    assert [row[:5] for row in first] == [row[:5] for row in second]
    assert [row[5:] for row in first] == [pytest.approx(row[5:], abs=1e-4) for row in second]


FAILED = [("decode", "EmptyFile"), ("decode", "NotAnImage")]


@pytest.mark.parametrize("sources", [archives, manifests])
def test_rows_are_equal(
    files: dict[str, bytes], tmp_path: Path, sources: Callable[[Path, dict[str, bytes]], list[str]]
) -> None:
    (tmp_path / "loose").mkdir()
    [expected] = outcomes(caption(tmp_path / "loose", ["--images", loose(tmp_path / "loose", files)]))
    assert len(expected) == len(files)
    assert [row for row in expected if len(row) == 2] == FAILED
    found = outcomes(caption(tmp_path, sources(tmp_path, files)))
    assert len(found) == 4
    for one in found:
        assert_equal(one, expected)


def test_a_mended_archive_is_done_again_where_it_failed(files: dict[str, bytes], tmp_path: Path) -> None:
    path = Path(write_archive(tmp_path / "stored.zip", files))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for name in list(files)[:2]:
        damaged[whole.index(files[name]) + 500] ^= 0xFF
    path.write_bytes(damaged)
    [found] = outcomes(caption(tmp_path, ["--images", str(path)]))
    assert [row for row in found if len(row) == 2] == [*FAILED, *[("read", "UnreadableMemberError")] * 2]
    path.write_bytes(whole)
    output = caption(tmp_path, ["--images", str(path)], "--retry-failed")
    [found] = outcomes(output)
    assert len(found) == len(files)
    assert [row for row in found if len(row) == 2] == FAILED
    assert main(["verify", str(output)]) == DONE
