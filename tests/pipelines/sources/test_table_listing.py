"""Rows of a table as members of a container: which items they are, under which ids."""

import json

import pytest

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.columns import BYTES, IMAGE, TEXT, Column
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.sources.slice_listing import SliceListing
from beamscribe.pipelines.sources.table_listing import AskedRows, TableListing, insides_of
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.pipelines.work.work_item import PARQUET, TAR, UNREADABLE, Member, WorkItem

URI = "s3://bucket/in/t.parquet"
INSIDE = AskedRows(None, allow_http=False).to_inside()


def held(row: int = 0) -> Inside:
    return Inside("", Member(PARQUET, 0, 0, row, "image"))


def named(name: str) -> Inside:
    return Inside("", Link("", name, symbolic=True))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([held(), held()], [0, 1]),
        # Files that rows name come last, each of them an image of its own.
        ([named("b.jpg"), held(), named("b.jpg")], [1, 0, 2]),
        ([], []),
    ],
)
def test_ids(rows: list[Inside], expected: list[int]) -> None:
    listing = TableListing(URI, INSIDE, "v")
    found = [listing.next(row) for row in rows]
    assert [item.id for item in (*found, *listing.links()) if item] == [f"{URI}::{place}" for place in expected]


def test_items() -> None:
    listing = TableListing(URI, INSIDE, "v")
    member = Member(PARQUET, 0, 0, 0, "image", version="v")
    assert listing.next(held()) == WorkItem(f"{URI}::0", f"{URI}::0", container=URI, member=member)
    failing = WorkItem(f"{URI}::1", URI, member=Member(UNREADABLE, 1, detail="row 1: it is a pity"))
    assert listing.next(Inside("", Member(UNREADABLE, 0, detail="row 1: it is a pity"))) == failing
    assert listing.next(named("../x.jpg")) is None
    assert listing.next(named("https://x.org/1.jpg")) is None
    file, web = listing.links()
    assert file == WorkItem(f"{URI}::2", "s3://bucket/x.jpg")
    assert (web.id, web.uri) == (f"{URI}::3", URI)
    assert web.member
    assert web.member.detail.startswith("row 3: https://x.org/1.jpg is on the web")
    damage = listing.damage("no end")
    assert damage.member
    assert damage.member.detail == "the table is damaged; 4 rows of it could be listed: no end"


def test_rows_of_parts() -> None:
    column = Column(("image",), IMAGE)
    part = Part(2, 10, 4, None, [None, "x.jpg", "", None], {3: "it is a pity"})
    assert list(insides_of(column, part, 30)) == [
        Inside("", Member(PARQUET, 0, 2, 10, "image")),
        named("x.jpg"),
        Inside("", Member(UNREADABLE, 0, detail="row 32 holds no image")),
        Inside("", Member(UNREADABLE, 0, detail="row 33: it is a pity")),
    ]
    [one] = insides_of(Column(("url",), TEXT), Part(0, 0, 1, None, [""]), 0)
    assert isinstance(one.what, Member)
    assert one.what.detail == "row 0 has no URI"
    lost = list(insides_of(Column(("jpg",), BYTES), Part(0, 0, 2, damage="gone"), 5))
    assert [one.what.detail for one in lost if isinstance(one.what, Member)] == ["row 5: gone", "row 6: gone"]


def test_what_is_asked_for_is_read_back_and_tells_containers_apart() -> None:
    asked = [AskedRows(column, web) for column in (None, "image") for web in (True, False)]
    containers = [Container(URI, PARQUET, 1, "v", one.to_inside()) for one in asked]
    assert [AskedRows.of_inside(one.inside) for one in containers] == asked
    assert len({one.asked for one in containers}) == len(asked)
    assert len({one.name for one in containers}) == 1
    assert Container.from_json(json.loads(json.dumps(containers[0]))) == containers[0]
    assert (noun_of(containers), noun_of([]), noun_of([containers[0]._replace(kind=TAR)])) == (
        "table",
        *2 * ["archive"],
    )


def test_slices_keep_rows() -> None:
    rows = (held(3), named("é.jpg"), Inside("", Member(UNREADABLE, 0, detail="row 2: no")))
    one = SliceListing(0, 0, 3, rows, last=True)
    assert SliceListing.from_json(one.to_json(Container(URI, PARQUET, 1, "v", INSIDE)), "it") == one


@pytest.mark.parametrize("inside", ["", "deep/*.jpg", "[]", "{}", "null", '{"column": 1, "web": true}'])
def test_what_does_not_say_which_columns(inside: str) -> None:
    with pytest.raises(ValueError, match=r"it says nothing of the columns of a table|Expecting value"):
        TableListing(URI, inside, "v")
