"""The images of a shard: read and decoded ahead of the model, in threads, or apart where one may be poison."""

import datetime
from collections.abc import Iterator, Sequence

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.pipelines.images.isolation import load_images_apart
from beamscribe.pipelines.images.reading import LoadedImage, Reading, load_image
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import PendingItem, Shard
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.prefetch import prefetch

THREADS = 4
"""Pillow and the network let go of the interpreter lock; two cores decode faster than the CNN takes images."""

SHARE_OF_STALL = 0.2
"""Of the time that a shard may make no progress, what one image of a suspect shard may take: 60 s by default. The
slowest image of 100 megapixels takes some ten seconds, and a remote read may be tried again."""


def load_shard(
    shard: Shard, spec: BackboneSpec, reading: Reading, run: Run, batch_size: int
) -> Iterator[LoadedImage | FailureRow]:
    """A shard's images, with the failures met on the way; two batches are read ahead."""
    if shard.suspect:
        limit = run.stall_timeout_seconds * SHARE_OF_STALL
        return load_images_apart(shard.todo, spec, reading, run.started, limit)
    return load_images(shard.todo, spec, reading, run.started, ahead=2 * batch_size)


def load_images(
    todo: Sequence[PendingItem],
    spec: BackboneSpec,
    reading: Reading,
    run_started: datetime.datetime,
    ahead: int,
) -> Iterator[LoadedImage | FailureRow]:
    """Images in order, up to `ahead` of them decoded before they are asked for."""
    return prefetch(lambda item: load_image(item, spec, reading, run_started), todo, THREADS, ahead)
