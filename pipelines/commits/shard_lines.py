"""A shard as a line of what is to do, and back."""

import json
from typing import Any

from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.kept_columns import packed, unpacked


def to_line(shard: Shard) -> bytes:
    """A shard as a line of JSON: its name, its items with their attempts, its container, and what is kept of the items'
    source, an Arrow stream; the last ones are left out where there are none.
    """
    todo = [(item.reference, item.attempts) for item in shard.todo]
    kept = packed([item.kept for item in shard.todo])
    rest = (shard.container, kept) if kept else (shard.container,) if shard.container else ()
    return json.dumps((shard.name, todo, *rest), ensure_ascii=False).encode() + b"\n"


def from_line(line: bytes) -> Shard:
    """Reads a shard back.

    Raises:
        ValueError: if the line is damaged.
        TypeError: likewise.
        RecursionError: likewise.
    """
    parts: list[Any] = [*json.loads(line), None, ""]
    name, todo, container, kept = parts[:4]
    rows = unpacked(kept) if kept else [None] * len(todo)
    items = tuple(
        PendingItem(WorkItem.from_json(fields), attempts, row)
        for (fields, attempts), row in zip(todo, rows, strict=True)
    )
    return Shard(name, items, container=Container.from_json(container) if container else None)
