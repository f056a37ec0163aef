"""Flags of `beamscribe explain`."""

import argparse

from beamscribe.flag_parser import FlagParser, add_storage_options


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe explain",
        description="Where a captioner looks: encoder self-attention of one cell, decoder self-attention, and "
        "cross-attention word by word, with what could have been written instead of each word.",
    )
    flags.add_argument("image", metavar="IMAGE", help="file or URI of a photograph")
    flags.add_argument("--output", required=True, metavar="PICTURE.png", help="file or URI of the picture")
    flags.add_argument(
        "--model",
        metavar="BUNDLE",
        help="folder that beamscribe train wrote [$BEAMSCRIBE_MODEL, else the one in a checkout's pretrained/]",
    )
    flags.add_argument("--caption", metavar="TEXT", help="explain this caption [the bundle's own, by beam search]")
    flags.add_argument(
        "--cell", type=_cell, metavar="ROW,COLUMN", help="of the encoder's grid, from 0,0 [the one in the middle]"
    )
    add_storage_options(flags)
    return flags


def _cell(text: str) -> tuple[int, int]:
    """`ROW,COLUMN`, for argparse."""
    try:
        row, column = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not ROW,COLUMN such as 4,4") from None
    return row, column
