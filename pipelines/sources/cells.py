"""Values of a table's columns: images, their names, and ids; nothing is made into text that is none."""

import uuid
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.sources.columns import MOST_NESTED, TEXT, Column, is_list, kind_of

OF_ID = "its id"
"""Begins what is wrong with an id."""

_LONGEST_TEXT = 2**20


class CellError(ValueError):
    """A value is none that can be used; the message says what it is, for people who see the row named before it."""


class Cell(NamedTuple):
    """A value of a column: an image, or the name of one, or neither."""

    data: bytes | None = None
    name: str | None = None


def cell_of(scalar: pa.Scalar, column: Column, max_bytes: int) -> Cell:
    """The value of a row.

    Args:
        scalar: of the column that is first in the path.
        column: which one.
        max_bytes: of an image.

    Raises:
        CellError: if the value is none that can be used.
    """
    value: Any = scalar
    for name in column.path[1:]:
        value = _single(value)
        value = value[name] if value is not None else None
    value = _single(value)
    if value is None:
        return Cell()
    if isinstance(value, pa.StructScalar):
        fields = {name: _single(value[name]) for name in ("bytes", "path") if value.type.get_field_index(name) >= 0}
        data, path = fields.get("bytes"), fields.get("path")
        return Cell(
            bounded_bytes(data, max_bytes) if data is not None else None, _text(path) if path is not None else None
        )
    if column.kind == TEXT:
        return Cell(name=_text(value))
    return Cell(bounded_bytes(value, max_bytes))


def _single(scalar: Any) -> Any:
    """A scalar without wrappings, None for null; bytes where it is a list of them."""
    for _ in range(MOST_NESTED):
        if scalar is None or isinstance(scalar, bytes) or not scalar.is_valid:
            return scalar if isinstance(scalar, bytes) else None
        if isinstance(scalar, pa.ExtensionScalar | pa.DictionaryScalar):
            scalar = scalar.value
        elif is_list(scalar.type):
            values = scalar.values
            if pa.types.is_uint8(values.type):
                if values.null_count:
                    raise CellError("it holds bytes of which some are null")
                return values.to_numpy(zero_copy_only=False).tobytes()
            if len(values) != 1:
                raise CellError(f"it holds a list of {len(values)} images, not one: give each a row")
            scalar = values[0]
        else:
            return scalar
    raise CellError("it is nested too deeply")


def bounded_bytes(value: Any, max_bytes: int) -> bytes:
    """Bytes, or those of a scalar.

    Raises:
        CellError: if there are too many.
    """
    size = len(value) if isinstance(value, bytes) else value.as_buffer().size
    if size > max_bytes:
        raise CellError(f"it has {size} bytes, more than {max_bytes}")
    return value if isinstance(value, bytes) else value.as_buffer().to_pybytes()


def _text(value: Any) -> str:
    """Text, or bytes that are UTF-8 text."""
    if not isinstance(value, bytes) and not hasattr(value, "as_buffer"):
        raise CellError(f"it is {str(value.type)[:80]}, not text")
    data = bounded_bytes(value, _LONGEST_TEXT)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise CellError("it holds bytes that are not UTF-8 text") from None
    is_text = not isinstance(value, bytes) and kind_of(value.type) == TEXT
    if not is_text and any(letter < " " or letter == "\x7f" for letter in text):
        raise CellError("it holds bytes that are no text")
    return text


def id_of(scalar: pa.Scalar) -> str:
    """An id as text; empty for null and NaN.

    Raises:
        CellError: if it is none.
    """
    if not scalar.is_valid:
        return ""
    if isinstance(scalar, pa.DictionaryScalar):
        return id_of(scalar.value)
    if isinstance(scalar, pa.ExtensionScalar):
        if getattr(scalar.type, "extension_name", "") == "arrow.uuid":
            return str(uuid.UUID(bytes=scalar.value.as_py()))
        return id_of(scalar.value)
    if pa.types.is_integer(scalar.type):
        return str(scalar.as_py())
    if pa.types.is_floating(scalar.type) or pa.types.is_decimal(scalar.type):
        return number_id(scalar.as_py())
    try:
        return _text(scalar)
    except CellError as error:
        raise CellError(f"{OF_ID}: {error}") from None


def number_id(value: Any) -> str:
    """An integer that other programs keep as a floating-point number; empty for NaN.

    Raises:
        CellError: if it is no integer.
    """
    if value != value:
        return ""
    if value in (float("inf"), float("-inf")) or value != int(value):
        raise CellError(f"{OF_ID} {value} is a number with a fraction")
    return str(int(value))
