"""Outputs in parts: `OUTPUT/parts/NNNNN` are outputs of their own, `OUTPUT/_beamscribe/parts.json` says what of."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.schemas.manifest import FOLDER as BOOKKEEPING
from beamscribe.schemas.shapes import check_shape
from beamscribe.schemas.table import check_version

PARTS = f"{BOOKKEEPING}/parts.json"
FOLDER = "parts"
VERSION = 1


class Piece(NamedTuple):
    """Row groups of a Parquet file that follow each other.

    Attributes:
        uri: of the file.
        first: number of the first row group.
        groups: how many.
        row: number of the first row in the file.
        rows: how many; none where the latest command does not ask for them.
    """

    uri: str
    first: int
    groups: int
    row: int
    rows: int


class OutputPart(NamedTuple):
    """What one of the outputs is made of.

    Attributes:
        number: from 0.
        pieces: of manifests.
    """

    number: int
    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        """The folder below the output of all."""
        return f"{FOLDER}/{self.number:05d}"

    @property
    def record(self) -> str:
        """The file below the output of all that says that the part is done."""
        return f"{BOOKKEEPING}/part-{self.number:05d}.json"

    @property
    def wanted(self) -> tuple[Piece, ...]:
        """Pieces that the latest command asks for."""
        return tuple(piece for piece in self.pieces if piece.rows)

    @property
    def rows(self) -> int:
        """Rows of the manifests that the latest command asks for."""
        return sum(piece.rows for piece in self.pieces)


class DonePart(NamedTuple):
    """A part of which nothing was left to do.

    Attributes:
        asked: digest of what was asked for, and of how.
        files: digest of the names and sizes of its files of rows and failure rows.
        references: distinct ids.
        failures: of these, how many have a failure row.
        repeated: references beyond the first of their id.
    """

    asked: str
    files: str
    references: int
    failures: int
    repeated: int

    def to_json(self) -> bytes:
        """As a file."""
        return json.dumps({"schema_version": VERSION, **self._asdict()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "DonePart":
        """Reads one back.

        Raises:
            ValueError: if it is none.
        """
        try:
            fields = json.loads(data)
            check_version("a part's record", fields["schema_version"], VERSION)
            found = cls(**{name: fields[name] for name in cls._fields})
            check_shape(found, cls)
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is no record of a part: {error}") from error
        return found


def parts_to_json(parts: Sequence[OutputPart]) -> bytes:
    """The parts of an output as a file."""
    return json.dumps({"schema_version": VERSION, "parts": [part.pieces for part in parts]}).encode()


def parts_from_json(data: bytes, what: str) -> list[OutputPart]:
    """Reads the parts of an output back.

    Args:
        data: of the file.
        what: the file, named for people.

    Raises:
        ValueError: if it is damaged.
        NewerSchemaError: if a newer Beamscribe wrote it.
    """
    try:
        fields = json.loads(data)
        check_version(what, fields["schema_version"], VERSION)
        pieces = [tuple(Piece(*piece) for piece in one) for one in fields["parts"]]
        parts = [OutputPart(number, one) for number, one in enumerate(pieces)]
        check_shape(parts, list[OutputPart])
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"{what} is damaged: {error}") from error
    return parts
