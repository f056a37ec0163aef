"""Text that names images, a line at a time: its encoding, its lines, and what a row of it is."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from beamscribe.pipelines.sources.columns import ID_COLUMN, URI_COLUMNS, ColumnError, Columns, some_of

LONGEST_LINE = 2**24
"""Bytes of a line."""

LONGEST_NAME = 2**15
"""Letters of a URI or an id."""

_OTHERS = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"ARRO": "an Arrow file",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
}
"""How files begin that are taken for lists because of their names."""

_LONE_RETURN = re.compile(r"(?<=\r)(?!\n)")


class Named(NamedTuple):
    """A row that names an image.

    Attributes:
        uri: of the image, as written; empty where there is none.
        id: of it; empty where there is none.
        problem: why the row cannot be used.
        place: of the row, for people.
        kept: values of the columns that are kept, of those that the row has.
    """

    uri: str
    id: str = ""
    problem: str = ""
    place: str = ""
    kept: Mapping[str, Any] = {}


class Line(NamedTuple):
    """A line of text with its end, and its number in the file, from 1."""

    number: int
    text: str


def lines_of(file: IO[bytes]) -> Iterator[Line]:
    """Lines of UTF-8, or of UTF-16 with a byte order mark, one at a time.

    Raises:
        ValueError: if it is neither, or if a line is far too long.
    """
    reader = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
    mark = reader.read(4)
    if mark.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise ValueError("it is UTF-32 text: write it as UTF-8")
    if other := next((name for begin, name in _OTHERS.items() if mark.startswith(begin)), None):
        raise ValueError(f"it is {other} and no text, as the name says: rename or unpack it")
    rest = io.BufferedReader(_Joined(mark.removeprefix(b"\xef\xbb\xbf"), reader))
    if mark.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = io.TextIOWrapper(rest, "utf-16", newline="\n")
        found: Iterator[str] = iter(lambda: text.readline(LONGEST_LINE), "")
    else:
        found = map(bytes.decode, iter(lambda: rest.readline(LONGEST_LINE), b""))
    number = 0
    for whole in _decoded(found):
        for text_line in _LONE_RETURN.split(whole) if "\r" in whole else (whole,):
            if not text_line:
                continue
            number += 1
            if len(text_line) >= LONGEST_LINE // 4 and not text_line.endswith(("\n", "\r")):
                raise ValueError(f"line {number} is longer than {LONGEST_LINE // 4} letters: it is no list of images")
            # A zero byte in a row costs that row; of UTF-16 without a mark every second byte is one.
            if (zeros := text_line.count("\0")) and (number == 1 or 3 * zeros >= len(text_line)):
                raise ValueError(f"line {number} is no text: it holds zero bytes, as UTF-16 without a mark does")
            yield Line(number, text_line)


def _decoded(lines: Iterator[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        try:
            yield next(lines)
        except StopIteration:
            return
        except UnicodeError:
            raise ValueError(
                f"line {number} is not UTF-8 text: if it is Windows-1252, write it again with "
                "iconv -f WINDOWS-1252 -t UTF-8"
            ) from None


class _Joined(io.RawIOBase):
    """Some bytes that were read ahead, and the rest of their file."""

    def __init__(self, begin: bytes, rest: IO[bytes]) -> None:
        self._begin, self._rest = begin, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._begin or self._rest.read(len(buffer))
        data, self._begin = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def choose_named(names: Sequence[str], columns: Columns) -> tuple[str, str | None]:
    """The columns of URIs and of ids.

    Raises:
        ColumnError: if a column that was asked for is not there, or none is known to hold URIs.
    """
    for asked in columns[:2]:
        if asked and asked not in names:
            raise ColumnError(f"it has no column {asked}, only {some_of(names)}")
    known = [name for wanted in URI_COLUMNS for name in names if name.lower() == wanted]
    exact = [name for name in known if name in URI_COLUMNS]
    uri = columns.uri or next(iter(exact or known), None)
    if uri is None:
        raise ColumnError(f"which of its columns holds URIs? --uri-column names one of {some_of(names)}")
    return uri, (ID_COLUMN if ID_COLUMN in names else None) if columns.id is None else columns.id or None


def checked(row: Named) -> Named:
    """A row whose URI can be one."""
    if len(row.uri) > LONGEST_NAME or len(row.id) > LONGEST_NAME:
        return Named("", "", f"it names something of {max(len(row.uri), len(row.id))} letters", row.place)
    return row


def storable(text: str) -> str:
    """As UTF-8 can hold it, which half a surrogate pair of JSON cannot be."""
    return text.encode("utf-8", "backslashreplace").decode()
