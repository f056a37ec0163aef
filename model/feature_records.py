"""Feature examples as an output of rows: GZIP TFRecord files."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from beamscribe.schemas import feature_example
from beamscribe.schemas.feature_example import FeatureExample, captions_digest
from beamscribe.schemas.rows import RowKey


@dataclass(frozen=True)
class FeatureRecords:
    """Feature examples as GZIP TFRecord files."""

    folder: str = feature_example.FOLDER
    suffix: str = ".tfrecord.gz"
    holds_captions: bool = True

    def encode(self, rows: Iterable[FeatureExample]) -> bytes:
        """The examples as the bytes of one file."""
        from beamscribe.model.examples import encode_file  # TensorFlow is loaded only where there is work to do.

        return encode_file(rows)

    def read_keys(self, data: bytes, name: str) -> list[RowKey]:
        """Ids, fingerprints and digests of the captions in a file."""
        from beamscribe.model.examples import decode_file

        return [
            RowKey(
                example.id,
                example.fingerprint,
                captions_digest(list(zip(example.caption_ids, example.captions, strict=False))),
            )
            for example in decode_file(data, name)
        ]

    def only(self, data: bytes, name: str, ids: Collection[str]) -> bytes:
        """A file with the examples of some ids alone."""
        from beamscribe.model.examples import decode_file

        return self.encode(example for example in decode_file(data, name) if example.id in ids)
