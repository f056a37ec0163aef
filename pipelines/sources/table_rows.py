"""The rows of a table: listed in parts, or asked for one by one; validated before anything is taken from them."""

import collections
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.pipelines.sources.cells import OF_ID, CellError, cell_of, id_of
from beamscribe.pipelines.sources.columns import IMAGE, TEXT, Column, ColumnError, Columns, choose
from beamscribe.pipelines.sources.tables import MOST_CURSORS, DamagedTableError, Table, top_place

BATCH_BYTES, BATCH_ROWS = 2**21, 1024
"""Bytes on average and number at most of rows that are read together."""

PASSED_BYTES = 2**19
"""As `BATCH_BYTES`, of a table that is gone through: what no slice holds yet is read again after a kill."""

LISTED_ROWS = 10_000
"""That are listed together."""

KEPT_BATCHES = 8
"""Batches that a reader keeps while it goes forward: threads ask for rows in nearly their order."""


class Part(NamedTuple):
    """Rows of one row group or batch that follow each other.

    Attributes:
        group: number of the row group or batch.
        first: row in the group.
        rows: how many.
        ids: of each row, "" where it has none; None where no row has one.
        names: of each row's image, None where the row holds it; None where all rows do.
        problems: by place in this part, why a row cannot be used.
        damage: why none of them can.
    """

    group: int
    first: int
    rows: int
    ids: list[str] | None = None
    names: list[str | None] | None = None
    problems: dict[int, str] = {}
    damage: str = ""


def column_of(schema: pa.Schema, name: str) -> Column:
    """The column that a listing has chosen, see `Column.name`."""
    return choose(schema, Columns(name, ""), lambda column: None)[0]


