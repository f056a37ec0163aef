"""One spoken text with its sound: a row of `OUTPUT/audio/*.parquet`; without it: a JSON file in `OUTPUT/audio/*.tar`.

The column `audio` is what Hugging Face's `datasets` calls an Audio feature, and the schema's metadata says so.
"""

import builtins
import json
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import VERSION_KEY, described

FOLDER = "audio"
VERSION = 1


class AudioFile(NamedTuple):
    """An audio file inside a table: its bytes, and the name it would have."""

    bytes: builtins.bytes
    path: str


class AudioRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field."""

    audio_key: str
    text: str
    audio: AudioFile
    sha256: str
    duration_seconds: float
    sample_rate: int
    channels: int
    bytes: int
    loudness_lufs: float | None
    engine: str
    voice: str
    fingerprint: str

    def to_json(self) -> builtins.bytes:
        """All but the sound, as a JSON object."""
        fields: dict[str, Any] = {**self._asdict(), "schema_version": VERSION}
        del fields["audio"]
        return json.dumps(fields, ensure_ascii=False).encode()


_FIELDS = [
    described("audio_key", pa.string(), "Digest of the normalised text and the speech fingerprint"),
    described("text", pa.string(), "The text that was spoken, normalised"),
    described("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "The audio file and its name"),
    described("sha256", pa.string(), "SHA-256 of the audio file's bytes, lower-case hexadecimal"),
    described("duration_seconds", pa.float32(), "Length of the audio in seconds"),
    described("sample_rate", pa.int32(), "Samples a second, Hz"),
    described("channels", pa.int32(), "Number of channels"),
    described("bytes", pa.int64(), "Size of the audio file in bytes"),
    described("loudness_lufs", pa.float32(), "Loudness, LUFS; null below 0.4 s").with_nullable(True),
    described("engine", pa.string(), "Speech engine and its version"),
    described("voice", pa.string(), "Voice of the engine"),
    described("fingerprint", pa.string(), "Digest of everything that can change this row"),
]


def _feature(field: pa.Field) -> dict[str, str]:
    """A column as `datasets` describes it."""
    if field.name == "audio":
        return {"_type": "Audio"}
    return {"_type": "Value", "dtype": {"float": "float32"}.get(str(field.type), str(field.type))}


_FEATURES = {"info": {"features": {field.name: _feature(field) for field in _FIELDS}}}

SCHEMA = pa.schema(
    _FIELDS, metadata={VERSION_KEY: str(VERSION).encode(), b"huggingface": json.dumps(_FEATURES).encode()}
)
