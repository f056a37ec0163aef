"""Parquet and Arrow tables: every type, every nesting, and what is no table."""

import contextlib
import functools
import io
import itertools
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.pipelines.sources.columns import Column, ColumnError, Columns
from beamscribe.pipelines.sources.opened_table import open_table
from beamscribe.pipelines.sources.table_rows import LISTED_ROWS, Rows, described, list_rows
from beamscribe.pipelines.sources.tables import DamagedTableError

JPEG = [b"\xff\xd8\xff first", b"\xff\xd8\xff second, longer"]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LARGE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
VIEWS = pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])


class Picture(pa.ExtensionType):
    """An extension type that no reader knows."""

    def __init__(self, storage):
        super().__init__(storage, "test.picture")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls(storage)


def structs(kind, path=None):
    return pa.array([{"bytes": data, "path": path} for data in JPEG], kind)


IMAGES = {
    "binary": pa.array(JPEG),
    "large_binary": pa.array(JPEG, pa.large_binary()),
    "binary_view": pa.array(JPEG, pa.binary_view()),
    "fixed_size_binary": pa.array([data.ljust(30, b"\0") for data in JPEG], pa.binary(30)),
    "dictionary": pa.array(JPEG).dictionary_encode(),
    "list<uint8>": pa.array([list(data) for data in JPEG], pa.list_(pa.uint8())),
    "large_list<uint8>": pa.array([list(data) for data in JPEG], pa.large_list(pa.uint8())),
    "list_view<uint8>": pa.array([list(data) for data in JPEG], pa.list_view(pa.uint8())),
    "fixed_size_list<uint8>": pa.array([list(data.ljust(30, b"\0")) for data in JPEG], pa.list_(pa.uint8(), 30)),
    "list<binary>": pa.array([[data] for data in JPEG]),
    "extension": pa.ExtensionArray.from_storage(Picture(pa.binary()), pa.array(JPEG)),
    "extension of struct": pa.ExtensionArray.from_storage(Picture(STRUCT), structs(STRUCT)),
    "struct": structs(STRUCT),
    "struct with path": structs(STRUCT, "a.jpg"),
    "struct without path": pa.array([{"bytes": data} for data in JPEG]),
    "struct, large": structs(LARGE),
    "struct of views": structs(VIEWS),
    "list<struct>": pa.array([[{"bytes": data, "path": None}] for data in JPEG], pa.list_(STRUCT)),
}
NAMES = {
    "string": pa.array(["a.jpg", "b.jpg"]),
    "large_string": pa.array(["a.jpg", "b.jpg"], pa.large_string()),
    "string_view": pa.array(["a.jpg", "b.jpg"], pa.string_view()),
    "dictionary": pa.array(["a.jpg", "b.jpg"]).dictionary_encode(),
    "list<string>": pa.array([["a.jpg"], ["b.jpg"]]),
    "extension": pa.ExtensionArray.from_storage(Picture(pa.string()), pa.array(["a.jpg", "b.jpg"])),
    "struct of path": pa.array([{"path": "a.jpg"}, {"path": "b.jpg"}]),
    "struct of null bytes": pa.array([{"bytes": None, "path": name} for name in ("a.jpg", "b.jpg")], STRUCT),
    "struct of null": pa.array([{"bytes": None, "path": name} for name in ("a.jpg", "b.jpg")]),
    "list<struct>": pa.array([[{"bytes": None, "path": name}] for name in ("a.jpg", "b.jpg")], pa.list_(STRUCT)),
}


def some(data, position, size):
    return data[position : position + size]


def files(table):
    """The table as Parquet, Arrow file and Arrow stream, opened, in groups of one row."""
    sink = io.BytesIO()
    # Views cannot be written in small groups, and lists of views not at all.
    with contextlib.suppress(pa.ArrowNotImplementedError):
        pq.write_table(table, sink, row_group_size=1)
        yield open_table(functools.partial(some, sink.getvalue()), "t.parquet", len(sink.getvalue()))
    for new, compression in itertools.product((pa.ipc.new_file, pa.ipc.new_stream), (None, "zstd")):
        sink = io.BytesIO()
        with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=1)
        yield open_table(functools.partial(some, sink.getvalue()), "t.arrow", len(sink.getvalue()))


ANY = Columns()


def rows_of(table, columns=ANY):
    """Of each row: id, and image, name or problem."""
    column, *parts = list_rows(table, columns, 2**20)
    images = Rows(table, 2**20)
    found = []
    for part in parts:
        for row in range(part.rows):
            id = part.ids[row] if part.ids else ""
            problem = part.damage or part.problems.get(row)
            name = part.names[row] if part.names else None
            if problem is None and name is None:
                name = images.image(part.group, part.first + row, column.name)
            found.append((id, problem or name))
    return found


