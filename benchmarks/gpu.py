"""How fast captioners in the process are on this machine's GPU, or on its CPU where there is none.

    python -m benchmarks.gpu --images 2048 --model BUNDLE --batch-sizes 32 128 512
    python -m benchmarks.gpu --images 256 --model keras-hub:pali_gemma_3b_mix_224 --batch-sizes 1 4 16

prints one JSON line for each batch size and precision: the device, images a second once it is warm, seconds to load and
to warm up, and the most memory that TensorFlow took on the device. `--small` takes seconds on a CPU: it shows that the
command runs.
"""

import argparse
import datetime
import json
import time
from collections.abc import Iterator

import numpy as np

from beamscribe.model.backbone.choice import TENSORFLOW, Choice
from beamscribe.model.captioner_interface import Captioner, ImageInput, Pixels
from beamscribe.model.devices import device
from beamscribe.model.pretrained import default_bundle
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.captioners.keras_hub import KerasHubSource
from beamscribe.pipelines.captioners.source import CaptionerSource
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.storage import Storage

KERAS_HUB = "keras-hub:"


def source_of(model: str, batch_size: int, precision: str) -> CaptionerSource:
    """How to load a model.

    Args:
        model: as `beamscribe caption --model` takes it.
        batch_size: images that a call takes.
        precision: "float32" or "bfloat16".
    """
    if model.startswith(KERAS_HUB):
        return KerasHubSource(model.removeprefix(KERAS_HUB), "", 32, batch_size, precision)
    return BundleSource(model, 3, 24, batch_size, Choice(TENSORFLOW, precision))


def inputs(captioner: Captioner, count: int) -> Iterator[ImageInput]:
    """So many images of noise in the size that a captioner takes."""
    wants = captioner.wants
    if not isinstance(wants, Pixels):
        raise TypeError("this captioner does not compute here")
    noise = np.random.default_rng(0)
    for number in range(count):
        pixels = noise.integers(0, 256, (*wants.input_size, 3), np.uint8)
        yield ImageInput(str(number), str(number), pixels)


def measure(model: str, batch_size: int, precision: str, images: int) -> dict[str, object]:
    """One line of the table."""
    found = device()
    run = Run(Storage("memory://benchmark"), CAPTIONS, "benchmark", datetime.datetime.now(datetime.UTC))
    begun = time.monotonic()
    captioner = source_of(model, batch_size, precision).open(run)
    some = list(inputs(captioner, batch_size))
    list(captioner.caption(some))
    loaded = time.monotonic()
    done = 0
    while done < images:
        done += len(list(captioner.caption(some)))
    seconds = time.monotonic() - loaded
    return {
        "model": model,
        "device": f"{found.kind} {found.name}",
        "precision": precision,
        "batch_size": batch_size,
        "images_a_second": round(done / seconds, 2),
        "loading_seconds": round(loaded - begun, 1),
        "peak_bytes": _peak_bytes(found.kind),
    }


def _peak_bytes(kind: str) -> int | None:
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if kind == "GPU" else None


def main(argv: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="bundle or keras-hub:PRESET [the bundle of a checkout]")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--small", action="store_true", help="one batch of two images in float32")
    args = parser.parse_args(argv)
    if args.small:
        args.images, args.batch_sizes, args.precisions = 2, [2], ["float32"]
    for precision in args.precisions:
        for batch_size in args.batch_sizes:
            print(json.dumps(measure(args.model or default_bundle(), batch_size, precision, args.images)), flush=True)


if __name__ == "__main__":
    main()
