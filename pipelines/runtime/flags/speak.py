"""Flags of `beamscribe speak`, and those that `beamscribe say` shares with it."""

import argparse

from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.runtime.flags.jobs import BEAM_EPILOG, add_job_flags
from beamscribe.pipelines.speech import ENGINES, FORMATS

LAYOUTS = ("files", "tar", "parquet")
QUIETEST_LUFS, LOUDEST_LUFS = -60.0, -5.0


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        words="--captions",
        prog="beamscribe speak",
        description="Captions to one audio file for each distinct text, and an index of the images in Parquet.",
        epilog=BEAM_EPILOG,
    )
    flags.add_argument(
        "--captions",
        required=True,
        metavar="OUTPUT",
        help="output of beamscribe caption, or Parquet (file, folder, glob) with columns image_uri and caption",
    )
    flags.add_argument("--output", required=True, help="folder or URI for audio/, index/, failures/ and _beamscribe/")
    flags.add_argument("--format", choices=FORMATS, default="mp3", help="of the audio files")
    flags.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="a file a text, or tar (WebDataset) or Parquet files of many",
    )
    add_speech_flags(flags)
    flags.add_argument(
        "--requests-per-minute",
        type=_rate,
        metavar="N",
        help="to the engine's service, by all workers together; a long text takes several [gtts 60, gcloud 900]",
    )
    add_job_flags(flags, batch_size=None)
    return flags


def add_speech_flags(flags: argparse.ArgumentParser) -> None:
    """The flags that say how to speak."""
    flags.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="espeak and piper need no network")
    flags.add_argument("--lang", default="en", help="IETF language tag, such as en or pt-br")
    flags.add_argument(
        "--voice",
        default="",
        help="of espeak or gcloud: en-us+f3, en-US-Neural2-C; of piper: an .onnx file or URI, or an installed "
        "package of a voice [the language's]",
    )
    flags.add_argument("--words-per-minute", type=int, default=175, help="speed of espeak and piper, 80 to 450")
    flags.add_argument("--tld", default="com", help="gtts speaks to translate.google.TLD, which picks the accent")
    flags.add_argument("--slow", action="store_true", help="gtts's slow speed")
    flags.add_argument("--endpoint", default="", help="gcloud's host, such as eu-texttospeech.googleapis.com")
    flags.add_argument(
        "--loudness",
        type=_loudness,
        metavar="LUFS",
        help="such as -16: makes espeak, piper or gcloud that loud [as the engine speaks]",
    )


def _loudness(text: str) -> float:
    lufs = float(text)
    if not QUIETEST_LUFS <= lufs <= LOUDEST_LUFS:
        raise argparse.ArgumentTypeError(f"{text} LUFS is not within {QUIETEST_LUFS:g} and {LOUDEST_LUFS:g}")
    return lufs


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return rate
