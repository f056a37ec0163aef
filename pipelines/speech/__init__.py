"""Speech: text in, sound out, one file an engine.

`engine` holds what every engine promises, `espeak` and `gtts` keep the promise, `audio` turns samples into files and
checks what came back. Importing this package loads no engine: a worker without gTTS can run espeak.
"""

from pipelines.speech.engine import SpeechEngine, SpeechError, SpeechSettings

ENGINES = ("espeak", "gtts")
"""The names `SpeechSettings.engine` may have; the first needs no network."""


def open_engine(settings: SpeechSettings) -> SpeechEngine:
    """Opens the engine the settings name; call it once a process and `close` the result.

    Args:
        settings: engine, voice and speed.

    Returns:
        The engine, its voice already checked. Nothing has gone over the network yet.

    Raises:
        SpeechError: `EngineMissing` when the name is unknown or its package is not installed, `UnknownVoice` or
            `BadSetting` when the engine refuses the settings.
    """
    try:
        if settings.engine == "espeak":
            from pipelines.speech.espeak import EspeakEngine

            return EspeakEngine(settings)
        if settings.engine == "gtts":
            from pipelines.speech.gtts import GttsEngine

            return GttsEngine(settings)
    except ModuleNotFoundError as error:
        package = {"espeakng_loader": "espeakng-loader", "gtts": "gTTS"}.get(error.name or "", error.name)
        raise SpeechError(
            "EngineMissing", f"speech engine {settings.engine!r} needs the package {package}: pip install {package}"
        ) from error
    raise SpeechError(
        "EngineMissing", f"no speech engine is called {settings.engine!r}; choose one of {', '.join(ENGINES)}"
    )
