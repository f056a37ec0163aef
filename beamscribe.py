"""Beamscribe's front door: one subcommand a job."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from schemas.command import CHECK_FAILED, DONE, INTERRUPTED, REFUSED, RefusedError

__version__ = "0.1.0"

COMMANDS = {
    "featurize": ("pipelines.featurize", "COCO captions and photographs → TFRecords of backbone features"),
    "train": ("training.train", "features → a captioner, as a bundle"),
    "caption": ("pipelines.caption", "photographs or features + bundle → captions in Parquet"),
    "evaluate": ("training.evaluate", "captions + what people wrote → scores"),
    "speak": ("pipelines.speak", "captions → one audio file a text + an index in Parquet"),
    "say": ("pipelines.say", "one line of text → one audio file"),
    "status": ("pipelines.status", "how far is a job?"),
    "verify": ("pipelines.verify", "is every image of an output accounted for?"),
}

PUBLIC = {
    "CaptionWriter": "model.captioning",
    "DecodingOptions": "model.captioning",
    "decode_image": "model.images",
    "open_bundle": "model.bundle",
    "parse_coco": "schemas.coco",
}
"""Names for use from Python, each imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return _command(argv[0]).run(argv[1:])
    except RefusedError as error:
        print(f"beamscribe {argv[0]}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


def _command(name: str) -> Any:
    """The module of a subcommand, which has `run(argv) -> int`."""
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        raise RefusedError("unknown command" + (f": did you mean {nearest[0]}?" if nearest else "; see --help"))
    return importlib.import_module(COMMANDS[name][0])


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "Captions and voices image corpora of any size.",
            "",
            "usage: beamscribe COMMAND [flags]     beamscribe COMMAND --help",
            "",
            *lines,
            "",
            "exit codes: 0 done, 1 stopped (run the same command again), 2 refused, 3 a check says no, 130 interrupted",
        ]
    )


def run_and_exit() -> None:
    """The console script."""
    code = main()
    if code in (INTERRUPTED, CHECK_FAILED):
        # Beam's worker threads would finish the whole job before Python lets the process end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run_and_exit()
