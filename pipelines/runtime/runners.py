"""Which runner a command names, checked before anything heavy is loaded: its name, and whether its server is there."""

import difflib
import importlib.util

import grpc
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    TestOptions,
)

from beamscribe.errors import RefusedError

LOCAL = "FnApiRunner"
DATAFLOW = "DataflowRunner"
PORTABLE = "PortableRunner"
NAMES = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}

CONNECT_SECONDS = 10.0
"""That a job server may take to answer: it may just have been started."""

BUILT_IN = ("embed", "auto")
"""What `--job_endpoint` may be that is no address."""


def runner_named(name: str | None) -> str:
    """A runner as Beam's own classes spell it.

    Args:
        name: as typed, in small or capital letters, with or without "Runner", or the path of a class.

    Raises:
        RefusedError: if there is none of that name.
    """
    # Plain DirectRunner may choose Prism, which ignores direct_running_mode (Beam 2.77).
    if (name or "direct").lower().removesuffix("runner") == "direct":
        return LOCAL
    typed = str(name)
    for spelling in (typed.lower(), f"{typed.lower()}runner"):
        if spelling in NAMES:
            return NAMES[spelling]
    if "." in typed and _is_importable(typed.rpartition(".")[0]):
        return typed
    nearest = difflib.get_close_matches(typed.lower(), [*NAMES, *(one.removesuffix("runner") for one in NAMES)], n=1)
    close = NAMES.get(nearest[0], NAMES.get(f"{nearest[0]}runner")) if nearest else None
    hint = f"did you mean {close}?" if close else f"there are {', '.join(StandardOptions.KNOWN_RUNNER_NAMES)}"
    raise RefusedError(f"--runner={typed} is not known: {hint}")


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def is_elsewhere(options: PipelineOptions) -> bool:
    """Whether workers may be on other machines, which do not see this one's files."""
    return options.view_as(StandardOptions).runner != LOCAL


def is_dry(options: PipelineOptions) -> bool:
    """Whether the job is only to be made, not run: nothing is asked of the network."""
    return bool(options.view_as(TestOptions).dry_run)


def template_of(options: PipelineOptions) -> str | None:
    """Where Dataflow's job is staged, to be started later; None if it is to run now."""
    if options.view_as(StandardOptions).runner != DATAFLOW:
        return None
    location: str | None = options.view_as(GoogleCloudOptions).template_location
    return location


def refuse_without_server(options: PipelineOptions) -> None:
    """Refuses a job server that does not answer: Beam would try for minutes, and nobody would know why.

    Raises:
        RefusedError: if there is none at `--job_endpoint`, or the runner needs one and none is named.
    """
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not is_elsewhere(options) or is_dry(options) or endpoint in BUILT_IN:
        return
    if not endpoint:
        if options.view_as(StandardOptions).runner == PORTABLE:
            raise RefusedError("--runner=PortableRunner needs --job_endpoint=HOST:PORT, the address of a job server")
        return
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise RefusedError(
                f"--job_endpoint={endpoint}: cannot connect within {CONNECT_SECONDS:g} s: start the job server, or "
                "correct the address"
            ) from None


def processes_a_machine(options: PipelineOptions) -> int | None:
    """Worker processes that share the cores of a machine; 0 for one a core, None where the launcher does the work.

    The launcher tells them, since a worker sees neither the options nor, in a container, its neighbours.
    """
    if not is_elsewhere(options):
        direct = options.view_as(DirectOptions)
        return int(direct.direct_num_workers) if direct.direct_running_mode == "multi_processing" else None
    if options.view_as(StandardOptions).runner == DATAFLOW:
        return 1 if options.view_as(DebugOptions).lookup_experiment("no_use_multiple_sdk_containers") else 0
    return int(options.view_as(PortableOptions).sdk_worker_parallelism)
