"""Values of Arrow as Python has them, whatever times they are."""

from typing import Any

import pyarrow as pa

_NOT_HELD = (OverflowError, ValueError, KeyError)
"""What Python raises of times that it cannot hold: years beyond 9999, zones that it does not know."""


def python_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values of an array, times to the microsecond; times that Python cannot hold are texts."""
    array = _to_microseconds(array)
    try:
        values: list[Any] = array.to_pylist()
    except _NOT_HELD:
        return [_value(scalar) for scalar in array]
    return values


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar):
        return [_value(one) for one in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(scalar[name]) for name in scalar}
    try:
        return scalar.as_py()
    except _NOT_HELD:
        return _text(scalar)


def _text(scalar: pa.Scalar) -> str:
    """A time as ISO 8601 says, in UTC where it has a zone; its number where Arrow cannot write it either."""
    dtype = scalar.type
    zone = "Z" if getattr(dtype, "tz", None) else ""
    try:
        written = str((scalar.cast(pa.timestamp(dtype.unit)) if zone else scalar).cast(pa.string()).as_py())
    except pa.ArrowException:
        written = ""
    if not written or "out of range" in written:
        return str(scalar.cast(pa.int32() if dtype.bit_width == 32 else pa.int64()).as_py())
    return written.replace(" ", "T") + zone


def _to_microseconds(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    dtype = _microseconds(array.type)
    return array if dtype == array.type else array.cast(dtype, safe=False)


def _microseconds(dtype: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_list(dtype):
        return pa.list_(dtype.value_field.with_type(_microseconds(dtype.value_type)))
    if types.is_large_list(dtype):
        return pa.large_list(dtype.value_field.with_type(_microseconds(dtype.value_type)))
    if types.is_struct(dtype):
        return pa.struct([field.with_type(_microseconds(field.type)) for field in dtype])
    if getattr(dtype, "unit", "") == "ns":
        if types.is_timestamp(dtype):
            return pa.timestamp("us", tz=dtype.tz)
        return pa.time64("us") if types.is_time(dtype) else pa.duration("us")
    return dtype
