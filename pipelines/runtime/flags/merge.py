"""Flags of `beamscribe merge`."""

from beamscribe.flag_parser import FlagParser, add_storage_options


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe merge",
        description="Several outputs of caption as one: where two have a caption of an image, the later one's counts.",
    )
    flags.add_argument("captions", nargs="+", metavar="OUTPUT", help="outputs of beamscribe caption, the best last")
    flags.add_argument("--output", required=True, metavar="DIR", help="folder or URI for the merged output")
    add_storage_options(flags)
    return flags
