"""The TFRecord codec: read back by itself, by tf.data, by the standard library; never fooled by damage."""

import gzip
import math
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.model.examples import (
    MAX_RECORD_BYTES,
    DamagedRecordError,
    decode_example,
    decode_file,
    encode_example,
    encode_file,
)
from beamscribe.schemas import feature_example as names
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.table import NewerSchemaError

pytestmark = pytest.mark.slow

INT64 = st.integers(-(2**63), 2**63 - 1)
SHAPES = st.tuples(*[st.integers(1, 3)] * 3)
EXAMPLES = st.builds(
    FeatureExample,
    id=st.text(),
    file_name=st.text(),
    uri=st.text(),
    sha256=st.text("0123456789abcdef"),
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    repairs=st.lists(st.text(), max_size=2).map(tuple),
    features=st.just(b""),
    shape=SHAPES,
    captions=st.lists(st.text(), max_size=5).map(tuple),
    caption_ids=st.lists(INT64, max_size=5).map(tuple),
    fingerprint=st.text(),
    run_started=st.text(),
).flatmap(
    lambda row: st.binary(min_size=2 * math.prod(row.shape), max_size=2 * math.prod(row.shape)).map(
        lambda features: row._replace(features=features)
    )
)
GRID = np.arange(12, dtype="<f2").reshape(2, 2, 3) / 4
FIRST = FeatureExample(
    id="42",
    file_name="naïve 42.jpg",
    uri="s3://bucket/42.jpg",
    sha256="ab" * 32,
    width=640,
    height=480,
    repairs=("exif-orientation", "grey-to-rgb"),
    features=GRID.tobytes(),
    shape=(2, 2, 3),
    captions=("A dog.", "Ein Hund läuft."),
    caption_ids=(7, -1),
    fingerprint="0123456789abcdef",
    run_started="2025-11-23T12:00:00+00:00",
)
SECOND = FIRST._replace(id="43", repairs=(), captions=(), caption_ids=(), features=(2 * GRID).tobytes())
FILE = encode_file([FIRST, SECOND])


def read(data: bytes) -> list[FeatureExample] | str:
    """What a file holds, or that it is damaged; any other error passes."""
    try:
        return list(decode_file(data, "shard-1"))
    except DamagedRecordError as error:
        return "damaged" if "shard-1" in str(error) else str(error)


def masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def changed(key: str, *values: int | bytes) -> bytes:
    """FIRST's record with other values of one feature; without any the feature is absent."""
    proto = tf.train.Example.FromString(encode_example(FIRST))
    proto.features.feature.pop(key)
    for value in values:
        feature = proto.features.feature[key]
        (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)
    return proto.SerializeToString()


@given(EXAMPLES)
def test_a_record_comes_back(example: FeatureExample) -> None:
    assert decode_example(encode_example(example), "x") == example


@given(st.lists(EXAMPLES, max_size=3))
def test_a_file_comes_back_in_order(examples: list[FeatureExample]) -> None:
    assert read(encode_file(examples)) == examples


def test_equal_rows_give_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert encode_file([FIRST, SECOND]) == FILE
    assert encode_file(iter([FIRST, SECOND])) == FILE
    assert encode_file([SECOND, FIRST]) != FILE


