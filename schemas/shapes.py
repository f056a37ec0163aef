"""Whether what JSON gave has the types that a class says, since Python does not look."""

import functools
import types
import typing
from typing import Any


def check_shape(value: Any, expected: Any, where: str = "") -> None:
    """Compares a value with a type.

    Args:
        value: made from JSON.
        expected: `str`, `int`, `float` (whole numbers too), `Any`, a union, a tuple, a list or a dict of such, a
            `NamedTuple` or a dataclass.
        where: of the value, for people.

    Raises:
        TypeError: if they differ, naming the field.
    """
    if expected is Any:
        return
    origin, inside = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        if not any(_fits(value, one) for one in inside):
            raise _other(value, where)
    elif origin in (tuple, list):
        if not isinstance(value, origin):
            raise _other(value, where)
        if len(inside) == 2 and inside[1] is not Ellipsis:
            if len(value) != 2:
                raise _other(value, where)
            for item, kind in zip(value, inside, strict=True):
                check_shape(item, kind, where)
        elif inside[0] is not str or set(map(type, value)) - {str}:
            for item in value:
                check_shape(item, inside[0], where)
    elif origin is dict:
        if not isinstance(value, dict):
            raise _other(value, where)
        for key, item in value.items():
            check_shape(key, inside[0], where)
            check_shape(item, inside[1], where)
    elif isinstance(expected, type) and getattr(expected, "__annotations__", None):
        if not isinstance(value, expected):
            raise _other(value, where)
        for name, kind in _hints(expected).items():
            check_shape(getattr(value, name), kind, f"{where}.{name}" if where else name)
    elif type(value) is not expected and not (expected is float and type(value) is int):
        raise _other(value, where)


def _fits(value: Any, expected: Any) -> bool:
    try:
        check_shape(value, expected)
    except TypeError:
        return False
    return True


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if not name.startswith("_")}


def _other(value: Any, where: str) -> TypeError:
    return TypeError(f"{where or 'a value'} is {type(value).__name__}")
