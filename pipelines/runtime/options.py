"""Flags of the jobs: ours first, then Beam's; a flag that neither knows is refused with the nearest one."""

import argparse
from collections.abc import Iterable, Sequence
from typing import NoReturn

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from beamscribe.errors import RefusedError
from beamscribe.flag_parser import FlagParser, refuse_unknown
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.runtime.runners import refuse_without_server, runner_named
from beamscribe.storage.location import has_password, last_link, locate, shown
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import absolute


class _BeamFlags(pipeline_options._BeamArgumentParser):  # Beam's classes add their flags only to its own parser.
    def error(self, message: str) -> NoReturn:
        raise RefusedError(f"Beam option: {message}")


def refuse_web(uris: Iterable[str], args: argparse.Namespace) -> None:
    """Refuses images on the web unless `--allow-http` says so, and addresses with a password in any case.

    Raises:
        RefusedError: naming the first.
    """
    for uri in uris:
        if has_password(uri):
            raise RefusedError(f"{shown(uri)} holds a password, which every row would repeat: leave it out")
        if locate(last_link(uri)).web and not args.allow_http:
            raise RefusedError(f"{uri} is on the web: --allow-http permits reading images from there")


def output_of(args: argparse.Namespace, walked: Iterable[str] = ()) -> Storage:
    """The folder that `--output` names.

    Args:
        ours: the flags as parsed.
        walked: folders whose files the job takes.

    Raises:
        RefusedError: if a file is there, or the folder lies inside one of those that are walked.
    """
    output = Storage(args.output, args.storage_options)
    try:
        if output.is_file():
            raise RefusedError(f"--output {args.output} is a file: name a folder, which need not be there yet")
        uri = output.uri()
        for folder in walked:
            source = absolute(folder, args.storage_options).rstrip("/")
            if f"{uri}/".startswith(f"{source}/"):
                raise RefusedError(
                    f"--output {args.output} is inside {folder}, whose files would be mixed with those of the output: "
                    "name a folder elsewhere"
                )
    except OSError as error:
        raise RefusedError(f"--output {args.output}: {error}") from error
    return output


def reading(args: argparse.Namespace) -> Reading:
    """The flags of `add_reading_flags`, as parsed."""
    return Reading(
        args.storage_options,
        args.max_pixels,
        args.accept_truncated,
        args.allow_private_addresses,
        args.max_bytes,
        args.io_threads,
    )


def parse(parser: FlagParser, argv: Sequence[str]) -> tuple[argparse.Namespace, PipelineOptions]:
    """Splits the command line into our flags and Beam's.

    Raises:
        RefusedError: for a flag that neither knows, a wrong value, or a runner that is not there.
    """
    args, rest = parser.parse_known_args(argv)
    beam_parser = _BeamFlags(allow_abbrev=False, add_help=False)
    for options_class in {str(found): found for found in PipelineOptions.__subclasses__()}.values():
        options_class._add_argparse_args(beam_parser)
    _, unknown = beam_parser.parse_known_args(rest)
    refuse_unknown(unknown, parser, [name for action in beam_parser._actions for name in action.option_strings])
    options = _with_defaults(PipelineOptions(rest))
    if not getattr(args, "plan", False):
        refuse_without_server(options)
    return args, options


def _with_defaults(options: PipelineOptions) -> PipelineOptions:
    standard = options.view_as(pipeline_options.StandardOptions)
    standard.runner = runner_named(standard.runner)
    # Everything lives in packages, so there is no main session to pickle.
    options.view_as(pipeline_options.SetupOptions).save_main_session = False
    return options
