"""The headers of pages of a Parquet file, and the small numbers that are packed in them.

A column chunk is a sequence of pages, each behind a header in Thrift's compact protocol: see `PageHeader` in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and, for the numbers,
https://github.com/apache/parquet-format/blob/master/Encodings.md.
"""

from typing import Any, NamedTuple

HEADER_BYTES = 2**14
"""That are read to find a header: it may have the smallest and the largest value of its page."""

MOST_VALUES = 2**20
"""Of a page, beyond which it is left to Arrow: a page of images has some thousand."""

DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8

MOST_NESTED = 16

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_TYPE, _SIZE, _PACKED_SIZE, _CHECKSUM, _DATA, _DICTIONARY = 1, 2, 3, 4, 5, 7


class UnusualPageError(ValueError):
    """A page is damaged, or of a form that is read by Arrow alone."""


class PageHeader(NamedTuple):
    """What is used of a header.

    Attributes:
        kind: `DATA_PAGE` or `DICTIONARY_PAGE`.
        header_bytes: of itself.
        packed: bytes of the page behind it, as they are stored.
        size: of these, unpacked.
        values: that the page holds.
        encoding: of them.
    """

    kind: int
    header_bytes: int
    packed: int
    size: int
    values: int
    encoding: int


def page_header(data: bytes) -> PageHeader:
    """The header with which some bytes begin.

    Raises:
        UnusualPageError: if there is none, or one of another kind of page, or with a checksum, which Arrow verifies.
    """
    try:
        fields, header_bytes = _struct(data, 0, 0)
        kind = fields[_TYPE]
        of_kind = fields[{DATA_PAGE: _DATA, DICTIONARY_PAGE: _DICTIONARY}[kind]]
        found = PageHeader(kind, header_bytes, fields[_PACKED_SIZE], fields[_SIZE], of_kind[1], of_kind[2])
        levels = of_kind[3] if kind == DATA_PAGE else RLE
    except (LookupError, TypeError, ValueError) as error:
        raise UnusualPageError(f"no header of a page that is read here: {type(error).__name__}") from error
    if _CHECKSUM in fields or levels != RLE or not all(type(one) is int and one >= 0 for one in found):
        raise UnusualPageError("a page of a form that is not read here")
    if found.values > MOST_VALUES:
        raise UnusualPageError(f"a page of {found.values} values")
    return found


def packed_numbers(data: bytes, width: int, count: int) -> list[int]:
    """Numbers in runs of equal ones and in groups of eight that are packed bit by bit.

    Args:
        data: of the runs.
        width: bits of a number.
        count: of numbers, at most `MOST_VALUES`.

    Raises:
        UnusualPageError: if there are fewer.
    """
    numbers: list[int] = []
    at = 0
    while len(numbers) < count:
        try:
            run, at = varint(data, at)
        except (LookupError, ValueError) as error:
            raise UnusualPageError("its numbers end early") from error
        repeated, left = run >> 1, count - len(numbers)
        packed = run & 1
        if packed:
            repeated = min(repeated, (left + 7) // 8)
        end = at + (repeated * width if packed else (width + 7) // 8)
        if end > len(data) or not repeated:
            raise UnusualPageError("its numbers end early")
        if packed:
            for number in range(repeated):
                group = int.from_bytes(data[at + number * width : at + number * width + width], "little")
                numbers += (group >> place * width & (1 << width) - 1 for place in range(8))
        else:
            numbers += [int.from_bytes(data[at:end], "little")] * min(repeated, left)
        at = end
    return numbers[:count]


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields of a struct by their number, and the place behind it; of texts and lists only that they are there."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, kind & 15, depth + 1)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > MOST_NESTED:
        raise ValueError("it is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind in _INTEGERS:
        return _integer(data, at)
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        size, at = varint(data, at)
        return None, at + size
    if kind == _STRUCT:
        return _struct(data, at, depth)
    if kind in (_LIST, _SET):
        size, kind, at = data[at] >> 4, data[at] & 15, at + 1
        if size == 15:
            size, at = varint(data, at)
        if size > len(data) - at:
            raise ValueError("a list does not end")
        for _ in range(size):
            _, at = (None, at + 1) if kind in (_TRUE, _FALSE) else _value(data, at, kind, depth + 1)
        return None, at
    raise ValueError(f"no type {kind}")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    number, at = varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it.

    Raises:
        IndexError: if it does not end.
        ValueError: if it has more than 64 bits.
    """
    number = shift = 0
    while True:
        byte = data[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at
        if shift > 63:
            raise ValueError("a number has too many bytes")
