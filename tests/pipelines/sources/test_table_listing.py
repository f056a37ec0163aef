"""Rows of a table as members of a container: which items they are, under which ids."""

import json

import pytest

from beamscribe.pipelines.sources.archive_listing import Inside
from beamscribe.pipelines.sources.columns import BYTES, IMAGE, TEXT, Column, Columns
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.sources.slice_listing import SliceListing
from beamscribe.pipelines.sources.table_listing import AskedRows, TableListing, insides_of
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.pipelines.work.work_item import PARQUET, TAR, UNREADABLE, Member, WorkItem

URI = "s3://bucket/in/t.parquet"
INSIDE = AskedRows(Columns(None, None), allow_http=False).to_inside()


def held(id: str = "", row: int = 0) -> Inside:
    return Inside(id, Member(PARQUET, 0, 0, row, "image"))


def named(name: str, id: str = "") -> Inside:
    return Inside(id, Link(id, name, symbolic=True))


def ids_of(*rows: Inside, inside: str = INSIDE) -> list[str]:
    listing = TableListing(URI, inside, "v")
    found = [listing.next(row) for row in rows]
    return [item.id for item in (*found, *listing.links()) if item]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([held(), held()], [f"{URI}::0", f"{URI}::1"]),
        ([held("a"), held(""), held("a"), held("a")], ["a", f"{URI}::1", "a#2", "a#3"]),
        ([held("a#2"), held("a"), held("a")], ["a#2", "a", "a#3"]),
        # Ids that are told from places of other rows.
        ([held(), held(f"{URI}::0")], [f"{URI}::0", f"{URI}::0#2"]),
        ([held(f"{URI}::1"), held()], [f"{URI}::1", f"{URI}::1#2"]),
        ([held("x"), held(f"{URI}::0")], ["x", f"{URI}::0"]),
        ([held(f"{URI}::0"), held(f"{URI}::00"), held(f"{URI}::٠")], [f"{URI}::0", f"{URI}::00", f"{URI}::٠"]),
        # Files that rows name come last; the same file is a repeat.
        ([named("b.jpg"), held(), named("b.jpg")], [f"{URI}::1", *2 * ["s3://bucket/in/b.jpg"]]),
        ([named("b.jpg", "7"), held("7"), named("b.jpg", "7"), named("c.jpg", "7")], ["7", "7#2", "7#2", "7#3"]),
    ],
)
def test_ids(rows: list[Inside], expected: list[str]) -> None:
    assert ids_of(*rows) == expected


def test_items() -> None:
    listing = TableListing(URI, INSIDE, "v")
    member = Member(PARQUET, 0, 0, 0, "image", version="v")
    assert listing.next(held("a")) == WorkItem("a", f"{URI}::0", container=URI, member=member)
    unreadable = Inside("b", Member(UNREADABLE, 0, detail="row 1: it is a pity"))
    assert listing.next(unreadable) == WorkItem("b", URI, member=Member(UNREADABLE, 1, detail="row 1: it is a pity"))
    assert listing.next(named("../x.jpg", "c")) is None
    assert listing.next(named("https://x.org/1.jpg")) is None
    file, web = listing.links()
    assert file == WorkItem("c", "s3://bucket/x.jpg")
    assert (web.id, web.uri) == (f"{URI}::3", URI)
    assert web.member
    assert web.member.detail.startswith("row 3: https://x.org/1.jpg is on the web")
    damage = listing.damage("no end")
    assert damage.member
    assert damage.member.detail == "the table is damaged; 4 rows of it could be listed: no end"


def test_rows_of_parts() -> None:
    column = Column(("image",), IMAGE)
    part = Part(2, 10, 4, ["a", "", "", "d"], [None, "x.jpg", "", None], {3: "it is a pity"})
    assert list(insides_of(column, part, 30)) == [
        Inside("a", Member(PARQUET, 0, 2, 10, "image")),
        named("x.jpg"),
        Inside("", Member(UNREADABLE, 0, detail="row 32 holds no image")),
        Inside("d", Member(UNREADABLE, 0, detail="row 33: it is a pity")),
    ]
    [one] = insides_of(Column(("url",), TEXT), Part(0, 0, 1, None, [""]), 0)
    assert isinstance(one.what, Member)
    assert one.what.detail == "row 0 has no URI"
    lost = list(insides_of(Column(("jpg",), BYTES), Part(0, 0, 2, damage="gone"), 5))
    assert [one.what.detail for one in lost if isinstance(one.what, Member)] == ["row 5: gone", "row 6: gone"]


def test_what_is_asked_for_is_read_back_and_tells_containers_apart() -> None:
    asked = [
        AskedRows(Columns(uri, id), web) for uri in (None, "image") for id in (None, "", "key") for web in (True, False)
    ]
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
    rows = (held("a", 3), named("x.jpg", "é"), Inside("", Member(UNREADABLE, 0, detail="row 2: no")))
    one = SliceListing(0, 0, 3, rows, last=True)
    assert SliceListing.from_json(one.to_json(Container(URI, PARQUET, 1, "v", INSIDE)), "it") == one


@pytest.mark.parametrize("inside", ["", "deep/*.jpg", "[]", "{}", "null", '{"uri": 1, "id": null, "web": true}'])
def test_what_does_not_say_which_columns(inside: str) -> None:
    with pytest.raises(ValueError, match=r"it says nothing of the columns of a table|Expecting value"):
        TableListing(URI, inside, "v")
