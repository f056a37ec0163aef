"""How far a running job is, told from its committed shards."""

import datetime
import sys
from dataclasses import dataclass, field

from model.storage import Storage
from pipelines.commit import RECEIPTS, Receipt


@dataclass
class Progress:
    """Prints a line now and then; committed shards are the truth on every runner.

    Attributes:
        output: the job's output.
        job: its name.
        started: the run's start.
    """

    output: Storage
    job: str
    started: datetime.datetime
    _counted: dict[str, tuple[int, int]] = field(default_factory=dict)

    def tell(self) -> None:
        """Prints how much this run has committed so far."""
        for entry in self.output.files(RECEIPTS, ".json"):
            if entry.name not in self._counted:
                self._counted[entry.name] = self._count(entry.name)
        rows = sum(count for count, _ in self._counted.values())
        seconds = (datetime.datetime.now(datetime.UTC) - self.started).total_seconds()
        rate = (rows + self.failures) / seconds
        print(
            f"beamscribe {self.job}: {rows} done, {self.failures} failed in this run, {rate:.1f} a second",
            file=sys.stderr,
            flush=True,
        )

    @property
    def failures(self) -> int:
        """Failure rows of this run, as of the last telling."""
        return sum(count for _, count in self._counted.values())

    def _count(self, name: str) -> tuple[int, int]:
        try:
            receipt = Receipt.from_json(self.output.read(name))
        except (ValueError, OSError):
            return 0, 0
        if receipt.run_started != self.started.isoformat():
            return 0, 0
        return (
            len(receipt.rows.ids) if receipt.rows else 0,
            len(receipt.failures.ids) if receipt.failures else 0,
        )
