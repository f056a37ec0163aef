"""Flags of `beamscribe report`."""

from beamscribe.flag_parser import FlagParser, add_storage_options, chance, positive
from beamscribe.schemas.limits import MAX_BYTES, MAX_PIXELS

GALLERY = 200
"""Photographs that a page shows, so that it weighs no more than can be sent by mail."""


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe report",
        description="Captions and their photographs as one page to look at, which needs no network.",
    )
    flags.add_argument("captions", metavar="OUTPUT", help="output of beamscribe caption")
    flags.add_argument("--output", required=True, metavar="PAGE.html", help="file or URI of the page")
    flags.add_argument("--gallery", type=positive, default=GALLERY, metavar="IMAGES", help="photographs shown at most")
    flags.add_argument("--images-root", metavar="DIR", help="folder that holds the photographs now, if they were moved")
    flags.add_argument("--model", metavar="BUNDLE", help="the bundle, if it was moved [as the captions' manifest says]")
    flags.add_argument("--speech", metavar="OUTPUT", help="output of beamscribe speak for these captions")
    flags.add_argument("--scores", metavar="NAME.json", help="what beamscribe evaluate --output wrote of them")
    flags.add_argument("--allow-http", action="store_true", help="photographs may be read from the web")
    flags.add_argument(
        "--max-pixels",
        type=positive,
        default=MAX_PIXELS,
        metavar="PIXELS",
        help="photographs that declare more are not shown",
    )
    flags.add_argument(
        "--max-bytes",
        type=positive,
        default=MAX_BYTES,
        metavar="BYTES",
        help="photographs that have more are not shown",
    )
    flags.add_argument(
        "--min-confidence",
        type=chance,
        default=0.0,
        metavar="CHANCE",
        help="leave out captions with less confidence, 0 to 1; captions without one stay [0]",
    )
    add_storage_options(flags)
    return flags
