"""JSON that names images: objects or texts, one a line, or in one array."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from beamscribe.pipelines.sources.cells import CellError, number_id
from beamscribe.pipelines.sources.columns import ID_COLUMN, ColumnError, Columns
from beamscribe.pipelines.sources.text_lines import Line, Named, checked, choose_named, storable

LONGEST_JSON = 2**28
"""Letters of a file that is one JSON value, which is held in memory."""


class _Value(NamedTuple):
    """A JSON value, or why there is none, and where it stands."""

    place: str
    value: Any
    problem: str = ""


class _Object(dict[str, Any]):
    """A JSON object that knows which of its names stand more than once in it."""

    repeated: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        found.repeated = frozenset(name for name in found if names.count(name) > 1)
    return found


def _parsed(place: str, text: str) -> _Value:
    try:
        return _Value(place, json.loads(text, object_pairs_hook=_object))
    except RecursionError:
        return _Value(place, None, "it is nested too deeply")
    except ValueError as error:
        return _Value(place, None, f"it is no JSON: {error}"[:200])


def json_lines(lines: Iterable[Line]) -> Iterator[_Value]:
    """The value of each line."""
    return (_parsed(f"line {line.number}", line.text) for line in lines if line.text.strip())


def json_values(lines: Iterator[Line]) -> Iterator[_Value]:
    """The rows of one array, or of lines, or of one object."""
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    begins = _parsed("", first.text)
    if not begins.problem and not isinstance(begins.value, list):
        yield from json_lines(itertools.chain([first], lines))
        return
    pieces, size = [first.text], len(first.text)
    for line in lines:
        pieces.append(line.text)
        size += len(line.text)
        if size > LONGEST_JSON:
            raise ValueError(f"it is one JSON value of more than {LONGEST_JSON} letters: write JSON lines (.jsonl)")
    whole = _parsed("", "".join(pieces))
    if whole.problem:
        raise ValueError(whole.problem)
    for number, value in enumerate(whole.value if isinstance(whole.value, list) else [whole.value]):
        yield _Value(f"item {number}", value)


def json_rows(
    values: Iterable[_Value], columns: Columns, see_names: Callable[[Iterable[str]], None] = lambda names: None
) -> Iterator[Named]:
    """Rows of JSON objects, or of texts that are URIs.

    Args:
        values: of the file.
        columns: what the user says.
        see_names: is told the names in each object.
    """
    uri_column: str | None = None
    # Objects need not have the same names.
    id_column = ID_COLUMN if columns.id is None else columns.id
    good, has_ids, wrong = False, False, ""
    for place, value, problem in values:
        try:
            if problem:
                raise CellError(problem)
            if isinstance(value, str):
                row = Named(storable(value))
            elif isinstance(value, _Object):
                if uri_column is None or uri_column not in value:
                    uri_column, _ = choose_named(list(value), columns._replace(id=""))
                has_ids = has_ids or id_column in value
                see_names(value)
                row = _row(value, uri_column, id_column, columns.keep)
            else:
                raise CellError(f"it is no JSON object: {str(value)[:40]}")
            good = True
            yield checked(row._replace(place=place))
        except (CellError, ColumnError) as error:
            wrong = wrong or f"{place}: {error}"
            yield Named("", "", str(error), place)
    if wrong and not good:
        raise ValueError(wrong)
    if good and columns.id and not has_ids:
        raise ColumnError(f"it has no column {columns.id}")


def _row(value: _Object, uri_column: str, id_column: str, keep: Sequence[str]) -> Named:
    for name in (uri_column, id_column, *keep):
        if name in value.repeated:
            raise CellError(f"the name {name} stands in it more than once")
    kept = {name: value[name] for name in keep if name in value}
    return Named(_json_uri(value[uri_column]), _json_id(value.get(id_column)), kept=kept)


def _json_uri(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and (value.get("bytes") is None and "path" in value):
        value = value["path"]
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if not isinstance(value, str):
        raise CellError(f"its URI is no text: {str(value)[:40]}")
    return storable(value)


def _json_id(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return number_id(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise CellError(f"its id is neither text nor an integer: {str(value)[:40]}")
