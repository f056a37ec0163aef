"""Speech: text in, sound out, one file an engine.

`engine` holds what every engine promises, `espeak`, `piper`, `gtts` and `gcloud` keep the promise, `clip` makes a
checked file of what they say. Importing this package loads no engine: a worker without gTTS can run espeak. A new
engine is a file of its own and a line in `_REGISTERED`.
"""

import importlib
from typing import NamedTuple

from beamscribe.pipelines.speech.engine import Asking, SpeechEngine, SpeechError, SpeechSettings, ask_once


class _Registered(NamedTuple):
    """Where an engine lives: module, class, and what to install where its package is missing."""

    module: str
    engine: str
    install: str


_REGISTERED = {
    "espeak": _Registered("beamscribe.pipelines.speech.espeak", "EspeakEngine", "espeakng-loader"),
    "piper": _Registered("beamscribe.pipelines.speech.piper", "PiperEngine", "beamscribe[piper]"),
    "gtts": _Registered("beamscribe.pipelines.speech.gtts", "GttsEngine", "gTTS"),
    "gcloud": _Registered("beamscribe.pipelines.speech.gcloud", "GcloudEngine", "google-cloud-texttospeech"),
}

ENGINES = tuple(_REGISTERED)
"""The names `SpeechSettings.engine` may have; the first needs no network."""


FORMATS = ("mp3", "ogg", "flac", "wav")
"""Formats of audio files, by the end of their names."""


def open_engine(settings: SpeechSettings, ask: Asking = ask_once) -> SpeechEngine:
    """Opens the engine the settings name; call it once a process and `close` the result.

    Args:
        settings: engine, voice and speed.
        ask: makes its requests to a service, which see.

    Returns:
        The engine, its voice already checked as far as that needs no network. Its service was not asked yet.

    Raises:
        SpeechError: `EngineMissing` when the name is unknown or its package is not installed, `UnknownVoice` or
            `BadSetting` when the engine refuses the settings.
    """
    if settings.engine not in _REGISTERED:
        raise SpeechError(
            "EngineMissing", f"no speech engine is called {settings.engine!r}; choose one of {', '.join(ENGINES)}"
        )
    module, engine, install = _REGISTERED[settings.engine]
    try:
        opened: SpeechEngine = getattr(importlib.import_module(module), engine)(settings, ask)
    except ImportError as error:
        raise SpeechError(
            "EngineMissing", f"speech engine {settings.engine!r} needs the package {install}: pip install {install}"
        ) from error
    return opened
