"""Typed rows to Parquet and back, with a schema version that readers check."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from beamscribe.schemas.kept_columns import as_columns, is_kept, kept_of

VERSION_KEY = b"beamscribe.schema_version"
"""Key of the schema version in the key-value metadata of every Parquet file."""

RowT = TypeVar("RowT", bound=NamedTuple)


class NewerSchemaError(ValueError):
    """A file was written by a newer Beamscribe than this one."""


class _NamedRow(Protocol):
    def _asdict(self) -> dict[str, Any]: ...


def check_version(what: str, found: int, known: int) -> None:
    """Refuses a file that is newer than this reader.

    Args:
        what: the file, named for people.
        found: the schema version that the file carries.
        known: the newest schema version that the reader understands.

    Raises:
        NewerSchemaError: if `found` is newer than `known`.
    """
    if found > known:
        raise NewerSchemaError(
            f"{what} has schema version {found}, this Beamscribe reads up to {known}: upgrade Beamscribe to read it"
        )


def described(name: str, dtype: pa.DataType, description: str) -> pa.Field:
    """A non-null column that carries its own description, so that other tools can show it."""
    return pa.field(name, dtype, nullable=False, metadata={"description": description})


def optional(name: str, dtype: pa.DataType, description: str) -> pa.Field:
    """As `described`, for a column that may be null, and that files of older versions may lack."""
    return described(name, dtype, description).with_nullable(True)


def versioned(fields: Sequence[pa.Field], version: int) -> pa.Schema:
    """A schema that carries its version in the file's metadata."""
    return pa.schema(fields, metadata={VERSION_KEY: str(version).encode()})


def schema_version(schema: pa.Schema) -> int:
    """The version that a schema carries.

    Raises:
        ValueError: if it carries none, so it is not one of Beamscribe's files.
    """
    try:
        return int((schema.metadata or {})[VERSION_KEY])
    except KeyError:
        raise ValueError("the file carries no Beamscribe schema version, so Beamscribe did not write it") from None


def to_table(rows: Iterable[_NamedRow], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table; nested NamedTuples become structs, and kept columns are as they are."""
    kept = kept_of(schema)
    if not kept.names:
        return pa.Table.from_pylist([_plain(row) for row in rows], schema=schema)
    rows = list(rows)
    own = pa.schema([field for field in schema if not is_kept(field)])
    table = pa.Table.from_pylist([_plain(row) for row in rows], schema=own)
    values = as_columns([getattr(row, "kept", None) for row in rows], kept)
    columns = dict(zip(kept.names, values, strict=True))
    return pa.table([columns[name] if name in columns else table[name] for name in schema.names], schema=schema)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