def test_equal_rows_give_equal_bytes_in_every_process() -> None:
    record = encode_example(FIRST)
    assert record == tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def test_tf_data_alone_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(FILE)
    one_text, texts = tf.io.FixedLenFeature((), tf.string), tf.io.RaggedFeature(tf.string)
    one_number, numbers = tf.io.FixedLenFeature((), tf.int64), tf.io.RaggedFeature(tf.int64)
    one_texts = (names.ID, names.FILE_NAME, names.URI, names.SHA256, names.FEATURES, names.FEATURES_DTYPE)
    spec = {
        **dict.fromkeys((*one_texts, names.FINGERPRINT, names.RUN_STARTED), one_text),
        **dict.fromkeys((names.REPAIRS, names.CAPTIONS), texts),
        **dict.fromkeys((names.WIDTH, names.HEIGHT, names.SCHEMA_VERSION), one_number),
        names.FEATURES_SHAPE: tf.io.FixedLenFeature((3,), tf.int64),
        names.CAPTION_IDS: numbers,
    }
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    first, second = records.map(lambda record: tf.io.parse_single_example(record, spec)).as_numpy_iterator()
    assert first[names.FEATURES_DTYPE] == b"float16"
    for row, scale in ((first, 1), (second, 2)):
        grid = tf.reshape(tf.io.decode_raw(row[names.FEATURES], tf.float16), row[names.FEATURES_SHAPE])
        np.testing.assert_array_equal(grid, scale * GRID)
    assert [row[names.ID] for row in (first, second)] == [b"42", b"43"]
    assert first[names.FILE_NAME].decode() == "naïve 42.jpg"
    assert first[names.URI] == b"s3://bucket/42.jpg"
    assert first[names.SHA256] == b"ab" * 32
    assert (first[names.WIDTH], first[names.HEIGHT], first[names.SCHEMA_VERSION]) == (640, 480, 1)
    assert first[names.REPAIRS].tolist() == [b"exif-orientation", b"grey-to-rgb"]
    assert first[names.CAPTIONS].tolist() == [b"A dog.", "Ein Hund läuft.".encode()]
    assert first[names.CAPTION_IDS].tolist() == [7, -1]
    assert second[names.CAPTIONS].tolist() == []
    assert first[names.FINGERPRINT] == b"0123456789abcdef"
    assert first[names.RUN_STARTED] == b"2025-11-23T12:00:00+00:00"
    assert first.keys() == tf.train.Example.FromString(encode_example(FIRST)).features.feature.keys()


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each length-delimited field, https://protobuf.dev/programming-guides/encoding/."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2
        length, at = varint(data, at)
        yield tag >> 3, data[at : at + length]
        at += length


def in_plain_python(record: bytes) -> dict[str, list[int] | list[bytes]]:
    """A tf.train.Example by its published numbers: bytes_list is 1, int64_list 3 (packed)."""
    features: dict[str, list[int] | list[bytes]] = {}
    ((_, entries),) = messages(record)
    for _, entry in messages(entries):
        parts = dict(messages(entry))
        ((kind, values),) = messages(parts[2])
        if kind == 1:
            features[parts[1].decode()] = [value for _, value in messages(values)]
        else:
            numbers, at = [], 0
            packed = b"".join(value for _, value in messages(values))
            while at < len(packed):
                number, at = varint(packed, at)
                numbers.append(number)
            features[parts[1].decode()] = numbers
    return features


def test_the_standard_library_alone_reads_a_file() -> None:
    stream, records = gzip.decompress(FILE), []
    while stream:
        (length,) = struct.unpack("<Q", stream[:8])
        records.append(in_plain_python(stream[12 : 12 + length]))
        stream = stream[12 + length + 4 :]
    assert [record[names.ID] for record in records] == [[b"42"], [b"43"]]
    assert records[0][names.CAPTIONS] == [b"A dog.", "Ein Hund läuft.".encode()]
    assert records[0][names.CAPTION_IDS] == [7, 2**64 - 1]  # two's complement
    assert records[0][names.FEATURES_SHAPE] == [2, 2, 3]
    values = struct.unpack("<12e", records[1][names.FEATURES][0])
    np.testing.assert_array_equal(values, 2 * GRID.ravel())


def test_gzip_carries_neither_time_nor_name() -> None:
    assert FILE[:4] == b"\x1f\x8b\x08\0"  # no flags, so no name
    assert FILE[4:8] == b"\0\0\0\0"


def test_a_cut_file_is_damaged_wherever_it_is_cut() -> None:
    assert {length for length in range(1, len(FILE)) if read(FILE[:length]) != "damaged"} == set()


def test_a_file_of_no_bytes_is_damaged() -> None:
    assert read(b"") == "damaged"


def test_a_file_of_no_records_is_not_damaged() -> None:
    assert read(encode_file([])) == []


