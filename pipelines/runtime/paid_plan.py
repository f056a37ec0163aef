"""`--plan` of a job whose results are paid for: a few of them are made and kept as rows, and the rest is forecast."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeGuard

import numpy as np

from beamscribe.errors import DONE
from beamscribe.pipelines.captioners.source import Statement
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.pending import Job
from beamscribe.pipelines.runtime.request import Request
from beamscribe.storage.storage import Storage

PAID_SAMPLE = 20
"""Answers that a forecast is made from."""


class PaidJob(Job, Protocol):
    """A job that may cost money."""

    def statement(self, output: Storage, run_started: str) -> Statement:
        """What was spent on an output."""
        ...

    def forecast(self, output: Storage, todo: int) -> list[str] | None:
        """What the rest will cost; None if this job costs nothing."""
        ...


def is_paid(job: Job) -> TypeGuard[PaidJob]:
    """Whether a job may cost money."""
    return hasattr(job, "statement") and getattr(job, "is_paid", False)


def sample_of(places: np.ndarray, most: int | None) -> np.ndarray:
    """Some of what is to do, the same for the same places.

    Args:
        places: (count,) integers.
        most: how many; None for all.
    """
    if most is None or most >= len(places):
        return places
    return np.sort(np.random.default_rng(0).choice(places, most, replace=False))


def plan_paid(request: Request, kept: Sequence[str], launch: Callable[[Request], int]) -> int:
    """Makes a few results, which stay, and tells what the rest would cost.

    Args:
        request: of the job.
        kept: fingerprints under which rows count as done.
        launch: runs a request.

    Returns:
        The exit code.
    """
    job = request.job
    assert is_paid(job)  # noqa: S101 - for type checkers
    done = _done(request, kept)
    if done < PAID_SAMPLE:
        few = replace(request, most=PAID_SAMPLE - done, flags=replace(request.flags, plan=False))
        code = launch(few)
        if code != DONE:
            return code
        done = _done(request, [*kept, request.fingerprint.digest])
    todo = len(request.corpus.references) - done
    name = f"beamscribe {job.name}"
    for line in job.forecast(request.output, todo) or ():
        print(f"{'forecast':>12}  {line}")
    print(f"{name}: plan: {todo:,} to do; what was asked for this forecast is kept → {request.output.uri()}")
    return DONE


def _done(request: Request, kept: Sequence[str]) -> int:
    ledger = Ledger(request.output, request.job.format)
    receipts = [one for one in ledger.receipts() if one.fingerprint in kept]
    found = ledger.completion_of(request.corpus.references.ids, receipts)
    return found.rows + len(found.failures)
