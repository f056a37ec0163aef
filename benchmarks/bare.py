"""`python -m benchmarks.bare BUNDLE ENGINE PRECISION`: the CNN alone, batch 32."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from beamscribe.model.backbone.choice import Choice
from beamscribe.model.backbone.engine import open_engine
from beamscribe.model.bundle import open_bundle
from beamscribe.pipelines.images.batches import SIDE_BY_SIDE

BATCH, BATCHES = 32, 12


def main() -> None:
    begun = time.monotonic()
    bundle = open_bundle(sys.argv[1])
    choice = Choice(*sys.argv[2:4])
    engine = open_engine(bundle.backbone, bundle.backbone_weights, choice, bundle.quantized())
    shape = (BATCH, *bundle.backbone.input_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(engine, [pixels] * SIDE_BY_SIDE))
        startup = time.monotonic() - begun
        cores, started = time.process_time(), time.monotonic()
        list(pool.map(engine, [pixels] * BATCHES))
        seconds, cores = time.monotonic() - started, time.process_time() - cores
    images = BATCH * BATCHES
    print(json.dumps([images / seconds, 1000 * cores / images, startup]))


if __name__ == "__main__":
    main()
