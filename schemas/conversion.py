"""Values of manifests and of samples' JSON in the type of the column that keeps them; nothing is guessed."""

import datetime
import json
import math
import re
from typing import Any

import pyarrow as pa

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")


def converted(value: Any, dtype: pa.DataType) -> Any:
    """A value as a column of a type holds it; null stays null.

    A text that is empty is null where the column is none of texts. Numbers without a fraction are integers, texts are
    numbers, truth values, dates or times where they are written so, and everything is a text: JSON, if it is none.

    Args:
        value: as JSON, CSV or Arrow gives it.
        dtype: of the column.

    Raises:
        ValueError: if it is none of that type.
    """
    types = pa.types
    if value is None or (value == "" and not _is_text(dtype)):
        return None
    if _is_text(dtype):
        return text_of(value)
    if types.is_boolean(dtype):
        return _truth(value)
    if types.is_integer(dtype):
        return _integer(value, dtype)
    if types.is_floating(dtype):
        return _number(value)
    if types.is_date(dtype):
        return _time(value).date() if not _is_day(value) else value
    if types.is_timestamp(dtype):
        found = _time(value)
        if dtype.tz is None:
            return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found
        return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    if types.is_nested(dtype) and isinstance(value, str):
        raise ValueError(f"{value!r} is no {dtype}")
    if types.is_list(dtype) and isinstance(value, list):
        return [converted(one, dtype.value_type) for one in value]
    # Whether it is another type's value is for Arrow to say.
    return value


def as_array(values: list[Any], dtype: pa.DataType) -> tuple[pa.Array, list[bool]]:
    """Values in a type, and which of them are none of it: they are null.

    Args:
        values: null, or as `converted` takes them.
        dtype: of the column.
    """
    found, wrong = [], []
    for value in values:
        try:
            found.append(converted(value, dtype))
            wrong.append(False)
        except _UNFIT:
            found.append(None)
            wrong.append(True)
    try:
        return pa.array(found, dtype), wrong
    except _UNFIT:
        # Arrow does not say which of them it is.
        wrong = [before or not _fits(value, dtype) for value, before in zip(found, wrong, strict=True)]
        return pa.array([None if bad else value for value, bad in zip(found, wrong, strict=True)], dtype), wrong


_UNFIT = (ValueError, TypeError, OverflowError, pa.ArrowException)


def _fits(value: Any, dtype: pa.DataType) -> bool:
    try:
        pa.array([value], dtype)
    except _UNFIT:
        return False
    return True


def text_of(value: Any) -> str:
    """A value as text, which is empty for null; JSON, if it is a number, a truth value, a list or an object."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=text_of) if _is_json(value) else str(value)


def json_of(value: Any) -> Any:
    """A value as JSON can hold it: times and decimal numbers are texts, and what is no finite number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [json_of(one) for one in value]
    if isinstance(value, dict):
        return {name: json_of(one) for name, one in value.items()}
    return text_of(value)


def _is_json(value: Any) -> bool:
    return isinstance(value, bool | int | float | list | dict)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _is_day(value: Any) -> bool:
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
    if found is None or isinstance(value, float):
        raise ValueError(f"{value!r} is neither true nor false")
    return found


def _integer(value: Any, dtype: pa.DataType) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no integer")
    signed = pa.types.is_signed_integer(dtype)
    bits = dtype.bit_width - signed
    if not (-(2**bits) if signed else 0) <= value < 2**bits:
        raise ValueError(f"{value} does not fit into {dtype}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    found = float(value)
    if math.isinf(found) and not isinstance(value, float) and "inf" not in str(value).lower():
        raise ValueError(f"{value!r} is too large a number")
    return found


def _time(value: Any) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if _is_day(value):
        return datetime.datetime.combine(value, datetime.time())
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no time, which is written as ISO 8601 says")
    return datetime.datetime.fromisoformat(value.strip())
