"""Before the first image: the decoder learns from sentences alone how captions go on.

The sentences are read beside the mean image, whose standardised features are zero: cross-attention learns what to do
where there is nothing to see, and the rest of the decoder learns the language.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from beamscribe.errors import RefusedError
from beamscribe.model import weights
from beamscribe.model.captioner import Captioner
from beamscribe.model.decoder_names import TRANSFORMER
from beamscribe.storage import whole_files
from beamscribe.training.batches import pack
from beamscribe.training.config import TrainingConfig
from beamscribe.training.losses import MaskedCrossEntropy
from beamscribe.training.material import Material

ROWS, SENTENCES = 16, 16
"""Rows of a step, and sentences in each, one after another: the mean image is encoded once a row."""

SAVED_EVERY = 100
"""Steps."""

STATE, WEIGHTS = "state.json", "weights.npz"


def start(captioner: Captioner, material: Material, config: TrainingConfig, work: str) -> None:
    """Gives the captioner the weights that it has after its sentences; continues a killed run after its last save.

    Args:
        captioner: built, with fresh weights and adapted; its weights are replaced.
        material: with the sentences.
        config: the recipe.
        work: folder for the saved weights.

    Raises:
        RefusedError: if the recipe asks for sentences that are not there.
    """
    count = config.language_model_sentences
    if not count:
        return
    if not material.sentences.texts or config.decoder != TRANSFORMER:
        raise RefusedError("the recipe reads sentences first, for the decoder transformer alone: give --texts FILE")
    folder = os.path.join(work, "language_model")
    os.makedirs(folder, exist_ok=True)
    identity = _identity(captioner, material, config)
    steps = max(1, count // (ROWS * SENTENCES))
    done = _restore(captioner, folder, identity)
    if done >= steps:
        return
    warmup = max(1, round(config.warmup * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=config.language_model_learning_rate, warmup_steps=warmup, alpha=0.1
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)  # pyright: ignore[reportArgumentType]
    optimizer.build(captioner.trainable_variables)
    # Adam's moments of a killed run are gone, its place in the schedule is not.
    optimizer.iterations.assign(done)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    loss_of = MaskedCrossEntropy(config.label_smoothing)
    features = mean_image(captioner, ROWS)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((ROWS, None), tf.int32)] * 2)
    def step(tokens: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        variables = [variable.value for variable in captioner.trainable_variables]
        with tf.GradientTape() as tape:
            loss = loss_of.call(wanted, captioner((features, tokens), training=True))
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    began, total = time.monotonic(), 0.0
    for number, (tokens, wanted) in enumerate(_batches(material, config, done, steps), done + 1):
        total += float(step(tf.constant(tokens), tf.constant(wanted)))
        if number % SAVED_EVERY == 0 or number == steps:
            whole_files.replace(os.path.join(folder, WEIGHTS), weights.to_npz(captioner))
            whole_files.replace(
                os.path.join(folder, STATE), json.dumps({"identity": identity, "steps": number}).encode()
            )
            mean = total / (number - done)
            print(
                f"sentences: {number * ROWS * SENTENCES:,} of {steps * ROWS * SENTENCES:,}, loss {mean:.3f}, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            total, done = 0.0, number


def mean_image(captioner: Captioner, count: int) -> tf.Tensor:
    """Features (count, cells, channels) that say nothing: the mean of all images in every cell."""
    rows, columns, channels = captioner.config.grid
    return tf.broadcast_to(tf.convert_to_tensor(captioner.encoder.standardize.mean), (count, rows * columns, channels))


def _batches(
    material: Material, config: TrainingConfig, done: int, steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Packed sentences, tokens and wanted tokens (ROWS, length), in an order by the recipe's seed."""
    random = np.random.default_rng((config.seed, 1))
    texts = material.sentences.texts
    size = ROWS * SENTENCES
    passes = -(-steps * size // len(texts))
    order = np.concatenate([random.permutation(len(texts)) for _ in range(passes)])
    for number in range(done, steps):
        chosen = [texts[place] for place in order[number * size : (number + 1) * size]]
        rows = material.tokenizer.tokenize(chosen, config.max_length)
        captions = [row[: np.count_nonzero(row)] for row in rows]
        yield pack([captions[first : first + SENTENCES] for first in range(0, size, SENTENCES)])


def _identity(captioner: Captioner, material: Material, config: TrainingConfig) -> str:
    parts = (
        captioner.config,
        material.tokenizer.vocabulary,
        material.sentences.digest,
        [config.seed, config.language_model_sentences, config.language_model_learning_rate, config.label_smoothing],
        material.training.weights_digest,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _restore(captioner: Captioner, folder: str, identity: str) -> int:
    """Steps that are done, whose weights the captioner then has."""
    try:
        with open(os.path.join(folder, STATE), encoding="utf-8") as file:
            state = json.load(file)
        if state["identity"] != identity:
            return 0
        with open(os.path.join(folder, WEIGHTS), "rb") as file:
            weights.load(captioner, file.read())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0
    return int(state["steps"])
