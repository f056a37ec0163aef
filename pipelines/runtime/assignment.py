"""Stores what a run is asked for and what of it is to do, where workers find it."""

import datetime
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from beamscribe.pipelines.commits.completion import Completion
from beamscribe.pipelines.commits.pending import write_pending
from beamscribe.pipelines.commits.stored_corpus import write_corpus
from beamscribe.pipelines.runtime.paid_plan import sample_of
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.unlisted import Known
from beamscribe.pipelines.sources.asked import write_containers
from beamscribe.pipelines.work.shards import Shard, ShardPlan, shard_count
from beamscribe.schemas.manifest import Manifest
from beamscribe.storage.output_reader import MANIFEST


class Assignment(NamedTuple):
    """What a run has to do.

    Attributes:
        parts: names of the files that say it.
        shards: number.
        references: in these.
        failures: of earlier runs, which are not tried again.
    """

    parts: list[str]
    shards: int
    references: int
    failures: int


def assign(
    request: Request, known: Known, before: Completion, kept: list[str], started: datetime.datetime
) -> Assignment:
    """Stores what is asked and what of it is to do.

    Args:
        request: with the corpus as it is known now.
        known: of its containers.
        before: what was done of the corpus by earlier runs.
        kept: digests of fingerprints whose rows count.
        started: when the run began.
    """
    references, flags = request.corpus.references, request.flags
    shards = shard_count(len(references), flags.shard_size)
    store_asked(request, known, kept, started)
    places = sample_of(before.pending(flags.retry_failed), request.most)
    # The launcher knows what is done, so that nothing needs to be shuffled for that.
    todo = ShardPlan(references, before.attempts(), places, shards, flags.shard_size)
    failures = 0 if flags.retry_failed else len(before.failures)
    columns = request.corpus.kept
    shards_to_do: Iterable[Shard] = map(columns.filled, todo) if columns else todo
    parts = write_pending(request.output, chain(shards_to_do, known.shards()))
    return Assignment(parts, len(todo) + len(known.unfinished), len(places), failures)


def store_asked(request: Request, known: Known, kept: list[str], started: datetime.datetime) -> None:
    """Stores what is asked, as far as it is known; the arguments are those of `assign`."""
    references = request.corpus.references
    write_corpus(request.output, references)
    manifest = Manifest(
        job=request.job.name,
        fingerprint=request.fingerprint,
        kept_fingerprints=kept,
        details=request.details,
        references=len(references),
        repeated=request.corpus.repeated,
        skipped=dict(request.corpus.skipped),
        listed=request.corpus.listed,
        shards=shard_count(len(references), request.flags.shard_size),
        run_started=started.isoformat(),
    )
    # Before the manifest, without which nobody takes the output for one whose work is done.
    write_containers(request.output, known.containers)
    request.output.write(MANIFEST, manifest.to_json().encode())
