"""Where the time of a shard went: what its stages took, how full the batches were, what was not computed twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from beamscribe.schemas.counted import counted
from beamscribe.schemas.stage_metrics import StageMetrics


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
        lines.append(f"{counted(spent.duplicates, 'duplicate')}: bytes of another image, computed once")
    return lines
