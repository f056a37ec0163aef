"""One captioned image: a row of `OUTPUT/captions/*.parquet`."""

import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import described, optional, versioned

FOLDER = "captions"
VERSION = 3
"""Version 2 has no columns of captioners behind an endpoint, and a score in every row."""


class Alternative(NamedTuple):
    """A caption that was found, with its score; None where the captioner gives none.

    `confidence` is the chance that the caption is acceptable, of the best one of an image, where it is known.
    """

    caption: str
    score: float | None
    confidence: float | None = None


class SourceFile(NamedTuple):
    """An image file as it was read.

    Attributes:
        suffix: of its format, as `jpg`.
        data: its bytes.
    """

    suffix: str
    data: bytes


class CaptionRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field; two are no columns: `kept` is the values of several, see
    `beamscribe.schemas.kept_columns`, and `file` goes into the tar beside the rows, if there is one.
    """

    image_uri: str
    id: str
    sha256: str
    width: int
    height: int
    caption: str
    flags: tuple[str, ...]
    score: float | None
    alternatives: tuple[Alternative, ...]
    repairs: tuple[str, ...]
    fingerprint: str
    run_started: datetime.datetime
    model: str | None = None
    prompt_digest: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    confidence: float | None = None
    structured: dict[str, Any] | None = None
    kept: pa.RecordBatch | None = None
    file: SourceFile | None = None


SCHEMA = versioned(
    [
        described("image_uri", pa.string(), "Where the image was read"),
        described("id", pa.string(), "COCO image id, else the manifest's id, else the canonical absolute URI"),
        described("sha256", pa.string(), "SHA-256 of the image file's bytes, lower-case hexadecimal"),
        described("width", pa.int32(), "Width in pixels after EXIF orientation"),
        described("height", pa.int32(), "Height in pixels after EXIF orientation"),
        described(
            "caption", pa.string(), "The chosen caption; an English sentence, unless another language was asked for"
        ),
        described("flags", pa.list_(pa.string()), "What is unusual about the caption, see docs/formats.md"),
        optional(
            "score",
            pa.float32(),
            "Mean natural-log probability over the generated tokens with the end token; null where it is not known",
        ),
        described(
            "alternatives",
            pa.list_(
                pa.struct(
                    [
                        described("caption", pa.string(), "A sentence"),
                        optional("score", pa.float32(), "As the column `score`"),
                    ]
                )
            ),
            "Captions that were found, best first; the first one is `caption`",
        ),
        described("repairs", pa.list_(pa.string()), "What decoding had to repair, see docs/formats.md"),
        described("fingerprint", pa.string(), "Digest of everything that can change this row"),
        described("run_started", pa.timestamp("us", tz="UTC"), "Start of the run that wrote this row"),
        optional("model", pa.string(), "Model that a service says has answered; null for captioners in the process"),
        optional("prompt_digest", pa.string(), "Digest of the prompt with its fields filled in"),
        optional("tokens_in", pa.int32(), "Tokens of the request, as the service counted them, of all attempts"),
        optional("tokens_out", pa.int32(), "Tokens of the answer, as the service counted them, of all attempts"),
        optional("finish_reason", pa.string(), "Why generation ended, such as stop"),
        optional(
            "confidence",
            pa.float32(),
            "Chance that the caption is acceptable, 0 to 1, as the bundle was calibrated; null where that is not known",
        ),
    ],
    VERSION,
)

STRUCTURED = "structured"
"""A further column, a struct, of jobs that ask for answers of a JSON Schema; its type depends on that."""


def with_structured(dtype: pa.StructType) -> pa.Schema:
    """The schema with the column `STRUCTURED`.

    Args:
        dtype: of the answers.
    """
    field = optional(STRUCTURED, dtype, "The answer, in the form that --json-schema asks for")
    return SCHEMA.append(field)
