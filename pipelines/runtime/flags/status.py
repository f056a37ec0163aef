"""Flags of `beamscribe status`."""

from beamscribe.flag_parser import FlagParser, add_storage_options


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(prog="beamscribe status", description="How far is a job?")
    flags.add_argument("output", metavar="OUTPUT", help="output of featurize, caption or speak")
    flags.add_argument("--json", action="store_true", help="one JSON object, for programs")
    flags.add_argument(
        "--follow",
        action="store_true",
        help="show a running job until it ends; with --json an object a line, every ten seconds",
    )
    add_storage_options(flags)
    return flags
