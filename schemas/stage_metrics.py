"""What the stages of a shard took, as receipts record it."""

from collections.abc import Iterable
from typing import NamedTuple


class StageMetrics(NamedTuple):
    """What a part of a shard took; parts are added up. Stages run side by side, so their times overlap.

    Attributes:
        read_msec: reading files, summed over the threads that do it.
        decode_msec: decoding and resizing, likewise.
        infer_msec: model calls, likewise.
        write_msec: making the bytes of the data file, without waiting for rows, and committing it.
        batches: model calls.
        batched: images in them, without padding.
        duplicates: images whose bytes another one has, so that they were not computed again.
        read_bytes: of the files of images that could be decoded.
    """

    read_msec: float = 0.0
    decode_msec: float = 0.0
    infer_msec: float = 0.0
    write_msec: float = 0.0
    batches: int = 0
    batched: int = 0
    duplicates: int = 0
    read_bytes: int = 0


NOTHING = StageMetrics()


def total(parts: Iterable[StageMetrics]) -> StageMetrics:
    """The sum, field by field."""
    return StageMetrics(*(sum(values) for values in zip(*parts, strict=True))) if (parts := list(parts)) else NOTHING
