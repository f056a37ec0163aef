"""Where the time of a shard went: what its stages took, how full the batches were, what was not computed twice."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


class Stopwatch:
    """Adds up time that is spent in pieces.

    Attributes:
        msec: so far.
    """

    msec = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what happens inside."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.msec += (time.perf_counter() - begun) * 1000


def metrics_lines(spent: StageMetrics) -> list[str]:
    """For people, at the end of a job; nothing where nothing was measured."""
    if not spent.batches and not spent.duplicates:
        return []
    stages = ", ".join(
        f"{stage} {getattr(spent, f'{stage}_msec') / 1000:.1f} s" for stage in ("read", "decode", "infer", "write")
    )
    mean = spent.batched / max(1, spent.batches)
    lines = [f"stages, summed over threads: {stages}; {mean:.1f} images a batch"]
    if spent.read_bytes:
        lines.append(f"{spent.read_bytes:,} bytes of images read")
    if spent.duplicates:
        lines.append(f"{spent.duplicates} duplicates: their bytes are another image's, so they were computed once")
    return lines
