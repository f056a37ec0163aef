"""`python -m benchmarks.interface`: what the captioner interface costs a bundle, in one process.

Rounds alternate between the bundle's models called as the job called them before there was an interface, and through
the interface as it calls them now. One JSON line: images a second of both, and the medians of the rounds' ratios, by
the clock and by the cores' time, which other work on the machine disturbs less. The captions have to be the same.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from beamscribe.model.backbone.choice import Choice
from beamscribe.model.bundle import open_bundle
from beamscribe.model.captioner_interface import Written
from beamscribe.model.images import DecodedImage
from beamscribe.model.pretrained import default_bundle
from beamscribe.pipelines.captioners.bundle import BundleCaptioner, bundle_fields
from beamscribe.pipelines.captioners.process import image_input
from beamscribe.pipelines.images.inference import Inference
from beamscribe.pipelines.images.reading import LoadedImage
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import WorkItem

BEAMS, LENGTH = 3, 24
Way = Callable[[list[LoadedImage]], list[Any]]


class Round(NamedTuple):
    """One pass over the images.

    Attributes:
        seconds: by the clock.
        cores: seconds of all cores.
        captions: what was written.
    """

    seconds: float
    cores: float
    captions: list[Any]


def images(count: int, size: tuple[int, int]) -> list[LoadedImage]:
    """So many images of noise."""
    noise = np.random.default_rng(0)
    return [
        LoadedImage(
            PendingItem(WorkItem(str(number), f"{number}.jpg")),
            str(number),
            DecodedImage(noise.integers(0, 256, (*size, 3), np.uint8), size[1], size[0], ()),
        )
        for number in range(count)
    ]


def measure(way: Way, batches: list[list[LoadedImage]]) -> Round:
    """Calls it on every batch."""
    cores, begun = time.process_time(), time.monotonic()
    found = [caption for batch in batches for caption in way(batch)]
    return Round(time.monotonic() - begun, time.process_time() - cores, found)


def main(argv: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interface", description=__doc__)
    parser.add_argument("--model", help="bundle [the bundle of a checkout]")
    parser.add_argument("--engine", default="tensorflow")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--images", type=int, default=128, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    from beamscribe.model.captioning import CaptionWriter, DecodingOptions  # TensorFlow

    bundle = open_bundle(args.model or default_bundle())
    choice = Choice(args.engine, args.precision)
    writer = CaptionWriter(bundle, DecodingOptions(BEAMS, LENGTH), choice)
    core = Inference(writer.caption_pixels, args.batch_size)
    captioner = BundleCaptioner(writer, bundle, args.batch_size, bundle_fields(bundle, BEAMS, LENGTH, choice))

    def directly(batch: list[LoadedImage]) -> list[Any]:
        return list(core([item.image.pixels for item in batch]))

    def through_the_interface(batch: list[LoadedImage]) -> list[Any]:
        found = list(captioner.caption([image_input(item) for item in batch]))
        return [one.alternatives if isinstance(one, Written) else one for one in found]

    some = images(args.images, bundle.backbone.input_size)
    batches = [some[start : start + args.batch_size] for start in range(0, len(some), args.batch_size)]
    pairs: list[tuple[Round, Round]] = []
    for number in range(-1, args.rounds):
        # Whichever comes second finds the caches as the other left them: they take turns at it.
        if number % 2:
            after = measure(through_the_interface, batches)
            before = measure(directly, batches)
        else:
            before = measure(directly, batches)
            after = measure(through_the_interface, batches)
        assert before.captions == after.captions
        if number >= 0:  # The first round compiles.
            pairs.append((before, after))
    print(
        json.dumps(
            {
                "measured": datetime.date.today().isoformat(),
                "engine": f"{args.engine} {args.precision}",
                "images_a_second_directly": round(args.images / statistics.median(one.seconds for one, _ in pairs), 2),
                "images_a_second": round(args.images / statistics.median(one.seconds for _, one in pairs), 2),
                "ratio": round(statistics.median(one.seconds / other.seconds for one, other in pairs), 4),
                "ratio_of_cores": round(statistics.median(one.cores / other.cores for one, other in pairs), 4),
                "rounds": args.rounds,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
