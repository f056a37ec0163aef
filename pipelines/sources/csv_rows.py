"""CSV in its dialects: the header tells the delimiter, quotes may hold line ends, and a wrong line costs itself."""

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from beamscribe.pipelines.sources.columns import URI_COLUMNS, ColumnError, Columns
from beamscribe.pipelines.sources.text_lines import Line, Named, checked, choose_named

DELIMITERS = ",;\t|"

MOST_LINES, LONGEST_RECORD = 1000, 2**20
"""Lines and letters of a record: a quote that is not closed ends there."""

_ENDS = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def csv_rows(
    lines: Iterator[Line],
    columns: Columns,
    delimiters: str,
    see_names: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[Named]:
    """Rows of CSV.

    Args:
        lines: of the file.
        columns: what the user says.
        delimiters: of which one is chosen.
        see_names: is told the names of all columns.

    Raises:
        ValueError: if its header is none, or has not the columns that are needed.
    """
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    if (said := re.fullmatch(r"sep=(.)\s*", first.text)) and len(delimiters) > 1:
        delimiters, first = said[1], next(lines, None)
        if first is None:
            return
    delimiter, spaced = _dialect(first.text, columns, delimiters)
    lines = itertools.chain([first], lines)
    header = next(_records(lines, delimiter, spaced))
    if header.problem:
        raise ValueError(f"line {header.line}: {header.problem}")
    names = [name.strip() for name in header.fields]
    uri_column, id_column = choose_named(names, columns)
    see_names(names)
    keep_places = {name: names.index(name) for name in columns.keep if name in names}
    for one in (uri_column, id_column, *keep_places):
        if one is not None and names.count(one) > 1:
            raise ColumnError(f"it has more than one column with the name {one}: give each a name of its own")
    uri_place = names.index(uri_column)
    id_place = names.index(id_column) if id_column is not None else None

    def fits(fields: list[str]) -> bool:
        return len(fields) <= len(names) and not re.search(r"[\r\n]", fields[uri_place] if fields[uri_place:] else "")

    for line, fields, problem in _records(lines, delimiter, spaced, fits):
        place = f"line {line}"
        if len(fields) > len(names) and any(field.strip() for field in fields[len(names) :]):
            problem = f"it has {len(fields)} fields, the header {len(names)}: quote fields that hold a {delimiter!r}"
        uri = fields[uri_place].strip() if uri_place < len(fields) else ""
        id = fields[id_place].strip() if id_place is not None and id_place < len(fields) else ""
        kept = {name: fields[at] if at < len(fields) else "" for name, at in keep_places.items()}
        yield Named("", "", problem, place) if problem else checked(Named(uri, id, place=place, kept=kept))


class _Record(NamedTuple):
    """Fields of a record of CSV, and the line that it begins in."""

    line: int
    fields: Sequence[str]
    problem: str = ""


def _records(
    lines: Iterator[Line], delimiter: str, spaced: bool, fits: Callable[[list[str]], bool] = lambda _: True
) -> Iterator[_Record]:
    """Records, of which one may have many lines; where a quote is not closed, that line is wrong and no other.

    Args:
        lines: of the file.
        delimiter: of fields.
        spaced: whether a space follows it.
        fits: whether fields from more than one line can be a record.
    """
    waiting: list[Line] = []
    while True:
        line = waiting.pop(0) if waiting else next(lines, None)
        if line is None:
            return
        taken, fields = [line], _parsed(line.text, delimiter, spaced)
        while fields is None:
            following = waiting.pop(0) if waiting else next(lines, None)
            if following is not None:
                taken.append(following)
            size = sum(len(one.text) for one in taken) if len(taken) % 100 == 0 else 0
            if following is None or len(taken) > MOST_LINES or size > LONGEST_RECORD:
                break
            # Only another quote can close the first.
            if '"' in following.text:
                fields = _parsed("".join(one.text for one in taken), delimiter, spaced)
                if fields is not None and not fits(fields):
                    fields = None
                    break
        if fields is None:
            waiting = [*taken[1:], *waiting]
            yield _Record(line.number, (), "a quote in it is not closed")
        elif fields:
            yield _Record(line.number, fields)


def _parsed(text: str, delimiter: str, spaced: bool) -> list[str] | None:
    """Fields of a record; None if it has not ended."""
    if '"' not in text and not spaced:
        text = text.rstrip("\r\n")
        return text.split(delimiter) if text else []
    # Line ends are no others than those that were taken for such.
    pieces = _ENDS.findall(text)
    for strict in (True, False):
        try:
            return next(csv.reader(pieces, delimiter=delimiter, skipinitialspace=spaced, strict=strict), [])
        except csv.Error as error:
            # Without the rules a quote may stand anywhere in a line, but it does not open another line.
            if "unexpected end" in str(error) or len(pieces) > 1:
                return None
    return None


def _dialect(header: str, columns: Columns, delimiters: str) -> tuple[str, bool]:
    """The delimiter that makes columns of a header which are known, else most columns; whether spaces follow it."""

    def score(delimiter: str) -> tuple[bool, bool, int]:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        known = any(name.lower() in URI_COLUMNS for name in names)
        return columns.uri in names, known, len(names)

    delimiter = max(delimiters, key=score)
    return delimiter, delimiter.strip() != "" and f"{delimiter} " in header
