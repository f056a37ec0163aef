"""Receipts: what each commit of an output wrote, in `OUTPUT/_beamscribe/shards/`."""

import datetime
import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from beamscribe.schemas import manifest
from beamscribe.schemas.shapes import check_shape
from beamscribe.schemas.stage_metrics import StageMetrics

RECEIPTS = f"{manifest.FOLDER}/shards"


class FileStamp(NamedTuple):
    """A committed file as it was written.

    Attributes:
        name: below the output.
        size: bytes.
        sha256: of the bytes, lower-case hexadecimal.
        ids: of its rows.
        made_of: of each row the digest of the captions that it holds; none where rows hold no captions, and in older
            receipts.
    """

    name: str
    size: int
    sha256: str
    ids: tuple[str, ...]
    made_of: tuple[str, ...] = ()


class Receipt(NamedTuple):
    """What one commit wrote; the data files are the truth, a lost receipt is made again from them.

    Attributes:
        stem: name that the commit's files share, shard id + digest of what was asked.
        fingerprint: digest under which it was computed.
        run_started: ISO 8601, UTC, of the run that wrote it; empty in a receipt that was made again from the files.
        seconds: time that processing took.
        rows: the data file; None if every reference failed.
        failures: the failure file; None if no reference failed.
        spent: what the stages took; None in older receipts, and in those made again.
        committed_at: ISO 8601, UTC, by the worker's clock; for telling how fast a job is, nothing depends on it.
        failed_stages: in which images failed, and how many did; none in older receipts, and in those made again.
        tar: the samples beside the rows, whose ids are those of the rows and are not told again; None without them.
    """

    stem: str
    fingerprint: str
    run_started: str
    seconds: float
    rows: FileStamp | None
    failures: FileStamp | None
    committed_at: str = ""
    spent: StageMetrics | None = None
    failed_stages: tuple[tuple[str, int], ...] = ()
    tar: FileStamp | None = None

    @property
    def files(self) -> list[FileStamp]:
        """All files that the commit wrote."""
        return [file for file in (self.tar, self.rows, self.failures) if file]

    @property
    def name(self) -> str:
        """The receipt's own file below the output."""
        return f"{RECEIPTS}/{self.stem}.json"

    def to_json(self) -> bytes:
        """The receipt as JSON."""
        fields = self._asdict()
        for part in ("rows", "failures", "tar", "spent"):
            found: FileStamp | StageMetrics | None = fields[part]
            fields[part] = found._asdict() if found else None
            if isinstance(found, FileStamp) and not found.made_of:
                del fields[part]["made_of"]
        if not self.tar:
            # Beamscribe 0.1 knows no receipts with this field.
            del fields["tar"]
        return json.dumps(fields).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Receipt":
        """Reads a receipt back.

        Raises:
            ValueError: if it is not one.
        """
        try:
            fields = {"tar": None, **json.loads(data)}
            for part in ("rows", "failures", "tar"):
                if fields[part] is not None:
                    fields[part] = FileStamp(**{**fields[part], "ids": tuple(fields[part]["ids"])})
                    fields[part] = fields[part]._replace(made_of=tuple(fields[part].made_of))
            if fields.get("spent"):
                fields["spent"] = StageMetrics(**fields["spent"])
            fields["failed_stages"] = tuple((stage, count) for stage, count in fields.get("failed_stages", ()))
            found = cls(**fields)
            check_shape(found, cls)
            for moment in (found.run_started, found.committed_at):
                if moment and datetime.datetime.fromisoformat(moment).tzinfo is None:
                    raise TypeError(f"{moment} has no time zone")
            return found
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a receipt: {error}") from error


def stamp(name: str, data: bytes, ids: Iterable[str], made_of: Iterable[str] = ()) -> FileStamp:
    """Describes the bytes of a committed file."""
    return FileStamp(name, len(data), hashlib.sha256(data).hexdigest(), tuple(ids), tuple(made_of))
