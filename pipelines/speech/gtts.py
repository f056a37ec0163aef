"""The gTTS engine: Google Translate's voice through the gTTS package. Needs the network and no account.

Source: gTTS 2.5 `gtts/tts.py`. It posts a text in parts of at most 100 characters and joins the MP3s that come back.
Here each part is asked for by itself: a request is what a budget counts, and what is tried again.
"""

import functools
import io
import json
import urllib.parse
from collections import Counter
from importlib.metadata import version
from typing import Any

import requests
from gtts import gTTS, gTTSError

from beamscribe.pipelines.services.retry_after import retry_after_seconds
from beamscribe.pipelines.speech.engine import Asking, Encoded, SpeechError, SpeechSettings, ask_once
from beamscribe.pipelines.speech.mp3 import join_mp3
from beamscribe.pipelines.speech.parts import parts_of, plain_text

MOST_CHARACTERS = 100
"""Characters of a request's text at most: what gTTS allows itself."""


class GttsEngine:
    """Speaks through translate.google.<tld>. Holds nothing between two calls; threads may share it."""

    name = "gtts"
    fingerprint_fields = ("lang", "tld", "slow")
    requests_per_minute = 60.0
    """In practice the endpoint takes a request every 0.5 to 1 s from one address."""
    raw = False

    def __init__(self, settings: SpeechSettings, ask: Asking = ask_once):
        """Checks language and settings; asks the service nothing.

        Raises:
            SpeechError: `UnknownVoice` when gTTS does not list the language, `BadSetting` for a timeout of 0 or less.
        """
        if not settings.timeout_seconds > 0:
            raise SpeechError("BadSetting", f"timeout_seconds must be above 0, not {settings.timeout_seconds}")
        self.version = version("gTTS")
        self.voice = f"{settings.lang} ({settings.tld}{', slow' if settings.slow else ''})"
        self._settings = settings
        self._ask = ask
        self._prepare("any text")

    def synthesize(self, text: str) -> Encoded:
        """Asks the service for an MP3 of each part of the text.

        Raises:
            SpeechError: `NothingToSpeak`, `ServiceRefused`, `ServiceFailed`, `ServiceUnreachable` or `SynthesisFailed`.
        """
        try:
            plain = plain_text(text)
            # gTTS cuts at 100 characters wherever that is; a part of ours is one of its own, unless it adds to it.
            bodies = [body for piece in parts_of(plain, MOST_CHARACTERS) for body in self._bodies(piece)]
            parts = [_part_of(body) for body in bodies]
        except requests.RequestException as error:  # before anything is sent: tld or proxy make no address
            raise SpeechError(
                "ServiceUnreachable", f"cannot ask {self._host}: {error}; check the tld and the proxy settings"
            ) from error
        if not parts:
            raise SpeechError(
                "NothingToSpeak", f"gTTS finds nothing to pronounce in {text[:80]!r}; correct the caption"
            )
        left_out = Counter(filter(str.isalnum, plain)) - Counter(filter(str.isalnum, "".join(parts)))
        if left_out:
            raise SpeechError(
                "SynthesisFailed", f"gTTS leaves out {left_out.total()} letters of {text[:80]!r}; use another --engine"
            )
        return Encoded(join_mp3([self._ask(functools.partial(self._speak, part)) for part in parts]), "mp3")

    def _bodies(self, piece: str) -> list[str]:
        """The requests for a piece of a text; none for one of punctuation alone."""
        try:
            return list(self._prepare(piece).get_bodies())
        except AssertionError:  # "No text to speak", "No text to send to TTS API": gTTS's way to say it
            return []

    def _speak(self, part: str) -> bytes:
        """One request: the MP3 of a part of a text."""
        sound = io.BytesIO()
        try:
            self._prepare(part, pre_processor_funcs=[]).write_to_fp(sound)
        except gTTSError as error:
            raise _service_error(error, self._host) from error
        except ValueError as error:  # base64 or UTF-8 that does not decode
            raise _garbage(self._host, str(error)) from error
        # gTTS skips a reply without audio in silence; the caption would lose words.
        if not sound.getvalue():
            raise _garbage(self._host, f"no audio for {part!r}")
        return sound.getvalue()

    def close(self) -> None:
        """Nothing to release: gTTS opens a connection a request."""

    @property
    def _host(self) -> str:
        return f"translate.google.{self._settings.tld}"

    def _prepare(self, text: str, **more: Any) -> gTTS:
        settings = self._settings
        voice = {"tld": settings.tld, "lang": settings.lang, "slow": settings.slow}
        try:
            return gTTS(text, timeout=settings.timeout_seconds, **voice, **more)
        except ValueError as error:
            raise SpeechError(
                "UnknownVoice", f"gTTS: {error}; `gtts-cli --all` lists the languages it speaks"
            ) from error


def _part_of(body: str) -> str:
    """The part of a text that a request of gTTS carries; see `gTTS._package_rpc`."""
    call = json.loads(urllib.parse.parse_qs(body)["f.req"][0])
    part: str = json.loads(call[0][0][1])[0]
    return part


def _service_error(error: gTTSError, host: str) -> SpeechError:
    """Translates gTTS's one exception by what lies behind it: an HTTP status, or no answer at all."""
    if error.rsp is None:
        cause = error.__context__  # gTTS raises it while handling the requests exception, and does not pass that on
        return SpeechError(
            "ServiceUnreachable",
            f"no answer from {host}: {cause or error}; check the network and the proxy, then retry",
            passing=True,
        )
    status = error.rsp.status_code
    wait = retry_after_seconds(error.rsp.headers.get("Retry-After"))
    if status == 429:
        return SpeechError(
            "ServiceRefused",
            f"{host} answered 429, too many requests; wait an hour or lower --requests-per-minute, then retry",
            passing=True,
            retry_after_seconds=wait,
        )
    if 400 <= status < 500:
        return SpeechError(
            "ServiceRefused", f"{host} answered {status} {error.rsp.reason}; check the tld, upgrade gTTS or use espeak"
        )
    if status >= 500:
        return SpeechError(
            "ServiceFailed",
            f"{host} answered {status} {error.rsp.reason}; retry later",
            passing=True,
            retry_after_seconds=wait,
        )
    return _garbage(host, f"status {status} and no audio")


def _garbage(host: str, found: str) -> SpeechError:
    return SpeechError(
        "SynthesisFailed",
        f"{host} sent a reply gTTS cannot read ({found}); retry, upgrade gTTS or use espeak",
        passing=True,
    )
