"""Headers of pages, and the small numbers in them, are those that Arrow writes; hostile ones are errors."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources.parquet_pages import (
    DATA_PAGE,
    DICTIONARY_PAGE,
    PLAIN,
    RLE_DICTIONARY,
    PageHeader,
    UnusualPageError,
    packed_numbers,
    page_header,
)


def pages(values: list[Any], **writer: Any) -> list[tuple[PageHeader, bytes]]:
    """The headers and bytes of the pages that Arrow writes of a column."""
    file = io.BytesIO()
    pq.write_table(pa.table({"column": values}), file, compression="none", **writer)
    data, chunk = file.getvalue(), pq.read_metadata(file).row_group(0).column(0)
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    end = begin + chunk.total_compressed_size
    found = []
    while begin < end:
        header = page_header(data[begin:end])
        begin += header.header_bytes
        found.append((header, data[begin : begin + header.packed]))
        begin += header.packed
    return found


def test_headers_are_those_of_arrow() -> None:
    [(dictionary, _), (numbers, _)] = pages([b"a", b"b", b"a"])
    assert (dictionary.kind, dictionary.values, dictionary.encoding) == (DICTIONARY_PAGE, 2, PLAIN)
    assert (numbers.kind, numbers.values, numbers.encoding) == (DATA_PAGE, 3, RLE_DICTIONARY)
    [(plain, data)] = pages([b"abc", b"d"], use_dictionary=False)
    assert (plain.kind, plain.values, plain.encoding, plain.size) == (DATA_PAGE, 2, PLAIN, plain.packed)
    assert data.endswith(b"\3\0\0\0abc\1\0\0\0d")


@pytest.mark.parametrize("how", [{"write_page_checksum": True}, {"data_page_version": "2.0"}])
def test_pages_of_other_forms_are_left_to_arrow(how: dict[str, Any]) -> None:
    with pytest.raises(UnusualPageError):
        pages([b"abc", b"d"], use_dictionary=False, **how)


NUMBERS = st.lists(
    st.integers(0, 300).flatmap(lambda number: st.integers(1, 40).map(lambda times: [number] * times)), max_size=40
).map(lambda runs: [number for run in runs for number in run])


@settings(deadline=None)
@given(NUMBERS.filter(bool))
def test_numbers_are_those_that_arrow_has_packed(numbers: list[int]) -> None:
    distinct = list(dict.fromkeys(numbers))
    array = pa.DictionaryArray.from_arrays(
        pa.array([distinct.index(one) for one in numbers], pa.int32()), pa.array([b"%d" % one for one in distinct])
    )
    [_, (header, data)] = pages(array)
    size = int.from_bytes(data[:4], "little")
    levels, width, packed = data[4 : 4 + size], data[4 + size], data[5 + size :]
    assert packed_numbers(levels, 1, header.values) == [1] * len(numbers)
    assert packed_numbers(packed, width, header.values) == [distinct.index(one) for one in numbers]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x03", b"\x00\x01", b"\x01", b"\xff" * 20, b"\xff\xff\xff\x7f"])
def test_numbers_that_end_early_are_an_error(data: bytes) -> None:
    with pytest.raises(UnusualPageError):
        packed_numbers(data, 9, 10)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"\x19\xf2" + b"\xff" * 8 + b"\x0f", id="a list of 2^60 truths"),
        pytest.param(b"\x19\xf7" + b"\xff" * 8 + b"\x0f", id="a list of 2^60 numbers"),
        pytest.param(b"\x15\x00\x28\x01a\x18\x01a\x00", id="a text for a size"),
        pytest.param(b"\x15\x00\x15\x02\x15\x02\x2c\x18\x01a\x15\x00\x00\x00", id="a text for a number of rows"),
        pytest.param(b"\x1c" * 100, id="structs in structs"),
    ],
)
def test_hostile_headers_are_errors(header: bytes) -> None:
    with pytest.raises(UnusualPageError):
        page_header(header + bytes(100))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_header_ends_in_anything_but_an_error_or_a_header(data: bytes) -> None:
    try:
        header = page_header(data)
    except UnusualPageError:
        return
    assert min(header) >= 0
