"""Flags of `beamscribe quantize`."""

from beamscribe.flag_parser import FlagParser, add_storage_options, positive

CALIBRATION = 300


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe quantize", description="A bundle's backbone in int8, which caption --precision int8 runs."
    )
    flags.add_argument("--model", metavar="BUNDLE", help="the bundle [as for beamscribe caption]")
    flags.add_argument(
        "--calibration",
        nargs="+",
        required=True,
        metavar="GLOB_OR_DIR",
        help="photographs like those to be captioned, but none that captions will be judged on",
    )
    flags.add_argument(
        "--calibration-images", type=positive, default=CALIBRATION, metavar="IMAGES", help="how many of them to use"
    )
    flags.add_argument("--output", required=True, metavar="BUNDLE", help="local folder for the bundle with both")
    add_storage_options(flags)
    return flags
