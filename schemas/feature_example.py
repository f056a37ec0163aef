"""One image's features and captions: a record of `OUTPUT/features/*.tfrecord.gz`.

The names below are the keys of the record's `tf.train.Example`; `docs/formats.md` gives type and shape of each.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

FOLDER = "features"
VERSION = 1

ID = "image/id"
FILE_NAME = "image/file_name"
URI = "image/uri"
SHA256 = "image/sha256"
WIDTH = "image/width"
HEIGHT = "image/height"
REPAIRS = "image/repairs"
FEATURES = "features/values"
FEATURES_DTYPE = "features/dtype"
FEATURES_SHAPE = "features/shape"
CAPTIONS = "captions/text"
CAPTION_IDS = "captions/id"
FINGERPRINT = "fingerprint"
RUN_STARTED = "run_started"
SCHEMA_VERSION = "schema_version"

DTYPE = "float16"
"""Little-endian, row-major. Features after ReLU are sparse, so as float16 they deflate to a tenth or less."""


class FeatureExample(NamedTuple):
    """One image as a captioner learns from it.

    Attributes:
        id: COCO image id.
        file_name: as in the annotations.
        uri: where the image was read.
        sha256: of the file's bytes, lower-case hexadecimal.
        width: pixels, after EXIF orientation.
        height: pixels, after EXIF orientation.
        repairs: what decoding had to repair.
        features: float16 values, little-endian, row-major, of `shape`.
        shape: (rows, columns, channels) of the backbone's grid.
        captions: raw texts.
        caption_ids: COCO annotation ids, one a caption.
        fingerprint: digest of everything that can change the record.
        run_started: ISO 8601, UTC.
    """

    id: str
    file_name: str
    uri: str
    sha256: str
    width: int
    height: int
    repairs: tuple[str, ...]
    features: bytes
    shape: tuple[int, int, int]
    captions: tuple[str, ...]
    caption_ids: tuple[int, ...]
    fingerprint: str
    run_started: str


def captions_digest(captions: Sequence[tuple[int, str]]) -> str:
    """Tells captions of an image from others, each as its id and text; in 16 hexadecimal digits."""
    text = json.dumps([list(caption) for caption in captions])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
