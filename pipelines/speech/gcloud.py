"""The Google Cloud Text-to-Speech engine, through its official client. Needs an account with that service switched on.

Credentials come from the usual places: `GOOGLE_APPLICATION_CREDENTIALS`, `gcloud auth application-default login`, or
the machine's own account. Source: google-cloud-texttospeech 2.38, `TextToSpeechClient.synthesize_speech`.
"""

import functools
from collections.abc import Iterable
from typing import Any

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud import texttospeech
from google.rpc.error_details_pb2 import RetryInfo

from beamscribe.pipelines.speech.audio import checked_part, decode, joined
from beamscribe.pipelines.speech.engine import Asking, SpeechError, SpeechSettings, Waveform, ask_once
from beamscribe.pipelines.speech.parts import parts_of, plain_text

MOST_BYTES = 4900
"""Bytes of a request's text in UTF-8 at most: the service refuses more than 5,000."""

_PASSING = frozenset((408, 429, 499, 500, 502, 503, 504))
"""HTTP equivalents of RESOURCE_EXHAUSTED (429), UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL and CANCELLED."""


class GcloudEngine:
    """Speaks through texttospeech.googleapis.com. Threads may share it."""

    name = "gcloud"
    fingerprint_fields = ("lang", "voice")
    requests_per_minute = 900.0
    """A project may make 1,000 until it asks for more; some voices fewer."""
    raw = True

    def __init__(self, settings: SpeechSettings, ask: Asking = ask_once):
        """Finds credentials; asks the service nothing.

        Raises:
            SpeechError: `EngineMissing` when there are no credentials, `BadSetting` for an endpoint that is none.
        """
        self.version = "v1"
        self.voice = settings.voice or settings.lang
        self._ask = ask
        self._timeout = settings.timeout_seconds
        # A voice is called by its language first (en-US-Neural2-C), and the service wants both to agree.
        language = "-".join(settings.voice.split("-")[:2]) if settings.voice else settings.lang
        self._voice = texttospeech.VoiceSelectionParams(language_code=language, name=settings.voice)
        # Samples, not a file of its own: they can be made louder, and are encoded once.
        self._audio = texttospeech.AudioConfig(audio_encoding=texttospeech.AudioEncoding.LINEAR16)
        try:
            options = ClientOptions(api_endpoint=settings.endpoint or None)
            self._client = texttospeech.TextToSpeechClient(client_options=options)
        except GoogleAuthError as error:
            raise SpeechError(
                "EngineMissing",
                f"no Google Cloud credentials: {error}; set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run "
                "gcloud auth application-default login",
            ) from error
        except ValueError as error:
            raise SpeechError("BadSetting", f"endpoint {settings.endpoint!r}: {error}") from error

    def synthesize(self, text: str) -> Waveform:
        """Asks the service for the samples of a text; of a long one in parts, a request each.

        Texts are sent as text, never as SSML: markup in a caption is read out.

        Raises:
            SpeechError: `NothingToSpeak`, `ServiceRefused`, `ServiceFailed`, `ServiceUnreachable` or `BadAudio`.
        """
        if not any(character.isalnum() for character in text):
            raise SpeechError("NothingToSpeak", f"there is no letter or digit in {text[:80]!r}; correct the caption")
        parts = parts_of(plain_text(text), MOST_BYTES, lambda piece: len(piece.encode()))
        sounds = [self._ask(functools.partial(self._speak, part)) for part in parts]
        return joined([checked_part(decode(sound), part) for sound, part in zip(sounds, parts, strict=True)])

    def _speak(self, text: str) -> bytes:
        """One request: a WAV file."""
        try:
            reply = self._client.synthesize_speech(
                input=texttospeech.SynthesisInput(text=text),
                voice=self._voice,
                audio_config=self._audio,
                # Every try counts against the budget, so the client makes none of its own.
                retry=None,
                timeout=self._timeout,
            )
        except GoogleAPICallError as error:
            raise _service_error(error) from error
        except GoogleAuthError as error:
            raise SpeechError(
                "ServiceRefused", f"Google Cloud takes no credentials: {error}; check the key file and the clock"
            ) from error
        return bytes(reply.audio_content)

    def close(self) -> None:
        """Closes the connection."""
        self._client.transport.close()


def _service_error(error: GoogleAPICallError) -> SpeechError:
    """Translates what the client raises by the status that lies behind it."""
    code = int(error.code or 0)
    said = f"Google Cloud answered {error.message}"
    if code == 429:
        return SpeechError(
            "ServiceRefused",
            f"{said}; lower --requests-per-minute or ask for a higher quota, then retry",
            passing=True,
            retry_after_seconds=_retry_delay_seconds(error.details),
        )
    if code in (503, 504):
        kind, advice = "ServiceUnreachable", "check the network and --endpoint, then retry"
    elif code >= 500:
        kind, advice = "ServiceFailed", "retry later"
    else:
        kind, advice = "ServiceRefused", "check --voice, --lang and the account"
    wait = _retry_delay_seconds(error.details)
    return SpeechError(kind, f"{said}; {advice}", passing=code in _PASSING, retry_after_seconds=wait)


def _retry_delay_seconds(details: Iterable[Any]) -> float | None:
    """How long the service wants to be left alone: gRPC's way to say `Retry-After`."""
    for detail in details:
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.ToTimedelta().total_seconds())
    return None
