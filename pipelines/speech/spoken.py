"""What is spoken: a text, the key that names its audio, and where that audio lies."""

import hashlib
import unicodedata
from typing import NamedTuple

from beamscribe.pipelines.speech.audio import AudioFacts

TEXT_NORMALISATION = "nfc-spaces-1"
"""Name of `normalize_text` in the fingerprint; a change of the function changes it."""


class SpokenText(NamedTuple):
    """The audio of a text, as it is stored.

    Attributes:
        key: digest of text and speech fingerprint.
        uri: the file, below the output.
        member: its name in a file of many; None in a file of its own.
        sha256: of the audio's bytes, lower-case hexadecimal.
        facts: read back from these bytes.
    """

    key: str
    uri: str
    member: str | None
    sha256: str
    facts: AudioFacts


def normalize_text(caption: str) -> str:
    """The text that is spoken: NFC, white space collapsed; case and punctuation kept, for they change the voice."""
    return " ".join(unicodedata.normalize("NFC", caption).split())


def audio_key(text: str, fingerprint: str) -> str:
    """Names the audio of a text: equal texts spoken in the same way share it."""
    return hashlib.blake2b(f"{fingerprint}\0{text}".encode(), digest_size=16).hexdigest()
