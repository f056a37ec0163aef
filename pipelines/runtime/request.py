"""What one command asks the launcher for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

from beamscribe.pipelines.commits.completion import Completion
from beamscribe.pipelines.commits.pending import Job
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage


class OtherParts(NamedTuple):
    """What is asked for beyond the corpus of a request, where it is one part of many, as far as a plan tells it.

    Attributes:
        images: of all other parts.
        todo: of these, images that are not done.
    """

    images: int = 0
    todo: int = 0


@dataclass(frozen=True)
class Request:
    """What one command asks for.

    Attributes:
        job: what happens to the items.
        corpus: what to do it with.
        output: where to.
        fingerprint: what can change a row.
        details: kept in the manifest for later commands.
        flags: shared by all jobs.
        options: Beam's.
        strict: whether a warning of the job ends it with exit code 3.
        closing: lines that a job which is done tells before its last one.
        most: items that this run does, chosen as good as at random; None for all that are to do.
        whole: called with what the output holds at the end of a run that leaves nothing to do.
        others: parts of the output that a plan takes to be as this one.
    """

    job: Job
    corpus: Corpus
    output: Storage
    fingerprint: Fingerprint
    details: dict[str, Any]
    flags: JobFlags
    options: PipelineOptions
    strict: bool = False
    closing: Callable[[], Sequence[str]] = tuple
    most: int | None = None
    whole: Callable[[Completion], None] = lambda found: None
    others: OtherParts = OtherParts()
