"""One image that could not be done: a row of `OUTPUT/failures/*.parquet`."""

import datetime
from typing import NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import described, versioned

FOLDER = "failures"
VERSION = 1


class FailureRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field."""

    image_uri: str
    id: str
    stage: str
    error_type: str
    message: str
    attempts: int
    run_started: datetime.datetime


SCHEMA = versioned(
    [
        described("image_uri", pa.string(), "Where the image was to be read"),
        described("id", pa.string(), "The image's id"),
        described("stage", pa.string(), "Where it failed: read, decode, speak"),
        described("error_type", pa.string(), "Kind of the error, one word, see docs/formats.md"),
        described("message", pa.string(), "What happened, for people"),
        described("attempts", pa.int32(), "Runs that have tried it so far"),
        described("run_started", pa.timestamp("us", tz="UTC"), "Start of the run that wrote this row"),
    ],
    VERSION,
)
