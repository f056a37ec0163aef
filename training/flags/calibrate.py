"""Flags of `beamscribe calibrate`."""

from beamscribe.flag_parser import FlagParser, add_storage_options, positive

ACCEPTABLE = 0.5
"""CIDEr-D from which on a caption counts as acceptable."""


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        words="--features",
        prog="beamscribe calibrate",
        description="Gives the captions of a bundle a confidence: the chance that a caption is acceptable.",
    )
    flags.add_argument("--model", required=True, metavar="BUNDLE", help="bundle of beamscribe train")
    flags.add_argument(
        "--features",
        nargs="+",
        required=True,
        metavar="OUTPUT",
        help="outputs of beamscribe featurize with human captions of photographs that training did not see",
    )
    flags.add_argument(
        "--learn-from",
        nargs="+",
        metavar="OUTPUT",
        help="the same of training photographs, to learn which words people use of what is in the features",
    )
    flags.add_argument(
        "--learn-images", type=positive, default=20_000, metavar="IMAGES", help="of --learn-from at most [20000]"
    )
    flags.add_argument("--output", metavar="BUNDLE", help="local folder for the bundle with the confidence [--model]")
    flags.add_argument("--work", metavar="DIR", help="folder for unpacked features [a temporary one]")
    flags.add_argument(
        "--acceptable",
        type=float,
        default=ACCEPTABLE,
        metavar="CIDER",
        help=f"CIDEr-D against the human captions from which on a caption is acceptable [{ACCEPTABLE}]",
    )
    flags.add_argument("--beam-size", type=positive, default=3, help="as the captions will be searched [3]")
    add_storage_options(flags)
    return flags
