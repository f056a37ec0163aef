"""Points at which a worker begins again are stored, and are not used where they are damaged or too far on."""

import json

import pytest

from beamscribe.pipelines.sources import gzip_blocks
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.restarts import Restarts
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR, PARQUET, TAR
from beamscribe.storage.storage import Storage

pytestmark = pytest.mark.skipif(gzip_blocks.library() is None, reason="this machine has no zlib that can be loaded")

CONTAINER = Container("file:///a.tar.gz", INFLATED_TAR, 5000, "v")
POINTS = [Point(number * 90, 3, 255, number * 100, number * 100, 7, bytes(range(256))) for number in range(1, 5)]


@pytest.fixture
def stored(memory: Storage) -> Storage:
    """An output with the points of the slices 1 and 2, which begin at bytes 150 and 299."""
    restarts = Restarts(CONTAINER, memory)
    for point in POINTS:
        restarts.note(point)
    restarts.store(1, 150)
    restarts.store(2, 299)
    return memory


@pytest.mark.parametrize(
    ("number", "begins", "expected"),
    [(0, 0, None), (1, 150, POINTS[0]), (2, 299, POINTS[1]), (2, 199, None), (3, 400, None)],
    ids=["first slice", "second", "third", "begins before the point", "not stored"],
)
def test_a_slice_has_its_point(stored: Storage, number: int, begins: int, expected: Point | None) -> None:
    assert Restarts(CONTAINER, stored).load(number, begins) == expected


def test_of_the_points_that_are_passed_one_is_held() -> None:
    restarts = Restarts(CONTAINER, Storage("/none"))
    for number in range(10_000):
        restarts.note(POINTS[0]._replace(inflated=100 * number))
        restarts.passed(100 * number + 50)
        assert len(restarts._points) == 1


@pytest.mark.parametrize(
    "other",
    [CONTAINER._replace(version="w"), CONTAINER._replace(uri="file:///b.tar.gz"), CONTAINER._replace(inside="x/*")],
    ids=["version", "uri", "inside"],
)
def test_another_container_has_it_not(stored: Storage, other: Container) -> None:
    assert Restarts(other, stored).load(2, 299) is None


def test_the_point_of_a_slice_that_is_committed_is_deleted(stored: Storage) -> None:
    restarts = Restarts(CONTAINER, stored)
    restarts.load(2, 299)
    restarts.drop(2)
    assert not stored.files(FOLDER)


@pytest.mark.parametrize("field", [*Point._fields, "schema_version", "sha256"])
def test_a_damaged_point_is_none(stored: Storage, field: str) -> None:
    name = stored.files(FOLDER)[1].name
    fields = json.loads(stored.read(name))
    changed = "AAAA" if isinstance(fields[field], str) else fields[field] + 1
    for damaged in ({**fields, field: changed}, {**fields, field: None}):
        stored.write(name, json.dumps(damaged).encode())
        assert Restarts(CONTAINER, stored).load(2, 299) is None
    stored.write(name, b"{")
    assert Restarts(CONTAINER, stored).load(2, 299) is None


def test_nothing_is_stored_of_a_tar_that_is_not_compressed(memory: Storage) -> None:
    restarts = Restarts(CONTAINER._replace(uri="file:///a.tar", kind=TAR), memory)
    restarts.store(1, 150)
    assert restarts.load(1, 150) is None
    assert not memory.files(FOLDER)


def test_of_a_table_rows_are_stored(memory: Storage) -> None:
    table = Container("s3://a/b.parquet", PARQUET, 5000, "v")
    places = [Place(row, 900 * row, 7, 800, 5900, 100 - row, 6000) for row in range(20)]
    restarts = Restarts(table, memory)
    for place in places:
        restarts.note(place)
    restarts.store(1, 12)
    assert Restarts(table, memory).load(1, 12) == places[12]
    assert Restarts(table, memory).load(1, 11) is None
    assert Restarts(CONTAINER, memory).load(1, 12) is None
    name = memory.files(FOLDER)[0].name
    memory.write(name, memory.read(name).replace(b'"skip": 7', b'"skip": 8'))
    assert Restarts(table, memory).load(1, 12) is None
