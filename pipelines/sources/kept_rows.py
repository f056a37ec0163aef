"""Columns of manifests that are kept: found while these are listed, and given to the shards of what is to do."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.columns import some_of
from beamscribe.pipelines.sources.json_types import JsonType
from beamscribe.pipelines.sources.kept_spool import JSON, TEXT, KeptSpool, text_schema, unread_of
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.conversion import as_array
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.kept_columns import DECLARED, UNREAD, kept_field, null_row
from beamscribe.schemas.python_values import python_values

MOST_NAMES = 1000
"""Of columns that are remembered, to tell which one may have been meant."""


class KeptRows:
    """The kept columns of a corpus.

    Args:
        keeps: what is asked for.
    """

    def __init__(self, keeps: Sequence[Keep]) -> None:
        self.keeps = tuple(keeps)
        self.sources = tuple(dict.fromkeys(one.source for one in keeps))
        self._schema = text_schema(self.sources)
        self._spool = KeptSpool()
        self._json = {name: JsonType() for name in self.sources}
        self._types: dict[str, dict[pa.DataType, str]] = {name: {} for name in self.sources}
        self._names: dict[str, None] = {}
        self._found: set[str] = set()
        self.schema = pa.schema([])

    def see_names(self, names: Iterable[str]) -> None:
        """Takes notice of the columns of a manifest."""
        for name in names:
            if name in self._types:
                self._found.add(name)
            elif len(self._names) < MOST_NAMES:
                self._names[name] = None

    def add_text(self, manifest: str, values: Mapping[str, str]) -> int:
        """Adds a row of CSV, whose values are texts, and gives its number; what is empty is null."""
        for name in values:
            self._types[name].setdefault(pa.string(), manifest)
        return self._spool.add_texts(TEXT, self._schema, [values.get(name) or None for name in self.sources])

    def add_json(self, values: Mapping[str, Any]) -> int:
        """Adds a row of JSON, and gives its number."""
        for name, value in values.items():
            self._json[name].see(value)
        texts = [
            None if (value := values.get(name)) is None else json.dumps(value, ensure_ascii=True)
            for name in self.sources
        ]
        return self._spool.add_texts(JSON, self._schema, texts)

    def add_table(self, manifest: str, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> int:
        """Adds the rows of a table, and gives the number of the first.

        Args:
            manifest: the table.
            schema: of the columns that it has.
            rows: all of them; a further column may say which could not be read.
        """
        for field in schema:
            self._types[field.name].setdefault(field.type, manifest)
        return self._spool.add_table(rows)

    def end(self, flag: str) -> None:
        """Nothing more comes.

        Args:
            flag: the sources, for people.

        Raises:
            RefusedError: if none of them has one of the columns.
        """
        for name in self.sources:
            if name in self._found:
                continue
            if not self._names and not self._found:
                raise RefusedError(
                    f"--keep-columns {name}: {flag} is a list of URIs, which has no columns: leave the flag out, or "
                    "give CSV, JSON, Parquet or Arrow"
                )
            near = difflib.get_close_matches(name, [*self._names, *self._found], 1, 0.0)
            raise RefusedError(
                f"--keep-columns {name}: {flag} has no column of that name, the nearest is {near[0]}; there are "
                f"{some_of([*self._found, *self._names])}"
            )
        self._spool.end()

    def resolve(self, earlier: pa.Schema) -> pa.Schema:
        """The columns with their types: as declared, else as an earlier run has them if they fit, else as they are.

        Args:
            earlier: kept columns of the output, in whose types the rest of it is to be.

        Raises:
            RefusedError: if manifests have a column in types that do not go together.
        """
        self.schema = pa.schema([kept_field(one.column, self._type(one, earlier), one.source) for one in self.keeps])
        return self.schema

    def _type(self, keep: Keep, earlier: pa.Schema) -> pa.DataType:
        if keep.type:
            return DECLARED[keep.type]
        types = dict(self._types[keep.source])
        types.setdefault(self._json[keep.source].dtype, "JSON")
        found = pa.null()
        for dtype in types:
            joined = _joined(found, dtype)
            if joined is None:
                where = " and ".join(f"{one} in {manifest}" for one, manifest in types.items() if one != pa.null())
                raise RefusedError(
                    f"--keep-columns {keep.source}: it is {where}: declare one type for all, as {keep.source}:string"
                )
            found = joined
        place = earlier.get_field_index(keep.column)
        before = earlier.field(place).type if place >= 0 else None
        if before is not None and _joined(found, before) == before:
            return before
        return pa.string() if pa.types.is_null(found) else found

    def filled(self, shard: Shard) -> Shard:
        """A shard whose items have their values with them."""
        numbered = [place for place, item in enumerate(shard.todo) if item.reference.kept is not None]
        if not numbered:
            return shard
        numbers = np.array([shard.todo[place].reference.kept for place in numbered])
        rows = self.values(numbers)
        todo = list(shard.todo)
        for place, row in zip(numbered, rows, strict=True):
            item = todo[place]
            todo[place] = item._replace(reference=item.reference._replace(kept=None), kept=row)
        return shard._replace(todo=tuple(todo))

    def values(self, numbers: np.ndarray) -> list[pa.RecordBatch]:
        """Rows of values.

        Args:
            numbers: (count,) integers; rows that were not added could not be read.
        """
        found: list[pa.RecordBatch] = [null_row(self.schema, unread=True)] * len(numbers)
        for taken in self._spool.take(numbers):
            batch = self._typed(taken.form, taken.rows)
            for row, place in enumerate(taken.order):
                found[place] = batch.slice(row, 1)
        return found

    def _typed(self, form: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        unread = np.array(unread_of(rows), bool)
        columns = []
        for keep, field in zip(self.keeps, self.schema, strict=True):
            if keep.source not in rows.schema.names:
                columns.append(pa.nulls(rows.num_rows, field.type))
                continue
            column = rows.column(keep.source)
            kept = None if form == JSON else _cast(column, field.type)
            if kept is not None:
                columns.append(kept)
                continue
            values = python_values(column)
            if form == JSON:
                values = [None if value is None else json.loads(value) for value in values]
            array, wrong = as_array(values, field.type)
            columns.append(array)
            unread |= np.array(wrong, bool)
        return pa.RecordBatch.from_arrays(
            [*columns, pa.array(unread)], schema=self.schema.append(pa.field(UNREAD, pa.bool_()))
        )


def _cast(column: pa.Array, dtype: pa.DataType) -> pa.Array | None:
    """A column in another type, where nothing is lost and texts are not read as something else."""
    if column.type == dtype:
        return column
    texts = [pa.types.is_string(one) or pa.types.is_large_string(one) for one in (column.type, dtype)]
    if any(texts) and not all(texts):
        return None
    try:
        return column.cast(dtype)
    except pa.ArrowException:
        return None


def _joined(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A type that holds the values of both; None if there is none."""
    schemas = [pa.schema([("", dtype)]) for dtype in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
