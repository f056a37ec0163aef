import csv
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.sources.members import UnreadableMemberError, read_reference
from beamscribe.pipelines.work.work_item import WorkItem
from tests.pipelines.made_corpora import image_table, write_archive, write_arrow, write_image_parquet


def ids(corpus):
    return [reference.id for reference in corpus.references]


def read(manifest, uri_column=None, id_column=None, limit=None):
    return read_manifests([manifest], Columns(uri_column, id_column), {}, limit)


def write_manifest(folder, content):
    path = folder / "list.txt"
    path.write_bytes(content)
    return str(path)


def test_manifest_paths_are_absolute_or_start_at_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    lines = [
        "a.jpg",
        "deep/b.jpg",
        "/elsewhere/c.jpg",
        "file:///there/d.jpg",
        "https://example.org/e.jpg?x=1",
        "~/f.jpg",
    ]
    manifest = write_manifest(tmp_path, "\n".join(lines).encode())
    expected = [
        f"file://{tmp_path}/a.jpg",
        f"file://{tmp_path}/deep/b.jpg",
        "file:///elsewhere/c.jpg",
        "file:///there/d.jpg",
        "https://example.org/e.jpg?x=1",
        "file:///home/someone/f.jpg",
    ]
    corpus = read(manifest)
    assert ids(corpus) == expected
    assert [reference.uri for reference in corpus.references] == expected
    assert read(manifest, limit=2).references == corpus.references[:2]


def test_manifest_given_relatively(tmp_path, monkeypatch):
    write_manifest(tmp_path, b"a.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert ids(read("list.txt")) == [f"file://{tmp_path}/a.jpg"]


def test_remote_manifest(memory):
    memory.write("lists/today.txt", b"a.jpg\nmemory://other/b.jpg\n")
    assert ids(read(memory.uri("lists/today.txt"))) == [
        memory.uri("lists/a.jpg"),
        "memory:///other/b.jpg",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg\nb b.jpg",
        b"a.jpg\nb b.jpg\n",
        b"\n\na.jpg\n   \n\tb b.jpg\n\n",
        b"a.jpg\r\nb b.jpg\r\n",
        b" a.jpg \n b b.jpg ",
    ],
)
def test_manifest_lines(tmp_path, content):
    corpus = read(write_manifest(tmp_path, content))
    assert ids(corpus) == [f"file://{tmp_path}/a.jpg", f"file://{tmp_path}/b b.jpg"]


def test_manifest_repeats_count_once(tmp_path):
    corpus = read(write_manifest(tmp_path, f"a.jpg\n{tmp_path}/a.jpg\na.jpg\nb.jpg".encode()))
    assert ids(corpus) == [f"file://{tmp_path}/a.jpg", f"file://{tmp_path}/b.jpg"]
    assert corpus.repeated == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\r\n", "is empty"),
        (b"caf\xe9.jpg\n", "not UTF-8"),
        (b"\xff\xd8\xff\xe0JFIF", "it is a JPEG image and no text"),
    ],
)
def test_manifest_that_is_none_is_refused(tmp_path, content, says):
    manifest = write_manifest(tmp_path, content)
    with pytest.raises(RefusedError, match=rf"list\.txt .*{says}"):
        read(manifest)


@pytest.mark.parametrize("manifest", ["missing.txt", "", "nosuch://bucket/list.txt"])
def test_manifest_that_cannot_be_read_is_refused(tmp_path, monkeypatch, manifest):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match="cannot be read"):
        read(manifest or str(tmp_path))


def test_manifest_with_a_byte_order_mark(tmp_path):
    assert ids(read(write_manifest(tmp_path, b"\xef\xbb\xbfa.jpg\n"))) == [f"file://{tmp_path}/a.jpg"]


def test_manifest_lines_end_at_line_feeds_alone(tmp_path):
    name = "a\u2028b\x85c.jpg"
    assert ids(read(write_manifest(tmp_path, name.encode() + b"\n"))) == [f"file://{tmp_path}/{name}"]


@pytest.mark.parametrize("line", ["./a.jpg", "deep/../a.jpg", "deep//../a.jpg"])
def test_manifest_paths_are_canonical(tmp_path, line):
    assert ids(read(write_manifest(tmp_path, f"a.jpg\n{line}\n".encode()))) == [f"file://{tmp_path}/a.jpg"]


