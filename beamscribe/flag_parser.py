"""A strict parser of flags: no abbreviations, and refusals in one line that name the nearest flag."""

import argparse
import contextlib
import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from beamscribe.errors import RefusedError


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show; "None" and "False" say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, {}, ""):
            return action.help
        return super()._get_help_string(action)


class FlagParser(argparse.ArgumentParser):
    """Takes no abbreviations and refuses in one line instead of printing its usage.

    Args:
        words: the flag that takes what somebody typed without one, such as `--images`.
        kwargs: of `ArgumentParser`.
    """

    def __init__(self, words: str = "", **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)
        self.words = words

    def error(self, message: str) -> NoReturn:
        """Raises `RefusedError`."""
        raise RefusedError(f"{message}; see {self.prog} --help")

    # Of three signatures Pyright compares the one without a place for the namespace.
    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse does it, but a misspelt flag is named before those that are missing because of it.

        Raises:
            RefusedError: for a flag that is nearly one of these, a word without a flag, or a wrong value.
        """
        with self._nothing_required():
            _, rest = super().parse_known_args(args)
        if rest and (not rest[0].startswith("-") or self.nearest(rest[0], SURELY_MEANT)):
            refuse_unknown(rest, self)
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if action.dest in PLACES and (value == "" or (isinstance(value, list) and "" in value)):
                self.error(
                    f"{(*action.option_strings, action.dest)[0]} is empty: name a place; a variable of the shell may "
                    "not be set"
                )
        return found, rest

    @contextlib.contextmanager
    def _nothing_required(self) -> Iterator[None]:
        items: list[Any] = [*self._actions, *self._mutually_exclusive_groups]
        required = [item for item in items if item.required]
        try:
            for item in required:
                item.required = False
            yield
        finally:
            for item in required:
                item.required = True

    def nearest(self, flag: str, cutoff: float) -> list[str]:
        """The flag that is most like one that was typed, if one is.

        Args:
            flag: as typed, with its value or without.
            cutoff: from 0 to 1, see `difflib`.
        """
        known = [name for action in self._actions for name in action.option_strings]
        return difflib.get_close_matches(flag.split("=", 1)[0], known, n=1, cutoff=cutoff)

    def parse_strictly(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parses the flags of a command without a pipeline.

        Raises:
            RefusedError: for an unknown flag or a wrong value.
        """
        args, rest = self.parse_known_args(argv)
        refuse_unknown(rest, self)
        return args


PLACES = ("captions", "features", "images", "manifest", "output")
"""Flags that name files or folders, of which an empty name would be the folder where the command is typed."""

SURELY_MEANT = 0.85
"""Likeness of a misspelt flag to one of ours from which on Beam is not asked: none of its own is so like one."""


def refuse_unknown(unknown: Sequence[str], parser: FlagParser, others: Iterable[str] = ()) -> None:
    """Refuses arguments that no parser knows, naming the nearest flag that one does.

    Args:
        unknown: what is left of the command line.
        parser: of the command.
        others: flags that would be passed on.

    Raises:
        RefusedError: if there are any.
    """
    if not unknown:
        return
    flag = unknown[0].split("=", 1)[0]
    if not flag.startswith("-"):
        hint = f": did you mean {parser.words} {shlex.quote(flag)}?" if parser.words else f"; see {parser.prog} --help"
        raise RefusedError(f"unknown argument {flag}{hint}")
    nearest = parser.nearest(flag, 0.6) + difflib.get_close_matches(flag, others, n=1)
    best = difflib.get_close_matches(flag, nearest, n=1)
    hint = f": did you mean {best[0]}?" if best else f"; see {parser.prog} --help"
    raise RefusedError(f"unknown argument {flag}{hint}")


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above zero")
    return number


def chance(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{number} is not between 0 and 1")
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
        help='passed to fsspec for remote storage; credentials come from the usual places, or {"secret": "env:NAME"} '
        "reads them from the environment of every process",
    )
