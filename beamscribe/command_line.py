"""The command line: one subcommand a job."""

import atexit
import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from beamscribe import __version__, native_logs
from beamscribe.errors import DONE, INTERRUPTED, REFUSED, STOPPED, RefusedError
from beamscribe.flag_parser import FlagParser
from beamscribe.log_lines import JSON, TEXT, told_as
from beamscribe.pipelines.work.cores import prepare_interpreter
from beamscribe.schemas.printable import printable
from beamscribe.storage.location import has_password, locate, shown
from beamscribe.storage.whole_files import unwritable

COMMANDS = {
    "featurize": ("beamscribe.pipelines.featurize", "COCO captions and photographs → TFRecords of backbone features"),
    "train": ("beamscribe.training.train", "features → a captioner, as a bundle"),
    "calibrate": (
        "beamscribe.training.calibrate",
        "bundle + photographs it has not seen → the bundle with a confidence",
    ),
    "caption": ("beamscribe.pipelines.caption", "photographs or features + bundle → captions in Parquet"),
    "evaluate": ("beamscribe.training.evaluate", "captions + what people wrote → scores"),
    "quantize": ("beamscribe.pipelines.quantize", "bundle + photographs → the bundle with an int8 backbone, faster"),
    "speak": ("beamscribe.pipelines.speak", "captions → one audio file a text + an index in Parquet"),
    "say": ("beamscribe.pipelines.say", "one line of text → one audio file"),
    "report": ("beamscribe.pipelines.outputs.report.command", "captions + photographs → one page to look at"),
    "explain": ("beamscribe.pipelines.explain", "one photograph → a picture of where the captioner looks"),
    "merge": ("beamscribe.pipelines.outputs.merge", "captions + captions made again → one output"),
    "export": (
        "beamscribe.pipelines.outputs.export",
        "captions → COCO results, CSV, JSON lines, or a file beside each photograph",
    ),
    "status": ("beamscribe.pipelines.outputs.status", "how far is a job?"),
    "verify": ("beamscribe.pipelines.outputs.verify", "is every image of an output accounted for?"),
}
JOBS = ("featurize", "caption", "speak")
"""Commands that run a Beam pipeline: flags that they do not know go to Beam."""

HEAD = """Beamscribe captions and voices image corpora of any size.

  annotations + images ──featurize──► features ──train──► bundle
                                                            │
  images ──caption──────────────────────────────────────────┘──► captions ──speak──► audio
                                                                    └──► evaluate, report, export

usage: beamscribe COMMAND [flags]       beamscribe COMMAND --help tells every flag"""

EXAMPLES = """examples:
  beamscribe caption --images photographs --output captions --plan     what would it take?
  beamscribe caption --images photographs --output captions            killed? the same command goes on
  beamscribe speak --captions captions --output speech
  beamscribe report captions --speech speech --output report.html
  beamscribe status captions

A wrong flag is refused with the nearest one; flags that Beamscribe does not know go to Beam.
beamscribe --version        beamscribe completion bash|zsh|tcsh

exit codes:
    0  done: every image is a row or a failure row
    1  stopped or incomplete: run the same command again
    2  refused before anything was changed; the message says how to mend it
    3  finished, but a check says no: verify, --strict, --max-failures, --plan
  130  interrupted; what is committed stays"""

