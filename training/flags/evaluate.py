"""Flags of `beamscribe evaluate`."""

from beamscribe.flag_parser import FlagParser, add_storage_options
from beamscribe.schemas.evaluation import PTB, UNICODE


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        words="--captions", prog="beamscribe evaluate", description="How well captions agree with what people wrote."
    )
    flags.add_argument("--captions", required=True, metavar="OUTPUT", help="output of beamscribe caption")
    flags.add_argument("--annotations", required=True, metavar="JSON", help="COCO captions of these images by people")
    flags.add_argument("--output", metavar="NAME.json", help="file for the scores; each image's go to NAME.parquet")
    flags.add_argument(
        "--by-id",
        action="store_true",
        help="ids of the captions are those of the annotations, whatever the files are called [ids alone where they "
        "came from annotations, else file names]",
    )
    flags.add_argument("--against", metavar="OUTPUT2", help="another output of beamscribe caption, to compare with")
    flags.add_argument(
        "--words",
        choices=(PTB, UNICODE),
        help="how captions are cut into words: the English rules that published scores use, or runs of letters, and "
        "single characters where a script writes no spaces [ptb where most letters of the annotations are Latin]",
    )
    add_storage_options(flags)
    return flags
