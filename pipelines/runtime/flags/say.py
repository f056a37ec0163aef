"""Flags of `beamscribe say`."""

from beamscribe.flag_parser import FlagParser, add_storage_options
from beamscribe.pipelines.runtime.flags.speak import add_speech_flags
from beamscribe.pipelines.speech import FORMATS


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(prog="beamscribe say", description="One line of text to one audio file.")
    flags.add_argument("text", help="what to say")
    flags.add_argument("--output", required=True, help=f"file or URI, ending in {', '.join(FORMATS)}")
    add_speech_flags(flags)
    add_storage_options(flags)
    return flags
