"""Where a worker can begin again inside a compressed tar or a Parquet table, stored beside its slices.

Without such a point the tar is inflated from its beginning and a row group read from its own, so a point that is lost
or damaged costs time only.
"""

import base64
import collections
import hashlib
import json
import threading
import typing
from collections.abc import Callable

from beamscribe.pipelines.sources.archives import compression_of
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.inflating import tells_points
from beamscribe.pipelines.sources.parquet_values import Place
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR, PARQUET
from beamscribe.schemas.shapes import check_shape
from beamscribe.storage.storage import Storage

VERSION = 2

Restart = Point | Place
"""Of a compressed tar, and of a table."""


class Restarts:
    """The points of a container: those that reading tells, of which one is stored for each slice that may come next.

    Args:
        container: which one; of some kinds there are no points.
        output: of the job.
    """

    def __init__(self, container: Container, output: Storage) -> None:
        self._container, self._output = container, output
        of_tar = container.kind == INFLATED_TAR and tells_points(compression_of(container.uri))
        self.possible = of_tar or container.kind == PARQUET
        self._kind: type[Restart] = Point if of_tar else Place
        self._points: collections.deque[Restart] = collections.deque()
        self._lock = threading.Lock()
        # Slices of which a point is stored, as far as is known.
        self._stored: set[int] = set()

    def note(self, point: Restart) -> None:
        """One more, behind the others."""
        with self._lock:
            self._points.append(point)

    def load(self, number: int, begins: int) -> Restart | None:
        """The point from which to read a slice, if there is one.

        Args:
            number: of the slice.
            begins: byte, inflated, or row at which it begins.
        """
        if not self.possible or not number:
            return None
        self._stored |= {number - 1, number} - {0}
        self.drop(number - 1)
        try:
            found = _from_json(self._output.read(self._name(number)), self._kind)
        except (OSError, ValueError):
            return None
        return found if found.position <= begins else None

    def passed(self, position: int) -> None:
        """No slice will begin before a byte, inflated, or a row: of the points up to there only the last is kept."""
        with self._lock:
            while len(self._points) > 1 and self._points[1].position <= position:
                self._points.popleft()

    def store(self, number: int, begins: int) -> None:
        """Stores the last point that is not behind the beginning of a slice.

        Raises:
            OSError: if it cannot be stored.
        """
        self.passed(begins)
        with self._lock:
            point = self._points[0] if self._points else None
        if point is not None and point.position <= begins:
            self._output.write(self._name(number), _to_json(point))
            self._stored.add(number)

    def drop(self, number: int) -> None:
        """Deletes the point of a slice that is committed.

        Raises:
            OSError: if it cannot be deleted.
        """
        if number in self._stored:
            self._output.delete(self._name(number))
            self._stored.remove(number)

    def _name(self, number: int) -> str:
        return f"{FOLDER}/{self._container.name}-{self._container.asked}-{number:05d}-restart.json"


def _to_json(point: Restart) -> bytes:
    fields = {name: _encoded(value) for name, value in point._asdict().items()}
    return json.dumps({"schema_version": VERSION, **fields, "sha256": _digest(point)}).encode()


def _from_json(data: bytes, kind: type[Restart]) -> Restart:
    """Reads a point back.

    Raises:
        ValueError: if it is none, or is damaged.
    """
    try:
        fields = json.loads(data)
        values = [
            base64.b64decode(fields[name], validate=True) if wanted is bytes else fields[name]
            for name, wanted in typing.get_type_hints(kind).items()
        ]
        made: Callable[..., Restart] = kind
        found = made(*values)
        check_shape(found, kind)
        if fields["schema_version"] != VERSION or fields["sha256"] != _digest(found):
            raise ValueError("it is another version, or damaged")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a point: {error}") from error
    return found


def _encoded(value: int | bytes) -> int | str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _digest(point: Restart) -> str:
    return hashlib.sha256(json.dumps([_encoded(value) for value in point]).encode()).hexdigest()
