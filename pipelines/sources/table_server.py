"""Runs in the process that reads tables, see `pipelines.sources.table_process`; nothing of storage or TensorFlow."""

import collections
import contextlib
import functools
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.sources import opened_table, table_rows, tables
from beamscribe.pipelines.sources.arrow_table import ArrowTable
from beamscribe.pipelines.sources.columns import Column, Columns
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.table_kept import kept_batches
from beamscribe.pipelines.sources.table_passed import Spans, pass_rows
from beamscribe.pipelines.sources.table_texts import texts

DATA, ERROR, END, READ = b"D", b"E", b".", b"R"
"""First bytes of what the process sends: a piece of an answer, why there is none, its end, or a wish for bytes."""

COLUMN, SPANS, PART, PLACE, IMAGE, NO_IMAGE = b"c", b"s", b"p", b"a", b"i", b"n"
"""First bytes of the pieces of a table that is gone through, see `beamscribe.pipelines.sources.table_passed`."""

_LETTERS = {Column: COLUMN, Spans: SPANS, table_rows.Part: PART, Place: PLACE}

MEMORY_BYTES = 2**30
"""That a table may take to be read, and a few times what its largest column chunk has in the file: honest pages are not
much larger than that, those that are inflated to gigabytes are."""

CHUNK_TIMES, LARGEST_CHUNK = 3, 2**31

OPEN_TABLES = 4

PARENT_SECONDS = 1.0
"""Between two looks whether the process that asks is still there."""


class Opened(NamedTuple):
    """A table that is kept open."""

    table: ParquetTable | ArrowTable
    rows: dict[int, table_rows.Rows]
    memory: int


class Server:
    """Answers requests from one pipe."""

    def __init__(self, pipe: Connection) -> None:
        """Takes the pipe that requests come from."""
        self._pipe = pipe
        self._tables: collections.OrderedDict[str, Opened] = collections.OrderedDict()
        self._doing: dict[str, Callable[[Opened, dict[str, Any]], Iterator[bytes]]] = {
            "row": _row,
            "rows": _rows,
            "pass": _pass,
            "groups": _groups,
            "texts": _texts,
            "kept": _kept,
        }

    def answer(self, request: dict[str, Any]) -> None:
        """Sends the answer to a request, or why there is none."""
        try:
            limit_memory(MEMORY_BYTES)
            # What is gone through is not asked for again.
            table = self._open(request) if request["do"] == "pass" else self._opened(request)
            limit_memory(table.memory)
            for piece in self._doing[request["do"]](table, request):
                self._pipe.send_bytes(DATA + piece)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's table brings about is what is wrong with it.
            self._pipe.send_bytes(ERROR + table_rows.described(error).encode("utf-8", "backslashreplace"))
        else:
            self._pipe.send_bytes(END)

    def _opened(self, request: dict[str, Any]) -> Opened:
        uri = request["uri"]
        found = self._tables.get(uri)
        if found is None:
            found = self._tables[uri] = self._open(request)
            if len(self._tables) > OPEN_TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(uri)
        return found

    def _open(self, request: dict[str, Any]) -> Opened:
        size = request["size"]
        source = request["path"] or functools.partial(_read_by_parent, self._pipe)
        table = opened_table.open_table(source, request["name"], size)
        return Opened(table, {}, MEMORY_BYTES + CHUNK_TIMES * min(table.largest_chunk, LARGEST_CHUNK))


def _row(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    max_bytes = request["max_bytes"]
    rows = table.rows.setdefault(max_bytes, table_rows.Rows(table.table, max_bytes))
    yield rows.image(request["group"], request["row"], request["column"])


def _rows(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    columns, some = Columns(*request["columns"]), request["some"]
    for part in table_rows.list_rows(table.table, columns, request["max_bytes"], some):
        yield _json(["column" if isinstance(part, Column) else "part", *part])


def _pass(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    """Each piece begins with a letter that says what it is."""
    if not isinstance(table.table, ParquetTable):
        raise tables.DamagedTableError("it is no Parquet file")
    wanted = (request["begins"], request["listed_bytes"], request["max_bytes"])
    place = Place(*request["place"]) if request["place"] else None
    for found in pass_rows(table.table, Columns(*request["columns"]), *wanted, place):
        if isinstance(found, bytes):
            yield IMAGE + found
        elif isinstance(found, str):
            yield NO_IMAGE + found.encode("utf-8", "backslashreplace")
        else:
            yield _LETTERS[type(found)] + _json(found)


def _groups(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    yield _json(list(table.table.groups([])))


def _texts(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    for part in texts(table.table, request["wanted"], request["optional"]):
        yield _json(part)


def _kept(table: Opened, request: dict[str, Any]) -> Iterator[bytes]:
    return kept_batches(table.table, request["names"], request["some"])


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _read_by_parent(pipe: Connection, position: int, wanted: int) -> bytes:
    """Bytes of a file that the parent reads: it has the clients, the credentials and the guards of storage."""
    pipe.send_bytes(READ + _json([position, wanted]))
    return pipe.recv_bytes()


def limit_memory(size: int) -> None:
    """Lets this process have so many bytes more than it has, where the system can; mapped files do not count."""
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[5]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = used + size
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def serve(descriptor: int, parent: int) -> None:
    """Answers requests until the pipe closes or the process that asks is gone.

    Args:
        descriptor: of the socket.
        parent: process that asks.
    """
    # Ctrl-C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pa.set_cpu_count(1)
    pipe = Connection(descriptor)
    server = Server(pipe)
    with contextlib.suppress(EOFError, OSError):
        while True:
            server.answer(json.loads(pipe.recv_bytes()))
