"""Flags that mean the same on every job."""

import argparse
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

from beamscribe.flag_parser import add_storage_options, positive
from beamscribe.log_lines import FORMS, TEXT
from beamscribe.schemas.limits import MAX_BYTES, MAX_PIXELS, STALL_TIMEOUT_SECONDS

BEAM_EPILOG = "Other flags go to Beam, for example --direct_running_mode=multi_processing --direct_num_workers=2"
BATCH_SIZE = 32
SHARD_SIZE = 256
"""Images that a shard holds at most on average: some ten seconds of work on two cores, which a kill can cost."""


class FailureBound(NamedTuple):
    """`--max-failures`: a number of failure rows, or a percentage of the corpus.

    Attributes:
        number: of either.
        percent: which.
    """

    number: float
    percent: bool

    def exceeded(self, failures: int, corpus: int) -> bool:
        """Whether there are more failure rows than allowed in a corpus of so many ids."""
        return failures > (self.number * corpus / 100 if self.percent else self.number)

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.percent else ''}"


def failure_bound(text: str) -> FailureBound:
    """Reads `N` or `P%`, for argparse."""
    percent = text.endswith("%")
    try:
        bound = FailureBound(float(text.removesuffix("%")) if percent else int(text), percent)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a number of images nor a percentage such as 5%") from None
    if not 0 <= bound.number <= (100 if percent else sys.maxsize):
        raise argparse.ArgumentTypeError(f"{text} is no possible share of the images")
    return bound


@dataclass(frozen=True)
class JobFlags:
    """Flags that mean the same on every job."""

    shard_size: int
    limit: int | None
    retry_failed: bool
    on_change: str
    storage_options: dict[str, Any]
    max_failures: FailureBound | None = None
    stall_timeout: int = STALL_TIMEOUT_SECONDS
    plan: bool = False
    sample: int | None = None


def add_job_flags(parser: argparse.ArgumentParser, batch_size: int | None) -> None:
    """Adds the flags of `JobFlags`, and `--batch-size` for a job with a model.

    Args:
        parser: of the job.
        batch_size: its default; None for a job that has no batches.
    """
    group = parser.add_argument_group("every job")
    group.add_argument(
        "--plan", action="store_true", help="do only a sample and tell what the job would take; nothing is written"
    )
    group.add_argument(
        "--shard-size", type=positive, default=SHARD_SIZE, metavar="IMAGES", help="images committed together"
    )
    if batch_size is not None:
        group.add_argument(
            "--batch-size", type=positive, default=batch_size, metavar="IMAGES", help="images a model call takes"
        )
    some = group.add_mutually_exclusive_group()
    some.add_argument("--limit", type=positive, metavar="IMAGES", help="take only the first images of the corpus")
    some.add_argument("--sample", type=positive, metavar="IMAGES", help="take so many images, the same ones every time")
    group.add_argument("--retry-failed", action="store_true", help="try images again that have a failure row")
    group.add_argument(
        "--on-change",
        choices=("refuse", "keep", "replace"),
        default="refuse",
        help="what to do when the output was made with other settings: keep old rows, or replace them",
    )
    group.add_argument(
        "--max-failures",
        type=failure_bound,
        metavar="N|P%",
        help="stop with exit code 3 when more images than that have failed; those in hand may still be added",
    )
    group.add_argument(
        "--stall-timeout",
        type=positive,
        default=STALL_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="without progress on a shard after which the process ends, to be run again",
    )
    group.add_argument(
        "--log",
        choices=FORMS,
        default=TEXT,
        help="what is told: lines for people, or a JSON object a line for programs",
    )
    add_storage_options(group)


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a job that reads images; none of them changes a row that there is anyway."""
    group = parser.add_argument_group("reading images")
    group.add_argument(
        "--max-pixels",
        type=positive,
        default=MAX_PIXELS,
        metavar="PIXELS",
        help="images that declare more become failure rows",
    )
    group.add_argument(
        "--max-bytes",
        type=positive,
        default=MAX_BYTES,
        metavar="BYTES",
        help="image files that have more, after inflating, become failure rows",
    )
    group.add_argument(
        "--io-threads",
        type=positive,
        metavar="READS",
        help="images that a process reads at once (default: 4 of local disks, 64 of the web, 128 of object stores)",
    )
    group.add_argument("--accept-truncated", action="store_true", help="keep what was decoded of files that end early")
    group.add_argument("--allow-http", action="store_true", help="images may be on the web, http and https")
    group.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="on the web: also at private, loopback and link-local addresses, which are refused otherwise",
    )


def job_flags(args: argparse.Namespace) -> JobFlags:
    """The flags that every job shares, as parsed."""
    return JobFlags(**{name: getattr(args, name) for name in JobFlags.__dataclass_fields__})
