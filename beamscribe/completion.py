"""Scripts that let a shell complete commands and flags."""

import argparse
from collections.abc import Mapping

import shtab

SHELLS = tuple(shtab.SUPPORTED_SHELLS)

PATHS = ("BUNDLE", "DIR", "FILE", "GLOB_OR_DIR", "IMAGE", "JSON", "NAME.json", "OUTPUT", "PAGE.html", "PICTURE.png")
"""What stands for a path where a flag's value is described."""


def completion(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The script of one shell.

    Args:
        shell: one of `SHELLS`.
        parsers: command → its flags.
    """
    front = argparse.ArgumentParser(prog="beamscribe")
    commands = front.add_subparsers()
    for name, parser in parsers.items():
        for action in parser._actions:
            is_path = action.metavar in PATHS or action.option_strings == ["--output"]
            if is_path and action.choices is None and action.type is None:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        # Only commands that say what they do are completed.
        commands.add_parser(name, parents=[parser], add_help=False, help=parser.description)
    return shtab.complete(front, shell)