@pytest.mark.parametrize("name", ["image", "jpeg"])
@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_every_type(kind, name):
    for nested in (False, True):
        array = IMAGES[kind]
        table = pa.table({"label": [1, 2], name: array})
        if nested:
            if isinstance(array, pa.ExtensionArray) or pa.types.is_dictionary(array.type):
                continue
            table = pa.table(
                {"label": [1, 2], "data": pa.StructArray.from_arrays([array, pa.array([1, 2])], [name, "n"])}
            )
        for file in files(table):
            found = [data.rstrip(b"\0") for _, data in rows_of(file)]
            assert found == JPEG, (kind, nested, type(file))


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_every_type(kind):
    for file in files(pa.table({"image": NAMES[kind]})):
        assert [name for _, name in rows_of(file)] == ["a.jpg", "b.jpg"]


def test_each_row_is_what_it_is():
    rows = [
        {"bytes": JPEG[0], "path": "a.jpg"},
        {"bytes": None, "path": "b.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": None},
    ]
    for file in files(pa.table({"image": pa.array(rows, STRUCT)})):
        assert [name for _, name in rows_of(file)] == [JPEG[0], "b.jpg", "", "", b""]
    several = [[rows[0]], [], [rows[0], rows[1]], None]
    for file in files(pa.table({"image": pa.array(several, pa.list_(STRUCT))})):
        found = [name for _, name in rows_of(file)]
        assert found[0] == JPEG[0]
        assert "list of 0" in found[1]
        assert "list of 2" in found[2]
        assert found[3] == ""


UUIDS = [uuid.UUID(int=1), uuid.UUID(int=2)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([7, None]), ["7", ""]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([7.0, float("nan")]), ["7", ""]),
        (pa.array(["007", ""]), ["007", ""]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array(["a", None], pa.string_view()), ["a", ""]),
        (pa.array([b"a", "ü".encode()]), ["a", "ü"]),
        (pa.array([None, None]), ["", ""]),
        (pa.array([1, 2], pa.int64()).cast(pa.decimal128(20, 0)), ["1", "2"]),
        (
            pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([uuid.UUID(int=n).bytes for n in (1, 2)], pa.binary(16))
            ),
            [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))],
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_of_every_type(ids, expected):
    for file in files(pa.table({"url": ["a.jpg", "b.jpg"], "id": ids})):
        assert rows_of(file) == [(expected[0], "a.jpg"), (expected[1], "b.jpg")]


def test_an_id_that_is_none_is_a_problem_of_its_row():
    for file in files(pa.table({"url": ["a", "b", "c"], "id": [1.0, 1.5, float("inf")]})):
        found = [name for _, name in rows_of(file)]
        assert found[0] == "a"
        assert all("its id" in problem for problem in found[1:])


BINARY = pa.array([b"a.jpg", b"b.jpg"])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"url": BINARY}, ["a.jpg", "b.jpg"]),
        ({"path": BINARY, "label": BINARY}, ["a.jpg", "b.jpg"]),
        ({"phash": pa.array([b"\1", b"\2"]), "url": ["a", "b"]}, ["a", "b"]),
        ({"embedding": pa.array([b"\1", b"\2"]), "url": ["a", "b"]}, ["a", "b"]),
        ({"jpg": pa.array(JPEG), "url": ["a", "b"]}, JPEG),
        ({"jpg": pa.array(JPEG), "icc": pa.array([b"1", None])}, JPEG),
        ({"thumb": pa.array(JPEG), "image": pa.array(JPEG[::-1])}, JPEG[::-1]),
        ({"audio": structs(STRUCT), "image": structs(STRUCT)}, JPEG),
        ({"audio": structs(STRUCT), "url": ["a", "b"]}, ["a", "b"]),
        ({"URL": ["a", "b"], "TEXT": ["x", "y"]}, ["a", "b"]),
        ({"x": ["1", "2"], "url": ["a", "b"]}, ["a", "b"]),
    ],
)
def test_the_column_is_told_by_type_name_and_beginning(columns, expected):
    for file in files(pa.table(columns)):
        assert [name for _, name in rows_of(file)] == expected


def test_the_column_that_datasets_calls_an_image():
    metadata = {"huggingface": '{"info": {"features": {"scan": {"_type": "Image"}, "sound": {"_type": "Audio"}}}}'}
    table = pa.table({"sound": structs(STRUCT), "scan": structs(STRUCT)}).replace_schema_metadata(metadata)
    for file in files(table):
        assert next(list_rows(file, Columns(), 2**20)) == Column(("scan",), "image")


