"""Flags of `beamscribe caption`."""

import argparse

from beamscribe.flag_parser import FlagParser, chance, not_negative, positive
from beamscribe.model.backbone.choice import AUTO, ENGINES, PRECISIONS
from beamscribe.pipelines.images.quality import ALARM_PERCENT, ALARM_ROWS
from beamscribe.pipelines.runtime.flags.endpoint import add_endpoint_flags
from beamscribe.pipelines.runtime.flags.jobs import BATCH_SIZE, BEAM_EPILOG, add_job_flags, add_reading_flags
from beamscribe.schemas.keep import TYPES, Keep, parse_keep


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        words="--images",
        prog="beamscribe caption",
        description="Photographs, or features of them, to captions in Parquet.",
        epilog=BEAM_EPILOG,
    )
    source = flags.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--images", nargs="+", metavar="GLOB_OR_DIR", help="folders (walked), globs, files, zip and tar archives"
    )
    source.add_argument(
        "--manifest",
        nargs="+",
        metavar="FILE",
        help="text with one image URI a line, CSV, JSON, Parquet or Arrow; tables may hold the images themselves",
    )
    source.add_argument("--features", nargs="+", metavar="OUTPUT", help="outputs of beamscribe featurize")
    source.add_argument(
        "--retake",
        metavar="OUTPUT",
        help="output of beamscribe caption whose unsure captions are made again, with another --model; beamscribe "
        "merge makes one output of both",
    )
    flags.add_argument(
        "--below",
        type=chance,
        metavar="CHANCE",
        help="of --retake: captions with less confidence are made again, the least sure first within --limit [0.4]",
    )
    flags.add_argument("--uri-column", metavar="NAME", help="of a manifest: URIs, or images [uri, image_uri, url, …]")
    flags.add_argument(
        "--id-column", metavar="NAME", help="of a manifest: ids [id, if there is one, else the URI]; '' for none"
    )
    flags.add_argument(
        "--keep-columns",
        type=_columns,
        metavar="NAME,NAME",
        help="of a manifest, or of .json and .txt beside images in archives: columns to copy into the rows; NAME:TYPE "
        f"says of which type they are, {', '.join(TYPES)}; NEW=NAME keeps one under another name",
    )
    flags.add_argument(
        "--model",
        metavar="BUNDLE",
        help="folder that beamscribe train wrote [$BEAMSCRIBE_MODEL, else the one in a checkout's pretrained/]; or "
        "keras-hub:PRESET_OR_FOLDER; or a model's name at --endpoint",
    )
    flags.add_argument("--captioner", metavar="MODULE:CLASS", help="a captioner of your own, see docs/captioners.md")
    flags.add_argument("--output", required=True, help="folder or URI for captions/, failures/ and _beamscribe/")
    flags.add_argument(
        "--layout",
        choices=("parquet", "webdataset"),
        default="parquet",
        help="webdataset: beside each file of rows a tar with the images themselves, their captions as .txt and their "
        "rows as .json, as programs for training stream them; the images are read once",
    )
    flags.add_argument(
        "--report",
        nargs="?",
        const="",
        type=_page,
        metavar="PAGE.html",
        help="write the page of beamscribe report too when the job is done [OUTPUT/report.html]",
    )
    flags.add_argument(
        "--beam-size", type=positive, default=3, metavar="CAPTIONS", help="kept at each step; 1 is greedy"
    )
    flags.add_argument("--max-length", type=positive, default=24, metavar="TOKENS", help="of a caption at most")
    flags.add_argument(
        "--alarm-share",
        type=float,
        default=ALARM_PERCENT,
        metavar="PERCENT",
        help=f"warn when one caption is said of more than this share of different images, and of {ALARM_ROWS} or more",
    )
    flags.add_argument("--strict", action="store_true", help="end with exit code 3 where there is such a warning")
    flags.add_argument("--engine", choices=(*ENGINES, AUTO), default=AUTO, help="what runs the CNN")
    flags.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        default=AUTO,
        help="of the CNN; bfloat16 and int8 are faster and write slightly other captions, int8 needs a bundle of "
        "beamscribe quantize; auto is float32, or what an output was begun with",
    )
    flags.add_argument(
        "--strip-query",
        action="store_true",
        help="store URLs without what follows their question mark, such as signatures; they are asked for with it",
    )
    flags.add_argument(
        "--list-members",
        action="store_true",
        help="list what is in compressed tars, and in tars, zips and Parquet tables in object stores, before the job, "
        "so that many workers share one, and list manifests of more than ten million rows at once; else each is read "
        "by one worker, such manifests are done in parts. --limit, --sample, --deduplicate and --endpoint do so too",
    )
    flags.add_argument(
        "--deduplicate",
        action="store_true",
        help="read every image once more before the job, so that equal ones are captioned once by all workers together",
    )
    flags.add_argument(
        "--gpus", type=not_negative, metavar="NUMBER", help="of this machine to use, one for each process [all]"
    )
    add_endpoint_flags(flags)
    add_reading_flags(flags)
    add_job_flags(flags, BATCH_SIZE)
    return flags


def _columns(text: str) -> tuple[Keep, ...]:
    """Columns to keep, for argparse."""
    try:
        return parse_keep(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _page(text: str) -> str:
    """A page's name, or none, for argparse: a word after the flag may have been meant for another one."""
    if text and not text.endswith(".html"):
        raise argparse.ArgumentTypeError(f"{text} is not called NAME.html")
    return text