WRITTEN = ("output", "work", "report")
"""Flags that say where to write."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        argv: without the program's name; the process's own by default.

    Returns:
        The exit code: 0 done, 1 stopped (run again), 2 refused, 3 a check says no, 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return DONE if argv else REFUSED
    if argv[0] == "--version":
        print(f"beamscribe {__version__}")
        return DONE
    with told_as(_log_form(argv)):
        return _run(argv)


def _log_form(argv: Sequence[str]) -> str:
    """How a job is to tell what it does, known before its flags are looked at, whose refusals are told so too."""
    wanted = [argv[at + 1] for at, word in enumerate(argv[:-1]) if word == "--log"]
    wanted += [word.removeprefix("--log=") for word in argv if word.startswith("--log=")]
    return JSON if argv[0] in JOBS and wanted == [JSON] else TEXT


def _run(argv: Sequence[str]) -> int:
    try:
        if argv[0] == "completion":
            return _completion(argv[1:])
        _refuse_unknown_command(argv[0])
        _refuse_wrong_flags(argv[0], argv[1:])
        command = importlib.import_module(COMMANDS[argv[0]][0])
        prepare_interpreter()
        code: int = command.run(argv[1:])
        if argv[0] == "caption":
            from beamscribe.caption_report import report_after_caption

            code = report_after_caption(argv[1:], code)
        return code
    except RefusedError as error:
        print(printable(f"beamscribe {argv[0]}: {error}", lines=True), file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


def _refuse_unknown_command(name: str) -> None:
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        raise RefusedError("unknown command" + (f": did you mean {nearest[0]}?" if nearest else "; see --help"))


def parser_of(name: str) -> FlagParser:
    """The flags of a subcommand, without anything heavy."""
    folder = "training" if COMMANDS[name][0].startswith("beamscribe.training") else "pipelines.runtime"
    parser: FlagParser = importlib.import_module(f"beamscribe.{folder}.flags.{name}").parser()
    return parser


def _refuse_wrong_flags(name: str, argv: Sequence[str]) -> None:
    """Refuses a wrong flag before TensorFlow and Beam are imported, which takes seconds."""
    parser = parser_of(name)
    # What neither this parser nor Beam knows is refused by `beamscribe.pipelines.runtime.options.parse`.
    args = parser.parse_known_args(argv)[0] if name in JOBS else parser.parse_strictly(argv)
    for value in vars(args).values():
        for uri in value if isinstance(value, list) else [value]:
            if isinstance(uri, str) and has_password(uri):
                raise RefusedError(f"{shown(uri)} holds a password, which every row would repeat: leave it out")
    if not getattr(args, "plan", False):
        for flag in WRITTEN:
            # A command that takes OUTPUT as a word reads it.
            if f"--{flag}" in parser._option_string_actions and (path := getattr(args, flag)):
                _refuse_unwritable(f"--{flag}", path)


def _refuse_unwritable(flag: str, path: str) -> None:
    """Refuses a local place that nothing can be written to, before the work whose result would be lost."""
    location = locate(path)
    if location.local and (place := unwritable(location.path)):
        raise RefusedError(f"{flag} {path} cannot be written: {place} is read-only here: name another place")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join([HEAD, "", *lines, "", EXAMPLES])


def _completion(argv: Sequence[str]) -> int:
    from beamscribe.completion import SHELLS, completion

    if len(argv) != 1 or argv[0] not in SHELLS:
        raise RefusedError(f"name a shell: beamscribe completion {'|'.join(SHELLS)}")
    print(completion(argv[0], {name: parser_of(name) for name in COMMANDS}))
    return DONE


def run_and_exit() -> NoReturn:
    """The console script: ends the process as soon as everything is written.

    Native threads of Arrow, gRPC and TensorFlow may outlive the libraries that they belong to while an interpreter
    ends, and then abort the process after a command that succeeded; Beam's threads would finish the whole job after one
    that was stopped. So nothing of that is waited for.
    """
    native_logs.keep_stderr_apart()
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else DONE if stop.code is None else STOPPED
    except BrokenPipeError:
        # The reader of the output closed it, so nothing more can be told.
        code = STOPPED
    except BaseException:  # noqa: BLE001 - as the interpreter would do, which is not to end by itself.
        traceback.print_exc()
        code = STOPPED
    with contextlib.suppress(Exception):
        if code in (DONE, REFUSED):
            # Such as those that remove temporary folders. Where a run was stopped, one may wait for its threads.
            atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            # The work is done all the same.
            pass
        except (OSError, ValueError):
            code = code or STOPPED
    os._exit(code)
