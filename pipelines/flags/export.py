"""Flags of `beamscribe export`."""

from schemas.command import FlagParser, add_storage_options

LINES = ("csv", "jsonl")
SIDECARS = ("txt", "xmp")
FORMS = ("coco-results", *LINES, "sidecar")


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe export",
        description="Captions in the forms that other programs read: COCO's results file, CSV, JSON lines, or a file "
        "beside each photograph.",
    )
    flags.add_argument("captions", metavar="OUTPUT", help="output of beamscribe caption")
    flags.add_argument("--to", required=True, choices=FORMS, help="form; a sidecar is photo.txt beside photo.jpg")
    flags.add_argument(
        "--output", metavar="PATH", help="file or URI; for sidecars a folder [beside the photographs themselves]"
    )
    flags.add_argument("--annotations", metavar="JSON", help="COCO file that gives image ids for coco-results")
    flags.add_argument(
        "--sidecar",
        choices=SIDECARS,
        default="txt",
        help="txt: the caption alone; xmp: for photograph managers",
    )
    flags.add_argument("--replace", action="store_true", help="write over sidecars that say something else")
    add_storage_options(flags)
    return flags
