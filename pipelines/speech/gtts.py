"""The gTTS engine: Google Translate's voice through the gTTS package. Needs the network and no account.

Source: gTTS 2.5 `gtts/tts.py`. It posts the text in parts of at most 100 characters and joins the MP3s that come back.
"""

import io
from importlib.metadata import version

import requests
from gtts import gTTS, gTTSError

from pipelines.speech.engine import Encoded, SpeechError, SpeechSettings


class GttsEngine:
    """Speaks through translate.google.<tld>. Holds nothing between two calls; threads may share it."""

    name = "gtts"

    def __init__(self, settings: SpeechSettings):
        """Checks language and settings; asks the service nothing.

        Raises:
            SpeechError: `UnknownVoice` when gTTS does not list the language, `BadSetting` for a timeout of 0 or less.
        """
        if not settings.timeout_seconds > 0:
            raise SpeechError("BadSetting", f"timeout_seconds must be above 0, not {settings.timeout_seconds}")
        self.version = version("gTTS")
        self.voice = f"{settings.lang} ({settings.tld}{', slow' if settings.slow else ''})"
        self._settings = settings
        self._prepare("any text")

    def synthesize(self, text: str) -> Encoded:
        """Asks the service for an MP3 of the text.

        Raises:
            SpeechError: `NothingToSpeak`, `ServiceRefused`, `ServiceFailed`, `ServiceUnreachable` or `SynthesisFailed`.
        """
        parts = _Parts()
        try:
            speech = self._prepare(text)
            asked = len(speech.get_bodies())
            speech.write_to_fp(parts)
        except AssertionError as error:  # "No text to speak", "No text to send to TTS API": gTTS's way to say it
            raise SpeechError(
                "NothingToSpeak", f"gTTS finds nothing to pronounce in {text[:80]!r}; correct the caption"
            ) from error
        except gTTSError as error:
            raise _service_error(error, self._host) from error
        except requests.RequestException as error:  # before anything is sent: tld or proxy make no address
            raise SpeechError(
                "ServiceUnreachable", f"cannot ask {self._host}: {error}; check the tld and the proxy settings"
            ) from error
        except ValueError as error:  # base64 or UTF-8 that does not decode
            raise _garbage(self._host, str(error)) from error
        # gTTS skips a reply without audio in silence; the caption would lose words.
        if parts.sizes.count(0) or len(parts.sizes) < asked:
            raise _garbage(
                self._host, f"audio for {len(parts.sizes) - parts.sizes.count(0)} of {asked} parts of the text"
            )
        return Encoded(parts.getvalue(), "mp3")

    def close(self) -> None:
        """Nothing to release: gTTS opens a connection a request."""

    @property
    def _host(self) -> str:
        return f"translate.google.{self._settings.tld}"

    def _prepare(self, text: str) -> gTTS:
        settings = self._settings
        try:
            return gTTS(
                text, tld=settings.tld, lang=settings.lang, slow=settings.slow, timeout=settings.timeout_seconds
            )
        except ValueError as error:
            raise SpeechError(
                "UnknownVoice", f"gTTS: {error}; `gtts-cli --all` lists the languages it speaks"
            ) from error


class _Parts(io.BytesIO):
    """A file that remembers the size of each write: gTTS writes once for each part of the text that came back."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.sizes.append(len(data))
        return super().write(data)


def _service_error(error: gTTSError, host: str) -> SpeechError:
    """Translates gTTS's one exception by what lies behind it: an HTTP status, or no answer at all."""
    if error.rsp is None:
        cause = error.__context__  # gTTS raises it while handling the requests exception, and does not pass that on
        return SpeechError(
            "ServiceUnreachable",
            f"no answer from {host}: {cause or error}; check the network and the proxy, then retry",
        )
    status = error.rsp.status_code
    if status == 429:
        return SpeechError(
            "ServiceRefused", f"{host} answered 429, too many requests; wait an hour or use fewer workers, then retry"
        )
    if 400 <= status < 500:
        return SpeechError(
            "ServiceRefused", f"{host} answered {status} {error.rsp.reason}; check the tld, upgrade gTTS or use espeak"
        )
    if status >= 500:
        return SpeechError("ServiceFailed", f"{host} answered {status} {error.rsp.reason}; retry later")
    return _garbage(host, f"status {status} and no audio")


def _garbage(host: str, found: str) -> SpeechError:
    return SpeechError(
        "SynthesisFailed", f"{host} sent a reply gTTS cannot read ({found}); retry, upgrade gTTS or use espeak"
    )
