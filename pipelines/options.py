"""Flags of the jobs: ours first, then Beam's; a flag that neither knows is refused with the nearest one."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from model.images import MAX_PIXELS
from model.location import has_password, last_link, locate, shown
from model.uri import MAX_BYTES
from pipelines.commits.commit import STALL_TIMEOUT_SECONDS
from pipelines.commits.shards import DEFAULT_SHARD_SIZE
from pipelines.images.reading import Reading
from pipelines.summary import FailureBound, failure_bound
from schemas.command import FlagParser, RefusedError, add_storage_options, positive, refuse_unknown

BEAM_EPILOG = "Other flags go to Beam, for example --direct_running_mode=multi_processing --direct_num_workers=2"


class _BeamFlags(pipeline_options._BeamArgumentParser):  # Beam's classes add their flags only to its own parser.
    def error(self, message: str) -> NoReturn:
        raise RefusedError(f"Beam option: {message}")


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
        "--shard-size", type=positive, default=DEFAULT_SHARD_SIZE, metavar="IMAGES", help="images committed together"
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
    group.add_argument("--accept-truncated", action="store_true", help="keep what was decoded of files that end early")
    group.add_argument("--allow-http", action="store_true", help="images may be on the web, http and https")
    group.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="on the web: also at private, loopback and link-local addresses, which are refused otherwise",
    )


def refuse_web(uris: Iterable[str], ours: argparse.Namespace) -> None:
    """Refuses images on the web unless `--allow-http` says so, and addresses with a password in any case.

    Raises:
        RefusedError: naming the first.
    """
    for uri in uris:
        if has_password(uri):
            raise RefusedError(f"{shown(uri)} holds a password, which every row would repeat: leave it out")
        if locate(last_link(uri)).web and not ours.allow_http:
            raise RefusedError(f"{uri} is on the web: --allow-http permits reading images from there")


def reading(ours: argparse.Namespace) -> Reading:
    """The flags of `add_reading_flags`, as parsed."""
    return Reading(
        ours.storage_options,
        ours.max_pixels,
        ours.accept_truncated,
        ours.allow_private_addresses,
        ours.max_bytes,
    )


def job_flags(ours: argparse.Namespace) -> JobFlags:
    """The flags that every job shares, as parsed."""
    return JobFlags(**{name: getattr(ours, name) for name in JobFlags.__dataclass_fields__})


def parse(parser: FlagParser, argv: Sequence[str]) -> tuple[argparse.Namespace, PipelineOptions]:
    """Splits the command line into our flags and Beam's.

    Raises:
        RefusedError: for a flag that neither knows, or a wrong value.
    """
    ours, rest = parser.parse_known_args(argv)
    beam_parser = _BeamFlags(allow_abbrev=False, add_help=False)
    for options_class in {str(found): found for found in PipelineOptions.__subclasses__()}.values():
        options_class._add_argparse_args(beam_parser)
    _, unknown = beam_parser.parse_known_args(rest)
    refuse_unknown(unknown, parser, beam_parser)
    return ours, _with_defaults(PipelineOptions(rest))


def _with_defaults(options: PipelineOptions) -> PipelineOptions:
    standard = options.view_as(pipeline_options.StandardOptions)
    # Plain DirectRunner may choose Prism, which ignores direct_running_mode (Beam 2.77).
    if (standard.runner or "direct").lower().removesuffix("runner") == "direct":
        standard.runner = "FnApiRunner"
    # Everything lives in packages, so there is no main session to pickle.
    options.view_as(pipeline_options.SetupOptions).save_main_session = False
    return options