@pytest.mark.parametrize(
    "line",
    ["nosuch://bucket/b.jpg", "htp://example.org/1", "ftp://example.org/1", "github://a:b@c/1", "zip://1::http://x/2"],
)
def test_a_line_of_a_protocol_that_files_may_not_name_fails_alone(tmp_path, monkeypatch, line):
    def connect(*_, **__):
        raise AssertionError("a listing must not make a filesystem of what a manifest names")

    monkeypatch.setattr("fsspec.implementations.ftp.FTPFileSystem.__init__", connect)
    corpus = read(write_manifest(tmp_path, f"a.jpg\n{line}\nHTTP://Example.org/B.jpg\n".encode()))
    assert ids(corpus) == [f"file://{tmp_path}/a.jpg", f"file://{tmp_path}/list.txt::1", "http://Example.org/B.jpg"]
    with pytest.raises(UnreadableMemberError, match="^line 2: "):
        read_reference(corpus.references[1], {})


FILES = {f"{name}.jpg": name.encode() * 100 for name in "abcdefg"}


def contents(corpus):
    return [read_reference(reference, {}) for reference in corpus.references]


@pytest.mark.slow
@pytest.mark.parametrize("row_group_size", [1, 3, 100])
def test_parquet_rows_that_hold_images(tmp_path, row_group_size):
    path = write_image_parquet(tmp_path / "train.parquet", FILES, row_group_size)
    corpus = read(path)
    assert ids(corpus) == [f"file://{path}::{row}" for row in range(7)]
    assert contents(corpus) == list(FILES.values())


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_rows_that_hold_images(tmp_path, stream):
    corpus = read(write_arrow(tmp_path / "train.arrow", image_table(FILES, ids=True), stream))
    assert ids(corpus) == [f"id-{name}" for name in FILES]
    assert contents(corpus) == list(FILES.values())


def test_a_binary_column_and_an_id_column(tmp_path):
    table = pa.table({"jpeg": pa.array(FILES.values(), pa.large_binary()), "key": pa.array(range(7))})
    pq.write_table(table, tmp_path / "t.parquet")
    corpus = read(str(tmp_path / "t.parquet"), id_column="key")
    assert ids(corpus) == ["0", "1", "2", "3", "4", "5", "6"]
    assert contents(corpus) == list(FILES.values())


def test_a_row_without_an_image_is_a_failure(tmp_path):
    pq.write_table(pa.table({"image": pa.array([b"x", None])}), tmp_path / "t.parquet")
    first, second = read(str(tmp_path / "t.parquet")).references
    assert read_reference(first, {}) == b"x"
    with pytest.raises(UnreadableMemberError, match="this row holds no image"):
        read_reference(second, {})


def test_a_damaged_row_group_costs_only_its_rows(tmp_path):
    path = tmp_path / "train.parquet"
    write_image_parquet(path, {f"{number}.jpg": os.urandom(3000) for number in range(9)})
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + 30] = b"\xff" * 30
    path.write_bytes(data)
    corpus = read(str(path))
    lost = []
    for place, reference in enumerate(corpus.references):
        try:
            read_reference(reference, {})
        except UnreadableMemberError:
            lost.append(place)
    assert lost == [3, 4, 5]


@pytest.mark.slow
def test_images_on_s3_in_parquet_and_zip(tmp_path, s3):
    parquet = s3.put("train.parquet", (tmp_path / write_image_parquet(tmp_path / "t.parquet", FILES)).read_bytes())
    archive = s3.put("photos.zip", (tmp_path / write_archive(tmp_path / "stored.zip", FILES)).read_bytes())
    rows = read_manifests([parquet], Columns(), s3.options).references
    members = list_images([archive], s3.options).references
    for found in (rows, members):
        assert [read_reference(reference, s3.options) for reference in found] == list(FILES.values())


TABLE = {"photo_id": ["7", "007", ""], "url": ["a.jpg", "https://example.org/b.jpg", "c.jpg"], "label": ["x", "y", "z"]}
ROWS = [dict(zip(TABLE, values, strict=True)) for values in zip(*TABLE.values(), strict=True)]


def as_csv(path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, TABLE)
        writer.writeheader()
        writer.writerows(ROWS)


