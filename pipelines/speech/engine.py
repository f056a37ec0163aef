"""What every speech engine promises, and the one exception they all raise."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SpeechSettings:
    """Which engine speaks, and how.

    All of it can change the sound, so all of it but the timeout belongs to the fingerprint.

    Attributes:
        engine: a name in `pipelines.speech.ENGINES`.
        lang: IETF language tag, such as "en" or "pt-br".
        voice: espeak's voice name with an optional variant, such as "en-us+f3"; empty means the voice of `lang`.
        words_per_minute: espeak's speed, 80 to 450.
        tld: gTTS speaks to translate.google.<tld>; the domain picks the accent ("com", "co.uk", "com.au").
        slow: gTTS's slow speed.
        timeout_seconds: how long gTTS waits to connect, and again for each reply.
    """

    engine: str = "espeak"
    lang: str = "en"
    voice: str = ""
    words_per_minute: int = 175
    tld: str = "com"
    slow: bool = False
    timeout_seconds: float = 30.0


class Waveform(NamedTuple):
    """Sound as samples, one channel.

    Attributes:
        samples: int16, shape `(frames,)`.
        sample_rate: frames a second, in Hz.
    """

    samples: npt.NDArray[np.int16]
    sample_rate: int


class Encoded(NamedTuple):
    """Sound as the engine's service sent it, already a file.

    Attributes:
        data: the file's bytes.
        format: "mp3".
    """

    data: bytes
    format: str


class SpeechEngine(Protocol):
    """A voice that is ready to speak.

    Attributes:
        name: the engine's name in `pipelines.speech.ENGINES`.
        version: version of what makes the sound (the library, not its binding).
        voice: the voice in the engine's own words.
    """

    name: str
    version: str
    voice: str

    def synthesize(self, text: str) -> Waveform | Encoded:
        """Speaks plain text.

        Raises:
            SpeechError: when there is no sound for this text.
        """
        ...

    def close(self) -> None:
        """Releases what the engine holds; the engine is not used again."""
        ...


class SpeechError(Exception):
    """A text has no sound, or an engine cannot start.

    Attributes:
        error_type: one word for a failure row. Starting: EngineMissing, EngineBusy, UnknownVoice, BadSetting.
            Speaking: NothingToSpeak, SynthesisFailed, ServiceRefused (HTTP 4xx), ServiceFailed (HTTP 5xx),
            ServiceUnreachable. Checking: BadAudio.
        message: what, where and how to mend it.
    """

    def __init__(self, error_type: str, message: str):
        # Both go to Exception.args, which is all that pickle carries from a Beam worker to its launcher.
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return self.message
