"""How well one caption agrees with what people wrote: a row of the Parquet file beside `scores.json`."""

from typing import NamedTuple

import pyarrow as pa

from beamscribe.schemas.table import described, versioned

VERSION = 1


class ScoreRow(NamedTuple):
    """See `SCHEMA` for the meaning and unit of each field."""

    id: str
    file_name: str
    image_uri: str
    caption: str
    references: tuple[str, ...]
    bleu_4: float
    meteor: float
    rouge_l: float
    cider: float


SCHEMA = versioned(
    [
        described("id", pa.string(), "COCO image id"),
        described("file_name", pa.string(), "The image's file as the annotations name it"),
        described("image_uri", pa.string(), "Where the captioned image was read; empty for an image without a caption"),
        described("caption", pa.string(), "The caption; empty for an image without one"),
        described("references", pa.list_(pa.string()), "What people wrote, in the order of the annotations"),
        described("bleu_4", pa.float64(), "BLEU-4 of this caption alone, 0 to 1"),
        described("meteor", pa.float64(), "METEOR of this caption alone, 0 to 1"),
        described("rouge_l", pa.float64(), "ROUGE-L, 0 to 1; its mean is the score of the set"),
        described("cider", pa.float64(), "CIDEr, 0 to 10; its mean is the score of the set"),
    ],
    VERSION,
)
