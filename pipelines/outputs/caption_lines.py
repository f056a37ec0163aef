"""Captions as lines of the text files that other programs read: CSV, JSON lines, COCO's results."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.schemas import caption_row
from beamscribe.schemas.caption_json import ALL, AUDIO, Row, plain
from beamscribe.schemas.conversion import text_of
from beamscribe.schemas.matching import BY_ID, Matcher

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, the full-width forms of the signs too."""

MAX_DIGITS = 20
"""Digits of a COCO image id at most, which has 64 bits."""

COLUMNS = ("image_uri", "id", "caption", "score", "confidence", "flags")
"""Columns of a table by default: none of them holds JSON."""
DURATION = "duration_seconds"
"""In a table of sound."""


def columns_of(wanted: Sequence[str] | None, spoken: bool, kept: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of a table.

    Args:
        wanted: names, or "all"; None means the usual ones.
        spoken: whether there is audio.
        kept: columns that are kept of the source.

    Raises:
        RefusedError: for a name that is none, or for audio where there is none.
    """
    if wanted is None:
        return (*COLUMNS, AUDIO) if spoken else COLUMNS
    there = (*caption_row.SCHEMA.names, *kept, AUDIO)
    names = (there if spoken else there[:-1]) if tuple(wanted) == ("all",) else tuple(wanted)
    unknown = [name for name in names if name not in there]
    if unknown or len(set(names)) < len(names):
        raise RefusedError(f"--columns {','.join(wanted)}: each once of {', '.join(there)}")
    if AUDIO in names and not spoken:
        raise RefusedError("--columns audio needs --speech, the output of beamscribe speak for these captions")
    return names


def csv_lines(
    rows: Iterable[Row],
    formulas: bool = False,
    columns: Sequence[str] = COLUMNS,
    audio: Mapping[tuple[str, str], str] | None = None,
) -> Iterator[str]:
    """Comma-separated lines with a header (RFC 4180, UTF-8): numbers have three digits, lists of words a `;` between.

    Args:
        rows: of captions.
        formulas: whether text that a spreadsheet would run as a formula stays as it is, without a `'` before it.
        columns: their names, see `columns_of`.
        audio: image id and caption → where the sound is.
    """
    yield csv_line(columns)
    for row in rows:
        fields = plain(row)
        fields[AUDIO] = (audio or {}).get((row["id"], row["caption"]), "")
        yield csv_line([(cell if name in ALL else _kept_cell)(fields[name], formulas) for name in columns])


def cell(value: Any, formulas: bool) -> Any:
    """A value as a table holds it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ";".join(value)
    elif isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and not formulas and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return value


def _kept_cell(value: Any, formulas: bool) -> Any:
    """A value of the source, of which no digit is lost."""
    return cell(value, formulas) if isinstance(value, str) else text_of(value)


def csv_line(fields: Sequence[Any]) -> str:
    """One line, ended."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(fields)
    return buffer.getvalue()


def coco_results(rows: Iterable[Row], matcher: Matcher | None) -> Iterator[str]:
    """The results file of COCO's captioning task: a JSON array of `image_id` and `caption`, an image once.

    Args:
        rows: of captions.
        matcher: finds the image of each; None: ids of the rows came from annotations and are COCO's.

    Raises:
        RefusedError: for a row whose COCO image id is not known.
        MatchError: for a row that may be of two images, or the second of one image.
    """
    before = "["
    for row in rows:
        number = _coco_id(row, matcher)
        if number is not None:
            yield before + json.dumps({"image_id": number, "caption": row["caption"]}, ensure_ascii=False)
            before = ",\n"
    if matcher:
        matcher.check()
    yield "[]\n" if before == "[" else "]\n"


def _coco_id(row: Row, matcher: Matcher | None) -> int | None:
    """None for a repeat."""
    if matcher is None:
        if row["id"].isascii() and row["id"].removeprefix("-").isdigit() and len(row["id"]) < MAX_DIGITS:
            return int(row["id"])
        raise RefusedError(f"the id {row['id']} of {row['image_uri']} is none of COCO's: --annotations gives them")
    image = matcher.image_of(row["id"], row["image_uri"])
    if image is None:
        raise RefusedError(
            f"the COCO image id of {row['image_uri']} (id {row['id']}) is not known: no image of --annotations is "
            f"called so; {BY_ID}"
        )
    return None if matcher.take(image, row["id"], row["image_uri"], row["caption"]) else image.id
