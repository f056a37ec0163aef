"""The stored work items of the latest run: Parquet that any program reads, and the JSON of earlier versions."""

import io
import json

import pyarrow.parquet as pq
import pytest

from beamscribe.pipelines.commits import stored_corpus
from beamscribe.pipelines.commits.stored_corpus import read_corpus, read_ids, read_items, write_corpus
from beamscribe.pipelines.work.work_item import Besides, Member, WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.coco import CocoCaption
from beamscribe.schemas.corpus_item import FOLDER
from beamscribe.storage.storage import Storage

ITEMS = [
    WorkItem(
        "1", "file:///a.jpg", "a.jpg", (CocoCaption(-3, "Zwölf\u2028\U0001f408"), CocoCaption(4, "b")), "t", "c", "g"
    ),
    WorkItem("file:///caf\\udce9.jpg", "a", container="a", member=Member("tar", 7, 512, 9, "x"), part=2),
    WorkItem("é", "é"),
]


@pytest.fixture
def output(memory: Storage) -> Storage:
    return memory


def numbered(count: int) -> list[WorkItem]:
    return [WorkItem(f"file:///{number}.jpg", f"file:///{number}.jpg") for number in range(count)]


def names(output: Storage) -> list[str]:
    return [entry.name for entry in output.files(FOLDER)]


@pytest.mark.parametrize("pack", [list, WorkItems.of])
def test_work_items_come_back(output: Storage, pack) -> None:
    write_corpus(output, pack(ITEMS))
    found = list(read_corpus(output))
    assert found == ITEMS
    assert isinstance(found[0].captions[0], CocoCaption)
    assert isinstance(found[1].member, Member)
    assert read_ids(output).to_pylist() == [item.id for item in ITEMS]


def test_other_programs_read_ids_and_uris(output: Storage) -> None:
    write_corpus(output, ITEMS)
    [name] = names(output)
    table = pq.read_table(io.BytesIO(output.read(name)))
    assert table.select(["id", "uri"]).to_pylist() == [{"id": item.id, "uri": item.uri} for item in ITEMS]
    assert table["more"][2].as_py() is None
    assert json.loads(table["more"][1].as_py())[3] == "a"


def test_what_is_for_workers_and_the_launcher_alone_is_not_stored(output: Storage) -> None:
    secret = WorkItem("u", "u", "n", query="?sig=7", beside=(Besides("json", 1, 2),), kept=5)
    write_corpus(output, [secret, WorkItem("v", "v", query="?sig=8", kept=6)])
    [name] = names(output)
    assert b"sig" not in b"".join(str(row).encode() for row in pq.read_table(io.BytesIO(output.read(name))).to_pylist())
    assert list(read_corpus(output)) == [WorkItem("u", "u", "n"), WorkItem("v", "v")]


def test_a_large_corpus_has_parts_and_a_smaller_one_leaves_none_behind(
    output: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_corpus, "PART_SIZE", 100)
    many = numbered(201)
    write_corpus(output, WorkItems.of(many))
    assert [len(read_items(output, name)) for name in names(output)] == [100, 100, 1]
    assert list(read_corpus(output)) == many
    write_corpus(output, many[:3])
    assert len(names(output)) == 1
    write_corpus(output, [])
    assert names(output) == []


def test_parts_of_earlier_versions_are_read_and_replaced(output: Storage) -> None:
    old = [["é", "é", "", [], "", "", "", None, None], ["7", "u", "n", [[3, "A dog."]], "", "", "", None, None]]
    output.write(f"{FOLDER}/00000.json", json.dumps(old).encode())
    assert list(read_corpus(output)) == [WorkItem("é", "é"), WorkItem("7", "u", "n", (CocoCaption(3, "A dog."),))]
    assert read_ids(output).to_pylist() == ["é", "7"]
    write_corpus(output, ITEMS)
    assert list(read_corpus(output)) == ITEMS


def test_ids_count_once_while_another_corpus_is_written(output: Storage) -> None:
    write_corpus(output, numbered(3))
    [name] = names(output)
    output.write(name.replace("00000", "00001"), output.read(name))
    assert read_ids(output).to_pylist() == [item.id for item in numbered(3)]


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("json", b'[[7, "u"]]'),
        ("json", b"[" * 200_000),
        ("json", b"\xff"),
        ("parquet", b"PAR1"),
        ("parquet", b"[]"),
    ],
)
def test_damage_is_told(output: Storage, suffix: str, data: bytes) -> None:
    output.write(f"{FOLDER}/00000.{suffix}", data)
    for read in (read_ids, lambda output: list(read_corpus(output))):
        with pytest.raises(ValueError, match="is damaged|not readable Parquet"):
            read(output)
