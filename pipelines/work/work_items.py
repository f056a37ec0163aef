"""Many references, as columns: a third of the memory that an object for each would take."""

import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beamscribe.pipelines.work.work_item import WorkItem

TEXT = pa.large_string()
CHUNK = 10_000
"""Work items that are objects at a time while all of them are iterated over."""

NOTHING_MORE = WorkItem("", "")[2:-1]
"""The fields between those that have columns of their own: id, URI, and the number of kept columns at the end."""


STORED_FIELDS = WorkItem._fields.index("query") - 2
"""Of those, how many are stored in an output."""


class Repeats(NamedTuple):
    """Places of references by their ids.

    Attributes:
        first: (distinct,) integers, of the first reference of each id.
        again: (repeated,) integers, of the others.
        earlier: (repeated,) integers, for each of these the first of its id.
    """

    first: np.ndarray
    again: np.ndarray
    earlier: np.ndarray


class WorkItems(Sequence[WorkItem]):
    """A sequence of references that makes each when it is asked for.

    Attributes:
        ids: of all, in order.
    """

    def __init__(
        self,
        ids: pa.LargeStringArray,
        uris: pa.LargeStringArray,
        others: pa.LargeStringArray,
        kept: pa.Int64Array | None = None,
    ) -> None:
        """Takes columns as they are, see `of`.

        Args:
            ids: of all.
            uris: null where the URI is the id.
            others: the other fields as a JSON list; null where all are empty.
            kept: rows of kept columns; None where no reference has one.
        """
        self.ids, self._uris, self._others = ids, uris, others
        self._kept = pa.nulls(len(ids)) if kept is None or kept.null_count == len(kept) else kept

    @classmethod
    def of(cls, references: Iterable[WorkItem]) -> "WorkItems":
        """Packs references, which are iterated over once."""
        remaining = iter(references)
        columns: tuple[list[pa.Array], ...] = ([], [], [], [])
        while chunk := list(itertools.islice(remaining, CHUNK)):
            for column, values, dtype in zip(columns, zip(*map(_packed, chunk), strict=True), _TYPES, strict=True):
                column.append(pa.array(values, dtype))
        return cls(
            *(
                pa.concat_arrays(column) if column else pa.array([], dtype)
                for column, dtype in zip(columns, _TYPES, strict=True)
            )
        )

    def take(self, places: np.ndarray) -> "WorkItems":
        """Those at some places, in that order.

        Args:
            places: (count,) integers.
        """
        indices = pa.array(places, pa.int64())
        return WorkItems(*(column.take(indices) for column in self._columns))

    def repeats(self) -> "Repeats":
        """The first of each id, and what comes again."""
        # Numbers count distinct ids in the order in which they first come, so a new one is above all before it.
        numbers = self.ids.dictionary_encode().indices.to_numpy()
        is_first = np.diff(np.maximum.accumulate(numbers), prepend=-1) > 0
        first, again = np.flatnonzero(is_first), np.flatnonzero(~is_first)
        return Repeats(first, again, first[numbers[again]])

    def uris(self, places: np.ndarray) -> pa.LargeStringArray:
        """The URIs of those at some places.

        Args:
            places: (count,) integers.
        """
        indices = pa.array(places, pa.int64())
        return pc.coalesce(self._uris.take(indices), self.ids.take(indices))  # pyright: ignore[reportAttributeAccessIssue]

    def stored_columns(self, start: int, stop: int) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Ids, URIs and the other fields of some, the latter as JSON lists, null where all are empty.

        The fields from the query on are left out, see `WorkItem`: they are for workers, and for the launcher.
        """
        ids, uris, others, _ = (column[start:stop] for column in self._columns)
        more = [None if one is None else _json(json.loads(one)[:STORED_FIELDS]) for one in others.to_pylist()]
        return ids, pc.coalesce(uris, ids), pa.array(more, TEXT)  # pyright: ignore[reportAttributeAccessIssue]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[WorkItem]:
        for start in range(0, len(self), CHUNK):
            columns = (column[start : start + CHUNK].to_pylist() for column in self._columns)
            yield from itertools.starmap(_unpacked, zip(*columns, strict=True))

    @overload
    def __getitem__(self, place: int) -> WorkItem: ...
    @overload
    def __getitem__(self, place: slice) -> "WorkItems": ...
    def __getitem__(self, place: int | slice) -> "WorkItem | WorkItems":
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        return _unpacked(*(column[place].as_py() for column in self._columns))

    @property
    def _columns(self) -> tuple[pa.Array, ...]:
        return self.ids, self._uris, self._others, self._kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))


_TYPES = (TEXT, TEXT, TEXT, pa.int64())


def _packed(reference: WorkItem) -> tuple[str, str | None, str | None, int | None]:
    others = reference[2:-1]
    return (
        reference.id,
        None if reference.uri == reference.id else reference.uri,
        None if others == NOTHING_MORE else _json(others),
        reference.kept,
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unpacked(id: str, uri: str | None, others: str | None, kept: int | None) -> WorkItem:
    uri = id if uri is None else uri
    return WorkItem(id, uri, kept=kept) if others is None else WorkItem.from_json((id, uri, *json.loads(others), kept))
