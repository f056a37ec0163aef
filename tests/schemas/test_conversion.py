import datetime
from typing import Any

import pyarrow as pa
import pytest

from beamscribe.schemas.conversion import as_array, converted, json_of, text_of

UTC = datetime.UTC
TAKEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (None, pa.int64(), None),
        ("", pa.int64(), None),
        ("", pa.string(), ""),
        ("007", pa.string(), "007"),
        (7, pa.string(), "7"),
        (True, pa.string(), "true"),
        ({"a": [1, "é"]}, pa.string(), '{"a": [1, "é"]}'),
        (" 12 ", pa.int64(), 12),
        ("-12", pa.int8(), -12),
        (3.0, pa.int32(), 3),
        (2**64 - 1, pa.uint64(), 2**64 - 1),
        ("1e3", pa.float64(), 1000.0),
        (3, pa.float32(), 3.0),
        ("True", pa.bool_(), True),
        ("0", pa.bool_(), False),
        (1, pa.bool_(), True),
        ("2026-01-02", pa.date32(), datetime.date(2026, 1, 2)),
        (datetime.date(2026, 1, 2), pa.date32(), datetime.date(2026, 1, 2)),
        ("2026-01-02T03:04:05Z", STAMP, TAKEN),
        ("2026-01-02 03:04:05", STAMP, TAKEN),
        ("2026-01-02T12:04:05+09:00", pa.timestamp("s"), TAKEN.replace(tzinfo=None)),
        (["1", None, 2], pa.list_(pa.int64()), [1, None, 2]),
    ],
)
def test_values_that_a_column_holds(value: Any, dtype: pa.DataType, expected: Any) -> None:
    found = converted(value, dtype)
    assert (found, type(found)) == (expected, type(expected))
    assert as_array([value], dtype)[1] == [False]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ("wide", pa.int64()),
        ("1.5", pa.int64()),
        (1.5, pa.int64()),
        (True, pa.int64()),
        (128, pa.int8()),
        (-1, pa.uint8()),
        ("9" * 40, pa.int64()),
        ("much", pa.float64()),
        ("yes", pa.bool_()),
        (2, pa.bool_()),
        (1.0, pa.bool_()),
        ("yesterday", STAMP),
        (1700000000, STAMP),
        ("2026-13-01", pa.date32()),
        (["x"], pa.list_(pa.int64())),
        ("x", pa.list_(pa.string())),
        ({"a": 1}, pa.float64()),
    ],
)
def test_values_that_it_does_not_hold_are_null_and_told(value: Any, dtype: pa.DataType) -> None:
    array, wrong = as_array([value, None], dtype)
    assert (array.to_pylist(), wrong) == ([None, None], [True, False])


def test_values_as_text_and_as_json() -> None:
    values = [None, "\ud800", TAKEN, 1.5, float("nan"), [TAKEN.date()], {"a": None}]
    assert [text_of(value) for value in values] == [
        *("", "\\ud800", "2026-01-02T03:04:05+00:00", "1.5", "NaN", '["2026-01-02"]', '{"a": null}')
    ]
    assert json_of([float("inf"), TAKEN, {"a": datetime.timedelta(1)}, 2**70]) == [
        *(None, "2026-01-02T03:04:05+00:00", {"a": "1 day, 0:00:00"}, 2**70)
    ]
