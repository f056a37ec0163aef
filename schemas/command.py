"""What every command promises whoever calls it: exit codes, refusals in one line, strict flags."""

import argparse
import difflib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

DONE = 0
"""Every id is a row or a failure row; failures are counted on the last line."""
STOPPED = 1
"""Stopped or incomplete: run the same command again."""
REFUSED = 2
"""Refused before launch; nothing was changed."""
CHECK_FAILED = 3
"""Finished, but a check (`verify`, `--strict`, `--max-failures`) says no."""
INTERRUPTED = 130
"""Ctrl-C or SIGTERM; what is committed stays."""


class RefusedError(Exception):
    """A command cannot do its work: the message says what, where and how to mend. Exit code 2, no traceback."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show; "None" and "False" say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, {}, ""):
            return action.help
        return super()._get_help_string(action)


class FlagParser(argparse.ArgumentParser):
    """Takes no abbreviations and refuses in one line instead of printing its usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raises `RefusedError`."""
        raise RefusedError(f"{message}; see {self.prog} --help")

    def parse_strictly(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parses the flags of a command without a pipeline.

        Raises:
            RefusedError: for an unknown flag or a wrong value.
        """
        ours, rest = self.parse_known_args(argv)
        refuse_unknown(rest, self)
        return ours


def refuse_unknown(unknown: Sequence[str], *parsers: argparse.ArgumentParser) -> None:
    """Refuses arguments that no parser knows, naming the nearest flag that one does.

    Raises:
        RefusedError: if there are any.
    """
    if not unknown:
        return
    flag = unknown[0].split("=", 1)[0]
    known = [name for parser in parsers for action in parser._actions for name in action.option_strings]
    nearest = difflib.get_close_matches(flag, known, n=1)
    hint = f": did you mean {nearest[0]}?" if nearest else f"; see {parsers[0].prog} --help"
    raise RefusedError(f"unknown argument {flag}{hint}")


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above zero")
    return number


def not_negative(text: str) -> int:
    """A whole number from zero on, for argparse."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below zero")
    return number


def json_object(text: str) -> dict[str, Any]:
    """A JSON object, for argparse."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('not a JSON object such as {"anon": true}')
    return value


def add_storage_options(parser: argparse._ActionsContainer) -> None:
    """The flag of every command that touches storage."""
    parser.add_argument(
        "--storage-options",
        type=json_object,
        default={},
        metavar="JSON",
        help="passed to fsspec for remote storage; credentials come from the usual places",
    )
