"""What every speech engine promises, and the one exception they all raise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from beamscribe.pipelines.services.service_error import ServiceError

MOST_SECONDS = 600
"""Seconds of speech for one text at most; its samples, decoded and measured, are some 300 MB. A text that takes more is
refused."""

MOST_CHARACTERS = 20_000
"""Characters of a text at most; more is refused before any engine sees it."""


@dataclass(frozen=True)
class SpeechSettings:
    """Which engine speaks, and how.

    An engine says in `SpeechEngine.fingerprint_fields` which of these change its sound; they belong to the fingerprint.

    Attributes:
        engine: a name in `beamscribe.pipelines.speech.ENGINES`.
        lang: IETF language tag, such as "en" or "pt-br".
        voice: the engine's name of a voice, such as "en-us+f3" or "en-US-Neural2-C"; empty means the voice of `lang`.
        words_per_minute: espeak's speed, 80 to 450.
        tld: gTTS speaks to translate.google.<tld>; the domain picks the accent ("com", "co.uk", "com.au").
        slow: gTTS's slow speed.
        endpoint: host of a service, with a port if it is not 443; empty means the service's own.
        timeout_seconds: how long a service may take to connect, and again for each reply.
    """

    engine: str = "espeak"
    lang: str = "en"
    voice: str = ""
    words_per_minute: int = 175
    tld: str = "com"
    slow: bool = False
    endpoint: str = ""
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


T = TypeVar("T")


class Asking(Protocol):
    """How an engine makes a request to its service: through this, which may wait before it and try it again."""

    def __call__(self, request: Callable[[], T]) -> T:
        """Makes the request and gives its answer."""
        ...


def ask_once(request: Callable[[], T]) -> T:
    """Makes a request at once and once."""
    return request()


class SpeechEngine(Protocol):
    """A voice that is ready to speak.

    Attributes:
        name: the engine's name in `beamscribe.pipelines.speech.ENGINES`.
        version: version of what makes the sound (the library, not its binding).
        voice: the voice in the engine's own words.
        fingerprint_fields: names of the `SpeechSettings` that change its sound.
        requests_per_minute: what its service may be asked by default; None for an engine that asks no service.
        raw: whether it gives samples (`Waveform`), which can be made louder before they are encoded.
    """

    name: str
    version: str
    voice: str
    fingerprint_fields: tuple[str, ...]
    requests_per_minute: float | None
    raw: bool

    def synthesize(self, text: str) -> Waveform | Encoded:
        """Speaks plain text.

        Raises:
            SpeechError: when there is no sound for this text.
        """
        ...

    def close(self) -> None:
        """Releases what the engine holds; the engine is not used again."""
        ...


class SpeechError(ServiceError):
    """A text has no sound, or an engine cannot start.

    Its `error_type` when starting: EngineMissing, EngineBusy, UnknownVoice, BadSetting. When speaking: NothingToSpeak,
    TextTooLong, SynthesisFailed, ServiceRefused (HTTP 4xx), ServiceFailed (HTTP 5xx), ServiceUnreachable. When
    checking: BadAudio.
    """
