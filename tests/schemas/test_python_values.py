"""Values of Arrow that Python cannot hold are texts, and the others are what they are."""

import datetime
from typing import Any

import pyarrow as pa
import pytest

from beamscribe.schemas.python_values import python_values

DAY = datetime.date(1970, 1, 1)
SECOND = datetime.datetime(1970, 1, 1)
TOO_LATE = 253402300800
"""Seconds from 1970 to the year 10000."""


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None], pa.int8(), [1, None]),
        ([0, 2932896, None], pa.date32(), [DAY, datetime.date(9999, 12, 31), None]),
        ([0, 2932897], pa.date32(), [DAY, "10000-01-01"]),
        ([0, -(2**31)], pa.date32(), [DAY, "-2147483648"]),
        ([2**62], pa.date64(), ["4611686018427387904"]),
        ([0, TOO_LATE], pa.timestamp("s"), [SECOND, "10000-01-01T00:00:00"]),
        ([2**62], pa.timestamp("s"), ["4611686018427387904"]),
        ([TOO_LATE * 10**6 - 1], pa.timestamp("us", "Europe/Berlin"), ["9999-12-31T23:59:59.999999Z"]),
        ([0], pa.timestamp("us", "Z"), ["1970-01-01T00:00:00.000000Z"]),
        ([1999], pa.timestamp("ns", "PST"), ["1970-01-01T00:00:00.000001Z"]),
        ([1, 2**62], pa.duration("s"), [datetime.timedelta(seconds=1), "4611686018427387904"]),
        ([[0, TOO_LATE, None], None], pa.list_(pa.timestamp("s")), [[SECOND, "10000-01-01T00:00:00", None], None]),
        ([[[TOO_LATE]]], pa.large_list(pa.list_(pa.timestamp("s"))), [[["10000-01-01T00:00:00"]]]),
        (
            [{"a": TOO_LATE, "b": 1}],
            pa.struct({"a": pa.timestamp("s"), "b": pa.int8()}),
            [{"a": "10000-01-01T00:00:00", "b": 1}],
        ),
    ],
)
def test_values(values: list[Any], dtype: pa.DataType, expected: list[Any]) -> None:
    array = pa.array(values, dtype)
    assert python_values(array) == expected
    assert python_values(pa.chunked_array([array, array])) == expected * 2
