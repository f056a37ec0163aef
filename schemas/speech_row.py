"""One spoken image: a row of `OUTPUT/index/*.parquet`."""

import datetime
from typing import NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import described, versioned

FOLDER = "index"
VERSION = 2


class SpeechRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field."""

    image_uri: str
    id: str
    caption: str
    audio_uri: str
    audio_member: str | None
    audio_key: str
    sha256: str
    duration_seconds: float
    sample_rate: int
    channels: int
    bytes: int
    loudness_lufs: float | None
    engine: str
    voice: str
    fingerprint: str
    run_started: datetime.datetime


SCHEMA = versioned(
    [
        described("image_uri", pa.string(), "Where the image is, as in the captions"),
        described("id", pa.string(), "The image's id, as in the captions"),
        described("caption", pa.string(), "The text that was spoken, as in the captions"),
        described("audio_uri", pa.string(), "Where the audio is, relative to the output; images share it by text"),
        described("audio_member", pa.string(), "Its name inside a file of many; null otherwise").with_nullable(True),
        described("audio_key", pa.string(), "Digest of the normalised text and the speech fingerprint"),
        described("sha256", pa.string(), "SHA-256 of the audio file's bytes, lower-case hexadecimal"),
        described("duration_seconds", pa.float32(), "Length of the audio in seconds"),
        described("sample_rate", pa.int32(), "Samples a second, Hz"),
        described("channels", pa.int32(), "Number of channels"),
        described("bytes", pa.int64(), "Size of the audio file in bytes"),
        described("loudness_lufs", pa.float32(), "Loudness, LUFS; null below 0.4 s").with_nullable(True),
        described("engine", pa.string(), "Speech engine and its version"),
        described("voice", pa.string(), "Voice of the engine"),
        described("fingerprint", pa.string(), "Digest of everything that can change this row"),
        described("run_started", pa.timestamp("us", tz="UTC"), "Start of the run that wrote this row"),
    ],
    VERSION,
)