def as_jsonl(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def as_parquet(path):
    pq.write_table(pa.table(TABLE), path, row_group_size=2)


def test_half_a_surrogate_pair_is_written_as_its_escape(tmp_path):
    manifest = tmp_path / "l.jsonl"
    manifest.write_text(r'{"uri": "caf\ud800.jpg", "id": "\udfff"}', encoding="ascii")
    (reference,) = read(str(manifest)).references
    assert reference == WorkItem(r"\udfff", f"file://{tmp_path}/caf" + r"\ud800.jpg")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("l.csv", as_csv), ("l.jsonl", as_jsonl), ("l.parquet", as_parquet)])
def test_tables_that_name_images(tmp_path, name, write):
    write(tmp_path / name)
    uris = [f"file://{tmp_path}/a.jpg", "https://example.org/b.jpg", f"file://{tmp_path}/c.jpg"]
    plain = read(str(tmp_path / name))
    assert ids(plain) == [reference.uri for reference in plain.references] == uris
    with_ids = read(str(tmp_path / name), "url", "photo_id")
    assert ids(with_ids) == ["7", "007", uris[2]]
    assert [reference.uri for reference in with_ids.references] == uris
    with pytest.raises(RefusedError, match=rf"{name}.*no column uri, only photo_id, url, label"):
        read(str(tmp_path / name), "uri")


def test_a_column_that_is_called_id_is_the_id(tmp_path):
    (tmp_path / "l.csv").write_text("id,uri\n1,a.jpg\n2,b.jpg\n1,a.jpg\n")
    corpus = read(str(tmp_path / "l.csv"))
    assert ids(corpus) == ["1", "2"]
    assert corpus.repeated == 1
    (tmp_path / "m.csv").write_text("id,uri\n2,c.jpg\n")
    with pytest.raises(RefusedError, match=r"the id 2 to different images, .*b\.jpg and .*c\.jpg: "):
        read_manifests([str(tmp_path / "l.csv"), str(tmp_path / "m.csv")], Columns(), {})


