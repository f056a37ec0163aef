"""Flags of `beamscribe verify`."""

from beamscribe.flag_parser import FlagParser, add_storage_options


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(prog="beamscribe verify", description="Is every image of an output accounted for?")
    flags.add_argument("output", metavar="OUTPUT", help="output of featurize, caption or speak")
    flags.add_argument(
        "--repair",
        action="store_true",
        help="remove what is damaged, repeated or belongs to nothing; a run of the job then does those images again",
    )
    add_storage_options(flags)
    return flags
