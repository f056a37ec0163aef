import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.speech.captioned import images_a_shard, is_spread, list_captions, spread
from beamscribe.pipelines.work.shards import bucket_name, shard_name
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.output_reader import MANIFEST
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import START, caption, reference, run_of
from tests.pipelines.test_speak import TEXTS, write_captions


def corpus_of(*texts):
    return distinct(WorkItem(str(id), f"u{id}", text=text, group=text) for id, text in enumerate(texts))


def test_lists_captions_in_groups_of_one_text(tmp_path):
    captions = write_captions(tmp_path / "c", TEXTS)
    write_captions(captions, {"1": "Another.", "5": "Zwo\u0308lf  Katzen."}, file="2")
    corpus = list_captions(captions, {}, None)
    assert [(item.id, item.text, item.group) for item in corpus.references] == [
        ("1", "A cat sits.", "A cat sits."),
        ("2", "Two dogs run.", "Two dogs run."),
        ("3", "A cat sits.", "A cat sits."),
        ("4", "A bird.", "A bird."),
        ("1#2", "Another.", "Another."),
        ("5", "Zwo\u0308lf  Katzen.", "Zw\u00f6lf Katzen."),
    ]
    assert corpus.repeated == 0
    assert len(list_captions(captions, {}, 2).references) == 3


def test_in_an_output_an_id_is_one_image_and_its_newest_caption(tmp_path):
    captions = write_captions(tmp_path / "c", TEXTS)
    output = Storage(captions)
    manifest = Manifest("caption", Fingerprint({}), ["another"], {}, 4, 0, {}, 4, 1, START.isoformat())
    output.write(MANIFEST, manifest.to_json().encode())
    row = caption(reference("1"), "oil", run_of(output, "another"))._replace(caption="Another.")
    output.write("captions/2.parquet", CAPTIONS.encode([row]))
    corpus = list_captions(captions, {}, None)
    assert {item.id: item.text for item in corpus.references} == {**TEXTS, "1": "Another."}
    assert corpus.repeated == 1


@pytest.mark.slow
def test_all_captions_of_others_are_spoken_whoever_shares_an_id(tmp_path):
    for name, uris in (("0", "ab"), ("1", "cd")):
        table = pa.table({"id": [0, 1], "image_uri": list(uris), "caption": [f"of {uri}" for uri in uris]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    several = pa.table({"image_uri": ["e"] * 6, "caption": [*(f"what {n} wrote" for n in range(5)), "what 1 wrote"]})
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(several, tmp_path / "elsewhere" / "blob")
    os.symlink("elsewhere/blob", tmp_path / "2.parquet")
    expected = [("0", "a", "of a"), ("1", "b", "of b"), ("0#2", "c", "of c"), ("1#2", "d", "of d")]
    expected += [(f"e#{n + 1}" if n else "e", "e", f"what {n} wrote") for n in range(5)]
    assert listed(tmp_path) == listed(tmp_path / "*.parquet") == expected
    assert list_captions(str(tmp_path), {}, None).repeated == 1
    pq.write_table(pa.table({"id": ["0#2"], "image_uri": ["z"], "caption": ["z"]}), tmp_path / "3.parquet")
    with pytest.raises(RefusedError, match="several captions of the id 0, and one of the id 0#2"):
        listed(tmp_path)


FOREIGN = pa.table(
    {
        "score": [1, 2],
        "fingerprint": [1, 2],
        "caption": ["A cat.", None],
        "image_uri": ["s3://b/1.jpg", "s3://b/2.jpg"],
    }
)
EXPECTED = [("s3://b/1.jpg", "s3://b/1.jpg", "A cat."), ("s3://b/2.jpg", "s3://b/2.jpg", "")]


def listed(path):
    return [(item.id, item.uri, item.text) for item in list_captions(str(path), {}, None).references]


@pytest.mark.slow
@pytest.mark.parametrize("named", ["", "theirs.parquet", "*.parquet", "th??rs*"])
def test_any_parquet_with_the_two_columns_will_do(tmp_path, named):
    pq.write_table(FOREIGN, tmp_path / "theirs.parquet")
    (tmp_path / "README.md").write_text("theirs")
    assert listed(tmp_path / named) == EXPECTED


def test_several_files_and_their_ids(tmp_path):
    for name, ids in (("b", ["3", None]), ("a", ["1", "2"])):
        columns = {"id": ids, "image_uri": [f"{name}1", f"{name}2"], "caption": ["x", "y"]}
        table = pa.table(columns, schema=pa.schema([(column, pa.large_string()) for column in columns]))
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert [item[0] for item in listed(tmp_path)] == ["1", "2", "3", "b2"]


@pytest.mark.slow
def test_parquet_elsewhere(memory):
    sink = pa.BufferOutputStream()
    pq.write_table(FOREIGN, sink)
    memory.write("deep/theirs.parquet", sink.getvalue().to_pybytes())
    for named in ("deep", "deep/theirs.parquet", "*/*.parquet"):
        assert listed(memory.uri(named)) == EXPECTED


caption_row_like = pa.schema([("image_uri", pa.string()), ("caption", pa.string())])


def test_every_type_of_text_and_ids(tmp_path):
    table = pa.table(
        {
            "id": pa.array([7.0, float("nan"), None, 3.0]),
            "image_uri": pa.array(["a", "b", "c", None]).dictionary_encode(),
            "caption": pa.array(["one", "two", b"\xff", "four"], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "theirs.parquet")
    corpus = list_captions(str(tmp_path), {}, None)
    assert [(item.id, item.uri, item.text) for item in corpus.references] == [
        ("7", "a", "one"),
        ("b", "b", "two"),
        ("c", "c", ""),
    ]
    assert corpus.skipped == {"no image_uri": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"image_uri": ["1"]}), "has no column caption"),
        (pa.table({"caption": ["1"], "id": ["1"]}), "has no column image_uri"),
        (pa.table({"image_uri": [None], "caption": ["x"]}), "has no rows that name an image"),
        (pa.table({"image_uri": ["u"], "caption": [["x"]]}), "column caption is list.*, not text"),
        (pa.table({"image_uri": ["u"], "caption": [1.5]}), "column caption is double, not text"),
        (pa.table({"image_uri": ["u"], "caption": ["x"], "id": [["x"]]}), "column id is list.*, which is no id"),
        (pa.table([["u"], ["x"], ["y"]], ["image_uri", "caption", "caption"]), "more than one column .* caption"),
        (pa.table({"image_uri": ["u"][:0], "caption": ["x"][:0]}, caption_row_like), "has no rows"),
    ],
)
def test_parquet_of_something_else_is_refused(tmp_path, table, says):
    pq.write_table(table, tmp_path / "theirs.parquet")
    with pytest.raises(RefusedError, match=says):
        listed(tmp_path)