def validated(array: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """An array with nothing in it that points outside of it, and why rows of it may not be looked at."""
    try:
        array.validate(full=True)
    except pa.ArrowException as error:
        if pa.types.is_dictionary(array.type) or len(array) == 1:
            return array, dict.fromkeys(range(len(array)), str(error)[:300])
    else:
        return array, {}
    problems = {}
    for row in range(len(array)):
        try:
            array.slice(row, 1).validate(full=True)
        except pa.ArrowException as error:
            problems[row] = str(error)[:300]
    return array, problems


class Rows:
    """The images of a table's rows, asked for in nearly their order."""

    def __init__(self, table: Table, max_bytes: int, in_order: bool = False) -> None:
        """Takes a table.

        Args:
            table: which one.
            max_bytes: of an image.
            in_order: whether no row is asked for after a later one, and little may be read ahead.
        """
        self._table, self.max_bytes, self._in_order = table, max_bytes, in_order
        self._cursors: collections.deque[_Cursor] = collections.deque(maxlen=MOST_CURSORS)

    def image(self, group: int, row: int, name: str) -> bytes:
        """The image in a row.

        Args:
            group: row group or batch.
            row: in the group.
            name: of the column, see `Column.name`.

        Raises:
            ValueError: if there is none.
            OSError: if the file cannot be read.
            pa.ArrowException: if it is damaged.
        """
        ready = [one for one in self._cursors if (one.group, one.column.name) == (group, name) and one.first <= row]
        cursor = max(ready, key=lambda one: one.first, default=None)
        if cursor is None:
            # Of a table that is gone through only the first group that is read so is not read from its beginning.
            begins = row if self._in_order and not self._cursors else 0
            batch_bytes = PASSED_BYTES if self._in_order else BATCH_BYTES
            cursor = _Cursor(self._table, group, column_of(self._table.schema, name), begins, batch_bytes)
            self._cursors.append(cursor)
        cell = cell_of(cursor.scalar(row), cursor.column, self.max_bytes)
        if cell.data is None:
            raise CellError("this row holds no image")
        return cell.data


class _Cursor:
    """Goes forward through the rows of a group; an error stays where it was met."""

    def __init__(self, table: Table, group: int, column: Column, begins: int, batch_bytes: int) -> None:
        self.group, self.column = group, column
        rows = max(1, min(BATCH_ROWS, batch_bytes // max(1, table.row_bytes(group, column))))
        self._batches = table.batches(group, [table.needed(group, column)], rows, begins)
        self._kept: collections.deque[tuple[int, pa.Array, dict[int, str]]] = collections.deque(maxlen=KEPT_BATCHES)
        self._begins = self._next = begins
        self._error: Exception | None = None

    @property
    def first(self) -> int:
        """Row from which on it can be asked."""
        return self._kept[0][0] if self._kept else self._begins

    def scalar(self, row: int) -> pa.Scalar:
        """The value of a row in its first column."""
        while row >= self._next and self._error is None:
            try:
                batch = next(self._batches, None)
                if batch is None:
                    raise DamagedTableError("it has fewer rows than were listed")
                array = batch.column(top_place(batch.schema, self.column.name))
                self._kept.append((self._next, *validated(array)))
                self._next += batch.num_rows
            except Exception as error:  # noqa: BLE001 - raised for this row and those behind it.
                self._error = error
        for start, array, problems in self._kept:
            if start <= row < start + len(array):
                if row - start in problems:
                    raise DamagedTableError(problems[row - start])
                return array[row - start]
        raise self._error or DamagedTableError("the row is not there")


def list_rows(
    table: Table, asked: Columns, max_bytes: int, some: tuple[int, int] | None = None, begins: int = 0
) -> Iterator[Part | Column]:
    """What the rows of a table are: first the column of the images or of their names, then parts in their order.

    Args:
        table: which one.
        asked: its columns.
        max_bytes: of an image.
        some: first row group and number of them, where not all are wanted.
        begins: the first row in the first group.

    Raises:
        ColumnError: see `choose`.
        pa.ArrowException: if it is damaged; parts that came before are as they are.
    """
    column, ids = choose(table.schema, asked, lambda one: first_value(table, one))
    yield column
    # Of some row groups alone nobody knows what the others are like.
    seen = some is not None
    wanted = [column.name, *([".".join(ids)] if ids else [])]
    for group, rows in some_groups(table, wanted, some):
        done, begins = begins, 0
        try:
            for part in _parts(table, group, range(done, rows), column, ids, max_bytes):
                done += part.rows
                usable = len(part.problems) < part.rows
                if not seen and not usable and all(why.startswith(OF_ID) for why in part.problems.values()):
                    raise ColumnError(f"{next(iter(part.problems.values()))}; --id-column names another column")
                seen = seen or usable
                yield part
        except ColumnError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever damage brings about costs only these rows.
            if rows > done:
                yield Part(group, done, rows - done, damage=described(error))


def some_groups(table: Table, wanted: Sequence[str], some: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """Numbers of row groups or batches, each with its rows: all of them, or some as `list_rows` takes them."""
    first, count = some or (0, None)
    return itertools.islice(enumerate(table.groups(wanted)), first, None if count is None else first + count)


def described(error: Exception) -> str:
    """An error in one line of bounded length."""
    if isinstance(error, MemoryError):
        return "it needs more memory to be read than a table may take"
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ColumnError | CellError | DamagedTableError) else f"{type(error).__name__}: {text}"


def _parts(
    table: Table, group: int, rows: range, column: Column, ids: tuple[str, ...] | None, max_bytes: int
) -> Iterator[Part]:
    holds = column.kind != TEXT
    nulls = table.nulls(group, column) if holds else None
    wanted = [".".join(ids)] if ids else []
    if not holds or nulls != 0:
        wanted.append(column.name)
    if not wanted:
        for start in rows[::LISTED_ROWS]:
            yield Part(group, start, min(LISTED_ROWS, rows.stop - start))
        return
    size = LISTED_ROWS
    if holds and column.name in wanted and nulls != rows.stop:
        size = max(1, min(size, BATCH_BYTES // max(1, table.row_bytes(group, column))))
    first = rows.start
    for batch in table.batches(group, wanted, size, rows.start):
        arrays = {name: validated(batch.column(top_place(batch.schema, name))) for name in wanted}
        for start in range(0, batch.num_rows, LISTED_ROWS):
            rows_of_part = range(start, min(start + LISTED_ROWS, batch.num_rows))
            problems: dict[int, str] = {}
            texts: list[str] | None = None
            if ids:
                texts = [value_of(row, *arrays[wanted[0]], _id(ids), "", problems) for row in rows_of_part]
            names: list[str | None] | None = None
            if column.name in wanted:
                array, wrong = arrays[column.name]
                if not wrong and column.kind == TEXT and _is_plain(array.type):
                    names = [name or "" for name in array.slice(start, len(rows_of_part)).to_pylist()]
                else:
                    name_of = _name(column, holds, max_bytes)
                    names = [value_of(row, array, wrong, name_of, "", problems) for row in rows_of_part]
            problems = {row - start: why for row, why in problems.items()}
            yield Part(group, first + start, len(rows_of_part), texts, names, problems)
        first += batch.num_rows
    check_count(first, rows.stop)


def check_count(found: int, promised: int) -> None:
    """Compares the numbers of rows of a group, which Arrow does not.

    Raises:
        DamagedTableError: if they are not as many as the file says.
    """
    if found != promised:
        raise DamagedTableError(f"it holds {found} rows where it says that it has {promised}")


def _is_plain(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


def value_of(
    row: int, array: pa.Array, wrong: dict[int, str], take: Callable[[pa.Scalar], Any], other: Any, into: dict[int, str]
) -> Any:
    """The value of a row, or another one and a problem."""
    try:
        if row in wrong:
            raise CellError(f"it is damaged: {wrong[row]}")
        return take(array[row])
    except CellError as error:
        into.setdefault(row, str(error))
        return other


def _id(path: tuple[str, ...]) -> Callable[[pa.Scalar], str]:
    def take(scalar: pa.Scalar) -> str:
        for name in path[1:]:
            if not scalar.is_valid:
                return ""
            scalar = scalar[name]
        return id_of(scalar)

    return take


def _name(column: Column, holds: bool, max_bytes: int) -> Callable[[pa.Scalar], str | None]:
    def take(scalar: pa.Scalar) -> str | None:
        cell = cell_of(scalar, column, max_bytes)
        if cell.data is not None or (holds and column.kind != IMAGE):
            return None
        return cell.name or ""

    return take


def first_value(table: Table, column: Column) -> bytes | None:
    """The beginning of the first value of a column of bytes that is not null, if there is one in its first batches."""
    try:
        for group, _ in enumerate(itertools.islice(table.groups([column.name]), 4)):
            for batch in itertools.islice(table.batches(group, [column.name], 16), 4):
                array, wrong = validated(batch.column(0))
                for row in range(batch.num_rows):
                    cell = None if row in wrong else cell_of(array[row], column, 2**31)
                    if cell and cell.data:
                        return cell.data[:16]
    except (pa.ArrowException, ValueError, OSError, MemoryError):
        return None
    return None
