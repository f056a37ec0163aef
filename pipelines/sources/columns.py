"""What the columns of a Parquet or Arrow table hold: names of images, the images themselves, or ids."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

URI_COLUMNS = ("uri", "image_uri", "url", "image_url", "path", "image_path", "file_name", "image")
"""Looked for in this order where `--uri-column` does not say which one it is."""
ID_COLUMN = "id"

TEXT, BYTES, IMAGE = "text", "bytes", "image"
"""Kinds of columns: names; encoded images; structs of `bytes` and `path`, of which one may be null."""

_OF_TEXT = {*URI_COLUMNS, "file", "filename", "filepath", "file_path", "img_path", "link", "href"} - {"image"}
_NO_IMAGES = ("id", "key", "uuid", "hash", "digest", "md5", "sha1", "sha256", "audio", "video", "pdf")
_ENCODED = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP")
MOST_NESTED = 8


class ColumnError(ValueError):
    """A table has no column that can be used, or not the one that was asked for."""


class Columns(NamedTuple):
    """What `--uri-column` and `--id-column` say; None where they are not given, and "" for no ids at all.

    `keep` are names of further columns whose values are wanted, where there are such columns.
    """

    uri: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()


class Column(NamedTuple):
    """A column that can be used.

    Attributes:
        path: its name, and names of fields where it is inside a struct.
        kind: one of the constants above.
        flat: whether no list is on the way to the value.
    """

    path: tuple[str, ...]
    kind: str
    flat: bool = True

    @property
    def name(self) -> str:
        """As `--uri-column` takes it, and Parquet's readers."""
        return ".".join(self.path)


def kind_of(dtype: pa.DataType, depth: int = 0) -> str | None:
    """What values of a type are; None: nothing that names or holds an image."""
    types = pa.types
    if depth > MOST_NESTED:
        return None
    if isinstance(dtype, pa.BaseExtensionType):
        return kind_of(dtype.storage_type, depth + 1)
    if types.is_dictionary(dtype):
        return kind_of(dtype.value_type, depth + 1)
    if is_list(dtype):
        return BYTES if types.is_uint8(dtype.value_type) else kind_of(dtype.value_type, depth + 1)
    if types.is_struct(dtype):
        fields = {name: dtype.get_field_index(name) for name in ("bytes", "path")}
        kinds = {name: dtype.field(place).type for name, place in fields.items() if place >= 0}
        fitting = [
            types.is_null(found) or kind_of(found, depth + 1) == {"bytes": BYTES, "path": TEXT}[name]
            for name, found in kinds.items()
        ]
        return IMAGE if fitting and all(fitting) else None
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return TEXT
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return BYTES if any(is_one(dtype) for is_one in binary) else None


def is_list(dtype: pa.DataType) -> bool:
    """Whether values of a type are lists, of any kind that Arrow has."""
    types = pa.types
    return (
        types.is_list(dtype)
        or types.is_large_list(dtype)
        or types.is_fixed_size_list(dtype)
        or types.is_list_view(dtype)
        or types.is_large_list_view(dtype)
    )


def _is_flat(dtype: pa.DataType) -> bool:
    if isinstance(dtype, pa.BaseExtensionType):
        return _is_flat(dtype.storage_type)
    return not is_list(dtype) or pa.types.is_uint8(dtype.value_type)


def choose(
    schema: pa.Schema, asked: Columns, first_value: Callable[[Column], bytes | None]
) -> tuple[Column, tuple[str, ...] | None]:
    """The columns of images, or of their names, and of ids.

    A struct of bytes and path is preferred to a column that names images, and that to any other binary column, unless
    the first value there begins as an encoded image does.

    Args:
        schema: of the table.
        asked: what the user says.
        first_value: the beginning of the first value of a column of bytes that is not null.

    Raises:
        ColumnError: if one that was asked for is not there or cannot be used, or if there is none, or no best one.
    """
    id_column = ID_COLUMN if asked.id is None and ID_COLUMN in schema.names else asked.id
    ids = id_place(schema, id_column) if id_column else None
    if asked.uri is not None:
        path = _place(schema, asked.uri)
        return _asked(path, _type_at(schema, path)), ids
    return _found(schema, first_value), ids


def _place(schema: pa.Schema, name: str) -> tuple[str, ...]:
    """The path of a column: its name, or names with dots between."""
    paths: list[tuple[str, ...]] = [(name,)] if name in schema.names else []
    if not paths:
        parts = tuple(name.split("."))
        paths = [parts] if len(parts) <= MOST_NESTED and _type_at(schema, parts) is not None else []
    if not paths:
        raise ColumnError(f"it has no column {name}, only {some_of(schema.names)}")
    if schema.names.count(paths[0][0]) > 1:
        raise ColumnError(f"it has more than one column with the name {paths[0][0]}: give each a name of its own")
    return paths[0]


def _type_at(schema: pa.Schema, path: tuple[str, ...]) -> pa.DataType | None:
    place = schema.get_field_index(path[0])
    found = schema.field(place).type if place >= 0 else None
    for name in path[1:]:
        if found is None or not pa.types.is_struct(found):
            return None
        place = found.get_field_index(name)
        found = found.field(place).type if place >= 0 else None
    return found


