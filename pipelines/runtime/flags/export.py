"""Flags of `beamscribe export`."""

from beamscribe.flag_parser import FlagParser, add_storage_options, chance, positive
from beamscribe.schemas.limits import MAX_BYTES

LINES = ("csv", "jsonl")
SIDECARS = ("txt", "xmp")
DATASETS = ("webdataset", "hf")
FORMS = ("coco-results", *LINES, "sidecar", "files", *DATASETS)


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe export",
        description="Captions in the forms that other programs read: COCO's results file, CSV, JSON lines, a file for "
        "each photograph, or data with the photographs that training programs stream.",
    )
    flags.add_argument("captions", metavar="OUTPUT", help="output of beamscribe caption, or of speak")
    flags.add_argument(
        "--to",
        required=True,
        choices=FORMS,
        help="form; a sidecar is photo.txt for photo.jpg; sidecars and files of an output of speak are photo.mp3; "
        "webdataset and hf hold the photographs too",
    )
    flags.add_argument("--output", metavar="PATH", help="file or URI; for sidecars a folder of their own")
    flags.add_argument("--beside", metavar="DIR", help="sidecars go beside the photographs that are below this folder")
    flags.add_argument(
        "--images-root", metavar="DIR", help="webdataset, hf: folder that holds the photographs now, if they were moved"
    )
    flags.add_argument("--allow-http", action="store_true", help="webdataset, hf: photographs may be on the web")
    flags.add_argument(
        "--max-bytes",
        type=positive,
        default=MAX_BYTES,
        metavar="BYTES",
        help="webdataset, hf: photographs that have more are left out",
    )
    flags.add_argument("--annotations", metavar="JSON", help="COCO file that gives image ids for coco-results")
    flags.add_argument(
        "--by-id", action="store_true", help="ids of the captions are COCO's, whatever the files are called"
    )
    flags.add_argument(
        "--sidecar",
        choices=SIDECARS,
        default="txt",
        help="txt: the caption alone; xmp: for photograph managers, IPTC alternative text and description",
    )
    flags.add_argument(
        "--embed",
        action="store_true",
        help="sidecar: writes copies of JPEG, PNG and WebP photographs to --output, with the caption in their XMP",
    )
    flags.add_argument(
        "--columns",
        type=lambda text: tuple(text.split(",")),
        metavar="NAME,NAME",
        help="csv: which ones, in this order, or all [image_uri,id,caption,score,confidence,flags, and audio]",
    )
    flags.add_argument("--speech", metavar="OUTPUT", help="csv: output of beamscribe speak, for the column audio")
    flags.add_argument("--replace", action="store_true", help="write over files that say something else")
    flags.add_argument(
        "--formulas", action="store_true", help="csv: leave text that a spreadsheet would run as a formula as it is"
    )
    flags.add_argument(
        "--min-confidence",
        type=chance,
        default=0.0,
        metavar="CHANCE",
        help="leave out captions with less confidence, 0 to 1; captions without one stay; a sidecar of such an image "
        "says that it is decorative, with an empty text [0]",
    )
    add_storage_options(flags)
    return flags