def test_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1, they said")
    with pytest.raises(RefusedError, match=r"a\.parquet cannot be read"):
        listed(tmp_path)
    os.unlink(tmp_path / "a.parquet")
    for named in ("", "*.parquet", "a.parquet"):
        with pytest.raises(RefusedError, match="names no captions"):
            listed(tmp_path / named)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "texts", "texts_a_shard", "expected"),
    [
        (1000, 1000, 256, 256),  # a text each: as for every job
        (2000, 1000, 256, 512),
        (20_000, 500, 256, 10_240),
        (20_000, 10, 4, 256),  # 64 images a text at most
        (1, 1, 256, 256),
    ],
)
def test_a_shard_has_so_many_texts(images, texts, texts_a_shard, expected):
    assert images_a_shard(corpus_of(*(str(number % texts) for number in range(images))), texts_a_shard) == expected


def test_an_empty_corpus_has_a_shard_size_too():
    assert images_a_shard(distinct(()), 256) == 256


def test_the_images_of_a_text_that_has_very_many_are_parted():
    corpus = corpus_of(*["A dog."] * 300, *["A cat."] * 9, "A bird.")
    parted, spreads = spread(corpus, 10)
    assert spreads
    assert [is_spread(item) for item in parted.references] == [True] * 300 + [False] * 10
    assert [item._replace(part=None) for item in parted.references] == list(corpus.references)
    assert list(WorkItems.of(parted.references)) == list(parted.references)
    by_shard = {}
    for item in parted.references:
        by_shard.setdefault(shard_name(item, 32, 10), []).append(item)
    assert max(map(len, by_shard.values())) < 50
    assert len({shard_name(item, 32, 10) for item in parted.references if item.text == "A cat."}) == 1
    # Outputs of version 0.1 go on in the same shards.
    first = parted.references[0]
    assert shard_name(first, 32, 10) == bucket_name(f"{first.group} {first.part}", 32)


def test_a_stored_item_of_an_earlier_version_is_read() -> None:
    stored = ["7", "file:///7.jpg", "", [], "A dog.", "", "A dog. 3", None]
    assert WorkItem.from_json(stored) == WorkItem("7", "file:///7.jpg", text="A dog.", group="A dog. 3")
    assert WorkItem.from_json([*stored, 3]).part == 3
    with pytest.raises(TypeError, match="part"):
        WorkItem.from_json([*stored, "3"])


def test_nothing_is_parted_without_need():
    corpus = corpus_of(*["A dog."] * 10, "A cat.")
    assert spread(corpus, 10) == (corpus, False)