def _asked(path: tuple[str, ...], dtype: pa.DataType | None) -> Column:
    kind = kind_of(dtype) if dtype is not None else None
    name = ".".join(path)
    if dtype is None or kind is None:
        what = _shown(dtype)
        raise ColumnError(
            f"column {name} is {what}, which neither names nor holds an image: --uri-column names another column"
        )
    return Column(path, TEXT if kind == BYTES and _is_called_text(path[-1]) else kind, _is_flat(dtype))


def id_place(schema: pa.Schema, name: str) -> tuple[str, ...]:
    """The path of a column of ids.

    Raises:
        ColumnError: if it is not there, or holds none.
    """
    path = _place(schema, name)
    dtype, types = _type_at(schema, path), pa.types
    if dtype is not None and types.is_dictionary(dtype):
        dtype = dtype.value_type
    known = dtype is not None and (
        types.is_integer(dtype)
        or types.is_floating(dtype)
        or types.is_decimal(dtype)
        or types.is_null(dtype)
        or (kind_of(dtype) in (TEXT, BYTES) and not is_list(dtype))
    )
    if not known:
        raise ColumnError(
            f"column {name} is {_shown(dtype)}, which is no id: --id-column names another, or --id-column '' none"
        )
    return path


def text_column(schema: pa.Schema, name: str) -> Column:
    """A column of text.

    Raises:
        ColumnError: if it is not there, or is none.
    """
    path = _place(schema, name)
    dtype = _type_at(schema, path)
    kind = kind_of(dtype) if dtype is not None else None
    is_text = kind in (TEXT, BYTES) and dtype is not None and not is_list(dtype)
    if dtype is None or not (is_text or pa.types.is_null(dtype)):
        raise ColumnError(f"column {name} is {_shown(dtype)}, not text")
    return Column(path, TEXT)


def _found(schema: pa.Schema, first_value: Callable[[Column], bytes | None]) -> Column:
    """The column of images, or of their names, that nobody has named."""
    usable = list(_usable(schema))
    named = _named_images(schema)
    images = [one for one in usable if one.kind == IMAGE and (one.path[0] in named or not _is_no_image(one.path[-1]))]
    images = [one for one in images if one.path[0] in named] or images
    if images:
        return _best(images)
    names = [one for one in usable if one.kind == TEXT and len(one.path) == 1 and one.name.lower() in URI_COLUMNS]
    holding = [one for one in usable if one.kind == BYTES and not _is_no_image(one.path[-1])]
    if holding and (names or len(holding) > 1):
        holding = [one for one in holding if _is_encoded(first_value(one))] or ([] if names else holding)
    if holding:
        return _best(holding)
    if names:
        return min(names, key=lambda one: (URI_COLUMNS.index(one.name.lower()), one.name.lower() != one.name))
    raise ColumnError(f"which of its columns holds URIs? --uri-column names one of {some_of(schema.names)}")


def _usable(schema: pa.Schema) -> Iterator[Column]:
    for field in schema:
        if schema.names.count(field.name) == 1:
            below = _below((field.name,), field.type)
            # Of a column `a.b` and a field `b` of `a`, which have one name, the column is meant.
            yield from (one for one in below if len(one.path) == 1 or one.name not in schema.names)


def _below(path: tuple[str, ...], dtype: pa.DataType) -> Iterator[Column]:
    kind = kind_of(dtype)
    if kind is not None:
        yield Column(path, TEXT if kind == BYTES and _is_called_text(path[-1]) else kind, _is_flat(dtype))
    elif pa.types.is_struct(dtype) and len(path) < MOST_NESTED:
        for field in dtype:
            if dtype.get_field_index(field.name) >= 0:
                yield from _below((*path, field.name), field.type)


def _named_images(schema: pa.Schema) -> set[str]:
    """Columns that Hugging Face `datasets` calls images."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name for name, feature in features.items() if _has_image(feature, 0)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return set()


def _has_image(feature: Any, depth: int) -> bool:
    if depth > MOST_NESTED:
        return False
    if isinstance(feature, list):
        return any(_has_image(one, depth + 1) for one in feature)
    if isinstance(feature, dict):
        return feature.get("_type") == "Image" or any(_has_image(one, depth + 1) for one in feature.values())
    return False


def _best(columns: list[Column]) -> Column:
    """One of several: by its name, else there must be only one.

    Raises:
        ColumnError: if there are more.
    """
    for name in URI_COLUMNS:
        for one in columns:
            if one.path[-1].lower() == name:
                return one
    if len(columns) > 1:
        raise ColumnError(
            f"which of its columns holds the images? --uri-column names one of {some_of([one.name for one in columns])}"
        )
    return columns[0]


def _is_called_text(name: str) -> bool:
    return name.lower() in _OF_TEXT


def _is_no_image(name: str) -> bool:
    name = name.lower()
    return name in _NO_IMAGES or name.endswith(("hash", *(f"_{word}" for word in _NO_IMAGES)))


def _is_encoded(data: bytes | None) -> bool:
    return data is not None and (data.startswith(_ENCODED) or data[4:8] == b"ftyp")


def _shown(dtype: pa.DataType | None) -> str:
    return "nothing" if dtype is None else str(dtype)[:80]


def some_of(names: Sequence[str]) -> str:
    """Names for a message, which stays one line of bounded length."""
    return ", ".join(name[:40] for name in names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
