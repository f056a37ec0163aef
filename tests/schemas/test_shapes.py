"""Types of what JSON gave."""

from typing import Any, NamedTuple

import pytest

from beamscribe.schemas.shapes import check_shape


class Inner(NamedTuple):
    number: int
    ratio: float = 0.0


class Outer(NamedTuple):
    text: str
    inner: Inner | None
    texts: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    table: dict[str, Any]
    names: list[str]


RIGHT = Outer("a", Inner(1, 2), ("a", "b"), (("a", 1),), {"a": [1]}, ["a"])


def test_what_has_the_types_passes() -> None:
    check_shape(RIGHT, Outer)
    check_shape(RIGHT._replace(inner=None, texts=(), pairs=(), table={}, names=[]), Outer)


@pytest.mark.parametrize(
    "changed",
    [
        {"text": None},
        {"text": 1},
        {"inner": (1, 2)},
        {"inner": Inner(True)},
        {"inner": Inner("1")},
        {"inner": Inner(1, "x")},
        {"texts": ["a"]},
        {"texts": ("a", 1)},
        {"texts": ("a", None)},
        {"pairs": (("a",),)},
        {"pairs": (("a", "b"),)},
        {"pairs": ("ab",)},
        {"table": [1]},
        {"table": {1: "a"}},
        {"names": ("a",)},
        {"names": [{}]},
    ],
)
def test_what_has_not_is_named(changed: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(changed))):
        check_shape(RIGHT._replace(**changed), Outer)
