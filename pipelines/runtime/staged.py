"""The end of a job that was staged to be started later: its launcher has ended, so its last step tidies up."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam import PCollection

from beamscribe.pipelines.commits.staged_lease import give_back
from beamscribe.schemas.receipt import Receipt
from beamscribe.storage.storage import Storage


@dataclass
class FinishStaged(beam.PTransform):
    """Receipts (`Receipt`) → how many there were (`int`), once what the job needed is removed.

    Attributes:
        output: of the job.
        parts: what was to do, below the output.
    """

    output: Storage
    parts: tuple[str, ...]

    def expand(self, input_or_inputs: PCollection[Receipt]) -> PCollection[int]:
        """Builds the transform."""
        return input_or_inputs | "Count" >> beam.combiners.Count.Globally() | "Tidy" >> beam.Map(self._tidy)  # pyright: ignore[reportReturnType]

    def _tidy(self, commits: int) -> int:
        for part in self.parts:
            self.output.delete(part)
        give_back(self.output)
        return commits
