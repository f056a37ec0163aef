"""The type of a column of JSON: one for all its values, whatever some of them look like."""

from typing import Any

import pyarrow as pa

_OTHER = "other"


class JsonType:
    """What has been seen of a column.

    Numbers are int64 if all of them are integers that fit, else float64. Lists of values of one such type are lists of
    it. What is mixed, objects, and integers that do not fit, are texts: JSON, but for what is a text already.
    """

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._items: JsonType | None = None

    def see(self, value: Any) -> None:
        """Takes notice of a value."""
        self._kinds.add(_kind(value))
        if isinstance(value, list):
            self._items = self._items or JsonType()
            for one in value:
                self._items.see(one)

    @property
    def dtype(self) -> pa.DataType:
        """The type; null if there was no value but null."""
        kinds = self._kinds - {"null"}
        known = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
        if not kinds:
            return pa.null()
        if kinds == {"int", "float"}:
            return pa.float64()
        if kinds == {"list"} and self._items is not None:
            inner = self._items.dtype
            if pa.types.is_null(inner):
                return pa.list_(pa.string())
            nested = pa.types.is_list(inner) or "dict" in self._items._kinds or self._items._is_mixed
            return pa.string() if nested else pa.list_(inner)
        return known.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()

    @property
    def _is_mixed(self) -> bool:
        kinds = self._kinds - {"null"}
        return (len(kinds) > 1 and kinds != {"int", "float"}) or _OTHER in kinds


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return _OTHER
    if isinstance(value, dict):
        return "dict"
    return type(value).__name__
