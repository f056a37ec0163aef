"""`python -m benchmarks.training`: does a training step ever wait for its batch, and how long is an epoch?

The same batches are learned as training makes them, and from a cache in memory, where nothing is left to wait for.
"""

import argparse
import statistics
import tempfile
import time

import keras
import tensorflow as tf

from beamscribe.training.batches import feature_lessons, steps_an_epoch, training_batches
from beamscribe.training.config import read_config
from beamscribe.training.cross_entropy import build_captioner, compile_model, dataset_of
from beamscribe.training.material import prepare
from beamscribe.training.precision import computing_in, resolved


def seconds(model: keras.Model, batches: tf.data.Dataset, steps: int) -> float:
    begun = time.monotonic()
    model.fit(batches, steps_per_epoch=steps, verbose=0)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--features", nargs="+", required=True, help="outputs of beamscribe featurize")
    parser.add_argument("--config", help="recipe [the default one]")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    config = read_config(args.config)
    with tempfile.TemporaryDirectory() as work, computing_in(resolved(config.precision)):
        material = prepare(args.features, None, config, work, {})
        lessons = feature_lessons(material)
        whole = steps_an_epoch(lessons.plan, config.batch_size)
        captioner = build_captioner(material, config)
        compile_model(captioner, config, config.learning_rate, whole * config.epochs)

        def batches() -> tf.data.Dataset:
            return training_batches(
                lessons.training,
                lessons.training_tokens,
                lessons.plan,
                config.batch_size,
                config.captions_per_image,
                config.seed,
                0,
            )

        made = dataset_of(lessons, batches, [])
        cached = made.take(args.steps).cache()
        # Fills the cache, and compiles.
        seconds(captioner, cached, args.steps)
        taken = [
            (seconds(captioner, made, args.steps), seconds(captioner, cached, args.steps)) for _ in range(args.repeat)
        ]
        begun = time.monotonic()
        for _ in made.take(args.steps):
            pass
        alone = (time.monotonic() - begun) / args.steps
    as_made, cached_step = (statistics.median(column) / args.steps for column in zip(*taken, strict=True))
    print(f"{len(material.training.ids):,} images, {whole} steps of {config.batch_size} an epoch, width {config.width}")
    print(f"a step {1000 * as_made:.0f} ms, from memory {1000 * cached_step:.0f}; a batch alone {1000 * alone:.0f} ms")
    print(f"waiting {max(0.0, 1 - cached_step / as_made):.1%} of the time; an epoch {as_made * whole:.0f} s")


if __name__ == "__main__":
    main()