@pytest.mark.parametrize(
    ("columns", "asked", "says"),
    [
        ({"image": pa.array([[1.5], [2.5]])}, Columns("image"), "column image is list<.*--uri-column"),
        ({"image": [1, 2]}, Columns("image"), "column image is int64, which neither names nor holds.*--uri-column"),
        ({"pixels": pa.array([[[1]], [[2]]], pa.list_(pa.list_(pa.int32())))}, Columns(), "--uri-column"),
        ({"left": pa.array(JPEG), "right": pa.array(JPEG)}, Columns(), "--uri-column names one of left, right"),
        ({"phash": pa.array([b"\1", b"\2"])}, Columns(), "--uri-column"),
        ({"url": ["a", "b"], "id": pa.array([b"\1\2", b"\3\4"])}, Columns(), "its id.*no text.*--id-column"),
        ({"url": ["a", "b"], "id": pa.array([[1], [2]])}, Columns(), "column id is list.*--id-column"),
        ({"url": ["a", "b"], "id": [True, False]}, Columns(), "column id is bool"),
        ({"url": ["a", "b"]}, Columns("uri"), "no column uri, only url"),
        ({"image": pa.array([{"bytes": {"bytes": {"x": 1}}}])}, Columns(), "--uri-column"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(columns, asked, says):
    for file in files(pa.table(columns)):
        with pytest.raises(ColumnError, match=says):
            rows_of(file, asked)


def test_ids_can_be_declined():
    for file in files(pa.table({"url": ["a", "b"], "id": pa.array([[1], [2]])})):
        assert rows_of(file, Columns(id="")) == [("", "a"), ("", "b")]


def test_two_columns_of_a_name_are_refused_if_they_are_asked_for():
    table = pa.table([["a"], ["b"], ["c"]], ["url", "url", "path"])
    for file in files(table):
        assert [name for _, name in rows_of(file)] == ["c"]
        with pytest.raises(ColumnError, match="more than one column with the name url"):
            rows_of(file, Columns("url"))


def test_text_that_is_not_utf8_costs_its_row():
    array = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    table = pa.table({"url": array})
    for file in files(table):
        found = [name for _, name in rows_of(file)]
        assert (found[0], found[2]) == ("a", "c")
        assert "damaged" in found[1]


def test_a_table_that_promises_too_many_rows_is_refused():
    sink = io.BytesIO()
    pq.write_table(pa.table({"url": pa.nulls(3_000_000, pa.string())}), sink)
    assert len(sink.getvalue()) < 10_000
    with pytest.raises(DamagedTableError, match="claims 3000000 rows"):
        open_table(functools.partial(some, sink.getvalue()), "t.parquet", len(sink.getvalue()))


def test_more_bytes_than_an_image_may_have():
    for file in files(pa.table({"image": [b"x" * 100]})):
        with pytest.raises(ValueError, match="100 bytes, more than 99"):
            Rows(file, 99).image(0, 0, "image")


def test_rows_are_read_in_any_order_and_in_little_memory():
    data = [bytes([number]) * 2**20 for number in range(40)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": data}), sink, compression="zstd", use_dictionary=False)
    table = open_table(functools.partial(some, sink.getvalue()), "t.parquet", len(sink.getvalue()))
    rows = Rows(table, 2**21)
    before = pa.total_allocated_bytes()
    for row in (5, 3, 39, 0, 20, 21, 39, 22):
        assert rows.image(0, row, "image") == data[row]
    assert pa.total_allocated_bytes() - before < 4 * 3 * 2**24


def test_an_arrow_stream_is_read_at_several_places_side_by_side():
    data = [f"{number}".encode() for number in range(20)]
    for file in itertools.islice(files(pa.table({"image": data})), 1, None):
        rows = Rows(file, 100)
        for group in (10, 2, 11, 3, 12, 13, 4, 14, 5, 15, 19):
            assert rows.image(group, 0, "image") == data[group]


@pytest.mark.parametrize("error", [ValueError("a\nb" * 500), MemoryError(), pa.ArrowInvalid("x")])
def test_errors_are_one_line(error):
    assert "\n" not in described(error)
    assert len(described(error)) < 350


def test_a_large_row_group_is_listed_in_parts_of_bounded_size() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x"] * (2 * LISTED_ROWS + 1)}), file)
    table = open_table(functools.partial(some, file.getvalue()), "t.parquet", len(file.getvalue()))
    parts = [one for one in list_rows(table, Columns(), 2**20) if not isinstance(one, Column)]
    assert [(one.group, one.first, one.rows) for one in parts] == [
        (0, 0, LISTED_ROWS),
        (0, LISTED_ROWS, LISTED_ROWS),
        (0, 2 * LISTED_ROWS, 1),
    ]