@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_seen(position: int, bit: int) -> None:
    data = bytearray(FILE)
    data[position] ^= 1 << bit
    # Bits that mean nothing: GZIP's flags, time and system (RFC 1952), and what fills the last byte before the trailer.
    unseen = [[FIRST, SECOND]] if 3 <= position < 10 or position == len(FILE) - 9 else []
    assert read(bytes(data)) in ["damaged", *unseen]


@given(st.data())
def test_damage_beneath_gzip_is_seen(data: st.DataObject) -> None:
    stream = bytearray(gzip.decompress(FILE))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert read(gzip.compress(stream)) == "damaged"


def test_a_stream_cut_beneath_gzip_is_seen() -> None:
    stream = gzip.decompress(FILE)
    (length,) = struct.unpack("<Q", stream[:8])
    whole = {0, 12 + length + 4}  # between two records nothing tells
    assert {cut for cut in range(len(stream)) if read(gzip.compress(stream[:cut], 1)) != "damaged"} == whole


@given(st.binary(max_size=100))
@case(b"GIF89a")
def test_other_bytes_are_damaged(data: bytes) -> None:
    assert read(b"\x00" + data) == "damaged"
    header = struct.pack("<Q", len(data))
    assert read(gzip.compress(header + masked_crc(header) + data + masked_crc(data))) == "damaged"


@pytest.mark.parametrize(
    "key",
    [
        names.ID,
        names.FILE_NAME,
        names.URI,
        names.SHA256,
        names.WIDTH,
        names.HEIGHT,
        names.FEATURES,
        names.FEATURES_SHAPE,
        names.FINGERPRINT,
        names.RUN_STARTED,
        names.SCHEMA_VERSION,
    ],
)
def test_a_record_without_a_field_is_damaged(key: str) -> None:
    with pytest.raises(DamagedRecordError, match="shard-1 holds a record that is no feature example"):
        decode_example(changed(key), "shard-1")


@pytest.mark.parametrize(
    ("key", "values"),
    [(names.FEATURES_SHAPE, (8, 8)), (names.ID, (b"\xff",)), (names.CAPTIONS, (b"a", b"\xff")), (names.WIDTH, (b"1",))],
)
def test_a_field_of_another_kind_is_damage(key: str, values: tuple[int | bytes, ...]) -> None:
    with pytest.raises(DamagedRecordError, match="shard-1"):
        decode_example(changed(key, *values), "shard-1")


@pytest.mark.parametrize(("key", "value"), [(names.FEATURES_DTYPE, b"float32"), (names.FEATURES, GRID.tobytes()[:-2])])
def test_features_that_are_not_what_they_claim_are_damage(key: str, value: bytes) -> None:
    with pytest.raises(DamagedRecordError, match="shard-1"):
        decode_example(changed(key, value), "shard-1")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (names.FEATURES_SHAPE, (-8, -8, 2048)),
        (names.FEATURES_SHAPE, (0, 8, 2048)),
        (names.WIDTH, (2**31,)),
        (names.HEIGHT, (-1,)),
        (names.WIDTH, (0,)),
    ],
)
def test_sizes_that_cannot_be_are_damage(key: str, values: tuple[int, ...]) -> None:
    with pytest.raises(DamagedRecordError, match="cannot be"):
        decode_example(changed(key, *values), "shard-1")


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES + 1, 2**33, 2**63, 2**64 - 1])
def test_a_length_that_lies_becomes_no_memory(length: int) -> None:
    header = struct.pack("<Q", length)
    # Zeros enough to fill any memory that would be given.
    data = gzip.compress(header + masked_crc(header) + bytes(2**25))
    tracemalloc.start()
    try:
        with pytest.raises(DamagedRecordError, match=f"a record of {length} bytes"):
            list(decode_file(data, "shard-1"))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_newer_schema_is_refused_by_name() -> None:
    newer = changed(names.SCHEMA_VERSION, names.VERSION + 1)
    header = struct.pack("<Q", len(newer))
    data = gzip.compress(header + masked_crc(header) + newer + masked_crc(newer))
    with pytest.raises(NewerSchemaError, match=r"folder/shard-2 has schema version 2.* up to 1: upgrade Beamscribe"):
        list(decode_file(data, "folder/shard-2"))
