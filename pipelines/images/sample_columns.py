"""Columns that are kept of what stands beside an image in an archive: its JSON, and texts such as `.txt`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.images.reading import ReadFile, Reading
from beamscribe.pipelines.images.shard_files import read_shard
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import Member, WorkItem
from beamscribe.schemas.keep import Keep
from beamscribe.schemas.kept_columns import row_of

JSON = "json"
"""Suffix of the member whose properties are columns."""

MOST_BYTES = 2**22
"""Of a member beside an image."""


class SampleColumns(NamedTuple):
    """What is kept of a sample.

    Attributes:
        keeps: columns with their sources: the suffix of a member, whose text it is, else a property of its JSON.
        schema: of the columns.
    """

    keeps: tuple[Keep, ...]
    schema: pa.Schema

    def row(self, beside: Mapping[str, bytes | Exception]) -> pa.RecordBatch:
        """The values of an image.

        Args:
            beside: members by suffix, or why they cannot be read.
        """
        fields, unread = self._properties(beside)
        values: dict[str, Any] = {}
        for keep in self.keeps:
            data = beside.get(keep.source)
            if data is None:
                values[keep.column] = fields.get(keep.source)
                continue
            try:
                if isinstance(data, Exception):
                    raise data
                values[keep.column] = _text(data)
            except (OSError, ValueError):
                unread = True
        return row_of(values, self.schema, unread)

    def _properties(self, beside: Mapping[str, bytes | Exception]) -> tuple[dict[str, Any], bool]:
        """The properties of the JSON, and whether it is there and cannot be read."""
        data = beside.get(JSON)
        if data is None or all(keep.source in beside for keep in self.keeps):
            return {}, False
        if isinstance(data, Exception):
            return {}, True
        try:
            found = json.loads(_text(data))
        except (ValueError, RecursionError):
            return {}, True
        return (found, False) if isinstance(found, dict) else ({}, True)

    def filled(self, todo: Sequence[PendingItem], reading: Reading, run: Run) -> tuple[PendingItem, ...]:
        """Items with their columns, for which the members beside them are read, side by side as images are."""
        wanted: list[PendingItem] = []
        for place, item in enumerate(todo):
            reference, member = item.reference, item.reference.member
            for one in reference.beside:
                assert member is not None
                found = Member(member.kind, member.place, one.start, one.size, one.detail, one.check, member.version)
                # The id tells whose it is.
                id = json.dumps([place, one.suffix])
                wanted.append(
                    PendingItem(WorkItem(id, id, container=reference.container, member=found, query=reference.query))
                )
        beside: dict[int, dict[str, bytes | Exception]] = {}
        files: Any = read_shard(wanted, reading._replace(max_bytes=MOST_BYTES), run.started) if wanted else ()
        for file in files:
            is_read = isinstance(file, ReadFile)
            place, suffix = json.loads(file.todo.reference.id if is_read else file.id)
            beside.setdefault(place, {})[suffix] = file.data if is_read else OSError(file.message)
            if is_read:
                files.release(file)
        return tuple(item._replace(kept=self.row(beside.get(place, {}))) for place, item in enumerate(todo))


def _text(data: bytes) -> str:
    """A text file's text, without the end of its last line.

    Raises:
        ValueError: if it is none, or too long for one.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has {len(data)} bytes")
    return data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