def test_a_row_without_a_uri_is_a_failure(tmp_path):
    (tmp_path / "l.csv").write_text("id,uri\n1,a.jpg\n2,\n,\n")
    corpus = read(str(tmp_path / "l.csv"))
    assert ids(corpus) == ["1", "2", f"file://{tmp_path}/l.csv::2"]
    with pytest.raises(UnreadableMemberError, match="line 3 has no URI"):
        read_reference(corpus.references[1], {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.csv", b"", "is empty"),
        ("l.csv", b"a,b\n1,2\n", "which of its columns holds URIs.*one of a, b"),
        ("l.jsonl", b'{"uri": "a.jpg"\n', "cannot be read"),
        ("l.jsonl", b'["a.jpg"]\n', "no JSON object"),
        ("l.parquet", b"PAR1 not", "cannot be read"),
        ("l.arrow", b"not", "cannot be read"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RefusedError, match=rf"{name}.*{says}"):
        read(str(tmp_path / name))


def test_several_manifests_and_globs(tmp_path):
    for name in "ab":
        write_image_parquet(tmp_path / f"{name}.parquet", {f"{name}.jpg": name.encode()})
    (tmp_path / "list.txt").write_text("c.jpg\n")
    corpus = read_manifests([f"{tmp_path}/*.parquet", f"{tmp_path}/list.txt"], Columns(), {})
    assert ids(corpus) == [f"file://{tmp_path}/{name}" for name in ("a.parquet::0", "b.parquet::0", "c.jpg")]


def test_a_pattern_that_names_nothing_is_refused(tmp_path):
    for source in (f"{tmp_path}/no-such-*.parquet", f"{tmp_path}/*.csv"):
        with pytest.raises(RefusedError, match="names no file"):
            read(source)


@pytest.mark.slow
def test_tables_without_rows(tmp_path):
    (tmp_path / "a.csv").write_text("uri\n")
    pq.write_table(pa.table({"uri": pa.array([], pa.string())}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text("")
    empty = [f"{tmp_path}/{name}" for name in ("a.csv", "b.parquet", "c.txt")]
    for sources in (*([one] for one in empty), empty):
        with pytest.raises(RefusedError, match="empty"):
            read_manifests(sources, Columns(), {})
    (tmp_path / "d.jsonl").write_text('{"uri": "a.jpg"}')
    assert ids(read_manifests([*empty, f"{tmp_path}/d.jsonl"], Columns(), {})) == [f"file://{tmp_path}/a.jpg"]


@pytest.mark.parametrize("name", ["l.csv.gz", "l.jsonl.zst", "l.zip", "l.tar"])
def test_a_compressed_manifest_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(RefusedError, match="is compressed"):
        read(str(tmp_path / name))


@pytest.mark.slow
def test_rows_without_a_uri_have_ids_of_their_own_in_every_row_group(tmp_path):
    uris = [None, None, "a.jpg", None]
    pq.write_table(pa.table({"uri": uris}), tmp_path / "t.parquet", row_group_size=2)
    corpus = read(str(tmp_path / "t.parquet"))
    path = f"file://{tmp_path}/t.parquet"
    assert ids(corpus) == [f"{path}::0", f"{path}::1", f"file://{tmp_path}/a.jpg", f"{path}::3"]
    assert (corpus.repeated, corpus.listed) == (0, 4)


@pytest.mark.slow
def test_bytes_that_are_null_leave_the_path(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"b")
    rows = [{"bytes": b"a", "path": "no.jpg"}, {"bytes": None, "path": "b.jpg"}, {"bytes": None, "path": None}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([*rows, {"bytes": None, "path": "ftp://x/y"}], kind)})
    pq.write_table(table, tmp_path / "t.parquet")
    for path in (str(tmp_path / "t.parquet"), write_arrow(tmp_path / "t.arrow", table, stream=True)):
        corpus = read(path)
        assert ids(corpus) == [
            f"file://{path}::0",
            f"file://{tmp_path}/b.jpg",
            f"file://{path}::2",
            f"file://{path}::3",
        ]
        assert [read_reference(one, {}) for one in corpus.references[:2]] == [b"a", b"b"]
        for place, says in ((2, "row 2 holds no image"), (3, "row 3: .*may not name the protocol ftp")):
            with pytest.raises(UnreadableMemberError, match=says):
                read_reference(corpus.references[place], {})


def test_a_zero_byte_costs_its_row(tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes(FILES[name])
    (tmp_path / "l.txt").write_bytes(b"a.jpg\nb\0.jpg\nc.jpg\n")
    references = read(str(tmp_path / "l.txt")).references
    assert [one.uri.rpartition("/")[2] for one in references] == ["a.jpg", "b\0.jpg", "c.jpg"]
    assert [read_reference(references[place], {}) for place in (0, 2)] == [FILES["a.jpg"], FILES["c.jpg"]]
    with pytest.raises(ValueError, match="null byte"):
        read_reference(references[1], {})


@pytest.mark.slow
def test_of_a_column_and_a_field_of_one_name_the_column_is_read(tmp_path):
    table = pa.table({"data.image": [b"a", b"b"], "data": pa.array([{"image": b"c"}, {"image": b"d"}])})
    pq.write_table(table, tmp_path / "t.parquet")
    for path in (str(tmp_path / "t.parquet"), write_arrow(tmp_path / "t.arrow", table, stream=True)):
        assert [read_reference(one, {}) for one in read(path).references] == [b"a", b"b"]


def test_a_damaged_arrow_file_costs_what_is_damaged(tmp_path):
    path = tmp_path / "t.arrow"
    write_arrow(path, pa.table({"image": list(FILES.values())}), stream=False)
    whole = path.read_bytes()
    offsets = (0).to_bytes(4, "little") + (100).to_bytes(4, "little") + (200).to_bytes(4, "little")
    place = whole.index(offsets)
    path.write_bytes(whole[: place + 8] + (2**31 - 1).to_bytes(4, "little") + whole[place + 12 :])
    corpus = read(str(path))
    assert len(corpus.references) == 7
    assert read_reference(corpus.references[0], {}) == FILES["a.jpg"]
    with pytest.raises(UnreadableMemberError, match="out of bounds|Offset"):
        read_reference(corpus.references[1], {})
    assert contents(corpus._replace(references=corpus.references[2:])) == list(FILES.values())[2:]


def test_a_table_that_ends_early_is_listed_as_far_as_it_goes(tmp_path):
    path = tmp_path / "t.arrow"
    write_arrow(path, pa.table({"image": list(FILES.values())}), stream=True)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(FILES["c.jpg"]) + 50])
    corpus = read(str(path))
    assert ids(corpus) == [f"file://{path}::0", f"file://{path}::1", f"file://{path}"]
    with pytest.raises(UnreadableMemberError, match="the table is damaged; 2 rows of it could be listed"):
        read_reference(corpus.references[2], {})
