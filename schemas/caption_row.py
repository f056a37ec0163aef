"""One captioned image: a row of `OUTPUT/captions/*.parquet`."""

import datetime
from typing import NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import described, versioned

FOLDER = "captions"
VERSION = 2


class Alternative(NamedTuple):
    """A caption that beam search found, with its score."""

    caption: str
    score: float


class CaptionRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field."""

    image_uri: str
    id: str
    sha256: str
    width: int
    height: int
    caption: str
    flags: tuple[str, ...]
    score: float
    alternatives: tuple[Alternative, ...]
    repairs: tuple[str, ...]
    fingerprint: str
    run_started: datetime.datetime


SCHEMA = versioned(
    [
        described("image_uri", pa.string(), "Where the image was read"),
        described("id", pa.string(), "COCO image id, else the manifest's id, else the canonical absolute URI"),
        described("sha256", pa.string(), "SHA-256 of the image file's bytes, lower-case hexadecimal"),
        described("width", pa.int32(), "Width in pixels after EXIF orientation"),
        described("height", pa.int32(), "Height in pixels after EXIF orientation"),
        described("caption", pa.string(), "The chosen caption, an English sentence"),
        described("flags", pa.list_(pa.string()), "What is unusual about the caption, see docs/formats.md"),
        described("score", pa.float32(), "Mean natural-log probability over the generated tokens with the end token"),
        described(
            "alternatives",
            pa.list_(
                pa.struct(
                    [
                        described("caption", pa.string(), "A sentence"),
                        described("score", pa.float32(), "As the column `score`"),
                    ]
                )
            ),
            "Captions that beam search ended with, best first; the first one is `caption`",
        ),
        described("repairs", pa.list_(pa.string()), "What decoding had to repair, see docs/formats.md"),
        described("fingerprint", pa.string(), "Digest of everything that can change this row"),
        described("run_started", pa.timestamp("us", tz="UTC"), "Start of the run that wrote this row"),
    ],
    VERSION,
)
