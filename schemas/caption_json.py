"""Rows of captions as JSON objects, the same ones wherever JSON is written."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from beamscribe.schemas import caption_row
from beamscribe.schemas.conversion import json_of
from beamscribe.schemas.python_values import python_values

Row = dict[str, Any]

AUDIO = "audio"
ALL = (*caption_row.SCHEMA.names, AUDIO)
"""Columns of Beamscribe's own; others are kept of the source."""


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of a table of captions."""
    columns = map(python_values, table.columns)
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object a line, with every field."""
    for row in rows:
        line = json.dumps(plain(row), ensure_ascii=False, allow_nan=False)
        # Some readers take these for the ends of lines.
        for letter in ("\x85", "\u2028", "\u2029"):
            line = line.replace(letter, f"\\u{ord(letter):04x}")
        yield line + "\n"


def plain(row: Row) -> Row:
    """As JSON and CSV can hold it: they have no infinity, and no number that is none."""
    alternatives = [{**one, "score": _finite(one["score"])} for one in row["alternatives"]]
    kept = {name: json_of(value) for name, value in row.items() if name not in ALL}
    return {
        **row,
        **kept,
        "score": _finite(row["score"]),
        "confidence": _finite(row["confidence"]),
        "alternatives": alternatives,
        "run_started": row["run_started"].isoformat(),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
