"""Where a worker can begin again inside a compressed tar, stored beside the slices of the tar.

Without such a point the file is inflated from its beginning, so a point that is lost or damaged costs time only.
"""

import base64
import collections
import hashlib
import json
import threading

from beamscribe.pipelines.sources.archives import compression_of
from beamscribe.pipelines.sources.gzip_blocks import Point
from beamscribe.pipelines.sources.inflating import tells_points
from beamscribe.pipelines.sources.slice_listing import FOLDER
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.work_item import INFLATED_TAR
from beamscribe.schemas.shapes import check_shape
from beamscribe.storage.storage import Storage

VERSION = 1


class Restarts:
    """The points of a container: those that reading tells, of which one is stored for each slice that may come next.

    Args:
        container: which one; of some kinds there are no points.
        output: of the job.
    """

    def __init__(self, container: Container, output: Storage) -> None:
        self._container, self._output = container, output
        self.possible = container.kind == INFLATED_TAR and tells_points(compression_of(container.uri))
        self._points: collections.deque[Point] = collections.deque()
        self._lock = threading.Lock()

    def note(self, point: Point) -> None:
        """One more, behind the others."""
        with self._lock:
            self._points.append(point)

    def load(self, number: int, begins: int) -> Point | None:
        """The point from which to read a slice, if there is one.

        Args:
            number: of the slice.
            begins: byte at which it begins, inflated.
        """
        if not self.possible or not number:
            return None
        self.drop(number - 1)
        try:
            found = _from_json(self._output.read(self._name(number)))
        except (OSError, ValueError):
            return None
        return found if found.inflated <= begins else None

    def passed(self, position: int) -> None:
        """No slice will begin before a byte, inflated: of the points up to there only the last is kept."""
        with self._lock:
            while len(self._points) > 1 and self._points[1].inflated <= position:
                self._points.popleft()

    def store(self, number: int, begins: int) -> None:
        """Stores the last point that is not behind the beginning of a slice.

        Raises:
            OSError: if it cannot be stored.
        """
        self.passed(begins)
        with self._lock:
            point = self._points[0] if self._points else None
        if point is not None and point.inflated <= begins:
            self._output.write(self._name(number), _to_json(point))

    def drop(self, number: int) -> None:
        """Deletes the point of a slice that is committed.

        Raises:
            OSError: if it cannot be deleted.
        """
        if self.possible and number:
            self._output.delete(self._name(number))

    def _name(self, number: int) -> str:
        return f"{FOLDER}/{self._container.name}-{self._container.asked}-{number:05d}-restart.json"


def _to_json(point: Point) -> bytes:
    fields = {**point._asdict(), "window": base64.b64encode(point.window).decode()}
    return json.dumps({"schema_version": VERSION, **fields, "sha256": _digest(point)}).encode()


def _from_json(data: bytes) -> Point:
    """Reads a point back.

    Raises:
        ValueError: if it is none, or is damaged.
    """
    try:
        fields = json.loads(data)
        found = Point(**{name: fields[name] for name in Point._fields if name != "window"}, window=b"")
        check_shape(found, Point)
        found = found._replace(window=base64.b64decode(fields["window"], validate=True))
        if fields["schema_version"] != VERSION or fields["sha256"] != _digest(found):
            raise ValueError("it is another version, or damaged")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a point: {error}") from error
    return found


def _digest(point: Point) -> str:
    numbers = json.dumps([value for value in point if not isinstance(value, bytes)])
    return hashlib.sha256(numbers.encode() + point.window).hexdigest()
