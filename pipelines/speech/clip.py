"""One text to one audio file that was checked: engine, loudness, encoding, tags, check."""

from typing import NamedTuple

from beamscribe.pipelines.speech.audio import AudioFacts, check_audio, transcode
from beamscribe.pipelines.speech.engine import MOST_CHARACTERS, SpeechEngine, SpeechError, Waveform
from beamscribe.pipelines.speech.loudness import level
from beamscribe.pipelines.speech.tags import tag


class Style(NamedTuple):
    """How the files are made.

    Attributes:
        format: a name in `beamscribe.pipelines.speech.FORMATS`.
        loudness_lufs: wanted loudness; None leaves it as the engine made it.
    """

    format: str
    loudness_lufs: float | None = None


class Clip(NamedTuple):
    """A checked audio file: its bytes, and what was read back from them."""

    data: bytes
    facts: AudioFacts


def artist(engine: SpeechEngine) -> tuple[str, str]:
    """Who speaks: the engine with its version, and the voice."""
    return f"{engine.name} {engine.version}", engine.voice


def make_clip(text: str, engine: SpeechEngine, style: Style) -> Clip:
    """Speaks a text and checks what came of it; a function of its arguments, as far as the engine is one.

    Raises:
        SpeechError: if there is no good audio for the text.
    """
    if len(text) > MOST_CHARACTERS:
        raise SpeechError(
            "TextTooLong",
            f"{text[:80]!r}… has {len(text):,} characters, at most {MOST_CHARACTERS:,}; shorten the caption",
        )
    sound = engine.synthesize(text)
    if style.loudness_lufs is not None and isinstance(sound, Waveform):
        sound = level(sound, style.loudness_lufs)
    try:
        data = tag(transcode(sound, style.format), style.format, title=text, artist=", ".join(artist(engine)))
    except ValueError as error:
        raise SpeechError("BadAudio", f"{error}; speak the text again") from error
    return Clip(data, check_audio(data, text))
