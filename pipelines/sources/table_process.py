"""Reads tables in a process of its own of bounded memory and time, which a damaged table may end without harm here."""

import atexit
import collections
import contextlib
import functools
import json
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa

from beamscribe.pipelines.sources.columns import Column, Columns
from beamscribe.pipelines.sources.forward_reads import ForwardReads
from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.planned_reads import PlannedReads
from beamscribe.pipelines.sources.table_child import TableChild
from beamscribe.pipelines.sources.table_rows import Part
from beamscribe.pipelines.sources.table_server import COLUMN, DATA, ERROR, IMAGE, NO_IMAGE, PLACE, READ, SPANS
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.storage.location import without_query

MOST_DEATHS = 3
"""How often the process may end because of one table; what is left of that table is not tried any more."""


class TableError(ValueError):
    """A table, or a row of it, cannot be read; the message says why."""


class TableDiedError(TableError):
    """Reading a table has ended the process that did it."""


class TableProcess:
    """A process that answers one request at a time; it is started for the first one and again after it has died."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._child = TableChild()
        self._sizes: dict[str, int] = {}
        self._reads = ForwardReads()
        self._deaths: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> "TableProcess":
        """Ends the process with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def know_size(self, where: Where, size: int) -> None:
        """Storage need not be asked how many bytes a table has."""
        self._sizes[where.uri] = size

    def row(self, where: Where, group: int, row: int, column: str, max_bytes: int) -> bytes:
        """The image in a row.

        Args:
            where: the table.
            group: row group or batch.
            row: in the group.
            column: name, see `Column.name`.
            max_bytes: of an image.

        Raises:
            UnreadableMemberError: if there is none.
            OSError: if storage fails.
        """
        wish = {"do": "row", "group": group, "row": row, "column": column, "max_bytes": max_bytes}
        try:
            [data] = self._asked(where, wish)
            return data
        except TableError as error:
            raise UnreadableMemberError(str(error)) from error

    def groups(self, where: Where) -> list[int]:
        """The rows of each row group of a Parquet file, which its metadata tells.

        Raises:
            TableError: if they cannot be read.
            OSError: if storage fails.
        """
        [piece] = self._asked(where, {"do": "groups"})
        return json.loads(piece)

    def rows(
        self, where: Where, columns: Columns, max_bytes: int, some: tuple[int, int] | None = None
    ) -> Generator[Part | Column, None, None]:
        """As `beamscribe.pipelines.sources.table_rows.list_rows`.

        Raises:
            TableError: if the table, or what follows the parts that came before, cannot be read.
            OSError: if storage fails.
        """
        wish = {"do": "rows", "columns": columns[:2], "max_bytes": max_bytes, "some": some}
        for piece in self._asked(where, wish):
            kind, *fields = json.loads(piece)
            yield _column(fields) if kind == "column" else _part(fields)

    def passed(
        self, where: Where, size: int, columns: Columns, begins: int, max_bytes: int, place: Place | None = None
    ) -> Generator[Column | Part | Place | bytes | UnreadableMemberError, None, None]:
        """As `beamscribe.pipelines.sources.table_passed.pass_rows`.

        Args:
            where: a Parquet file.
            size: of it, in bytes.
            columns: that are asked for.
            begins: number of the first row.
            max_bytes: of an image.
            place: of that row, or of one before it.

        Raises:
            TableError: if the table, or what follows what came before, cannot be read.
            OSError: if storage fails.
        """
        wish = {"do": "pass", "columns": columns[:2], "begins": begins, "listed_bytes": MAX_BYTES}
        wish |= {"max_bytes": max_bytes, "place": place}
        with contextlib.closing(PlannedReads(where, size)) as reads:
            for piece in self._asked(where, wish, (size, reads.read)):
                kind, data = piece[:1], piece[1:]
                if kind == IMAGE:
                    yield data
                elif kind == NO_IMAGE:
                    yield UnreadableMemberError(data.decode())
                elif kind == SPANS:
                    reads.plan(tuple(span) for span in json.loads(data)[0])
                elif kind == PLACE:
                    yield Place(*json.loads(data))
                else:
                    yield (_column if kind == COLUMN else _part)(json.loads(data))

    def texts(self, where: Where, wanted: list[str], optional: list[str]) -> Iterator[dict[str, Any]]:
        """Columns of text, in parts: see `beamscribe.pipelines.sources.table_server.texts`.

        Raises:
            TableError: if the table, or what follows the parts that came before, cannot be read.
            OSError: if storage fails.
        """
        for piece in self._asked(where, {"do": "texts", "wanted": wanted, "optional": optional}):
            yield json.loads(piece)

    def kept(
        self, where: Where, names: Sequence[str], some: tuple[int, int] | None = None
    ) -> tuple[list[str], pa.Schema, Iterator[pa.RecordBatch]]:
        """Columns that are kept, see `beamscribe.pipelines.sources.table_kept`.

        Returns:
            The names of all columns of the table, the types of those that are kept, and their rows, which have to be
            taken to their end before anything else is asked for.

        Raises:
            TableError: if the table cannot be read, or, from the rows, what follows those that came before.
            OSError: if storage fails.
        """
        pieces = self._asked(where, {"do": "kept", "names": list(names), "some": some})
        columns, schema = json.loads(next(pieces)), pa.ipc.read_schema(pa.py_buffer(next(pieces)))
        return columns, schema, (pa.ipc.open_stream(piece).read_next_batch() for piece in pieces)

    @property
    def pid(self) -> int | None:
        """Of the process that reads, if there is one."""
        return self._child.pid

    def forget_deaths(self) -> None:
        """Whoever reads a table from now on may have processes end as often as the first one."""
        with self._lock:
            self._deaths.clear()

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _asked(
        self, where: Where, wish: dict[str, Any], reading: tuple[int, Callable[[int, int], bytes]] | None = None
    ) -> Iterator[bytes]:
        """Pieces of the answer to a request; a process that has not given all of it is ended.

        Args:
            where: the table.
            wish: what is asked.
            reading: bytes of the file, where they are known, and how to read some of them.
        """
        with self._lock:
            if self._deaths[where.uri] >= MOST_DEATHS:
                raise TableError(f"reading other rows of it has ended a process {MOST_DEATHS} times: it is damaged")
            whole = False
            try:
                path, size = (where.local_path(), reading[0]) if reading else self._place(where)
                read = reading[1] if reading else functools.partial(self._reads.read, where, size)
                pipe = self._child.started()
                pipe.send_bytes(
                    json.dumps(
                        {**wish, "uri": where.uri, "name": without_query(where.uri), "path": path, "size": size}
                    ).encode()
                )
                while True:
                    kind, data = self._child.message()
                    if kind == READ:
                        pipe.send_bytes(read(*json.loads(data)))
                    elif kind == DATA:
                        yield data
                    else:
                        whole = True
                        break
                if kind == ERROR:
                    raise TableError(data.decode())
            except EOFError:
                self._deaths[where.uri] += 1
                why = f"reading it ended a process of its own ({self._end()}): it is damaged"
                raise TableDiedError(why) from None
            finally:
                if not whole:
                    self._end()

    def _end(self) -> str:
        """Ends the process and says how it ended."""
        self._reads.close()
        return self._child.end()

    def _place(self, where: Where) -> tuple[str | None, int]:
        """The local path of a file, if it has one, and its size."""
        path = where.local_path()
        if path is not None:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableMemberError(f"{path} is no regular file")
            return path, found.st_size
        if where.uri not in self._sizes:
            self._sizes[where.uri] = where.size()
        return None, self._sizes[where.uri]


def _column(fields: Sequence[Any]) -> Column:
    path, kind, flat = fields
    return Column(tuple(path), kind, flat)


def _part(fields: Sequence[Any]) -> Part:
    part = Part(*fields)
    return part._replace(problems={int(place): why for place, why in part.problems.items()})


PROCESS = TableProcess()
"""The one of this process: whatever threads read tables share it."""

atexit.register(PROCESS.close)
