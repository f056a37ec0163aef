"""The first phase of training: the captioner learns to say the next word of the captions that people wrote."""

import dataclasses
import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from beamscribe.errors import RefusedError
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.training import language_model
from beamscribe.training.batches import (
    Batch,
    Lessons,
    feature_lessons,
    steps_an_epoch,
    training_batches,
    validation_batches,
)
from beamscribe.training.checkpoints import Checkpoints
from beamscribe.training.choice import CIDER
from beamscribe.training.config import TrainingConfig
from beamscribe.training.losses import MaskedCrossEntropy, TokenAccuracy, TokenLoss, frequency_loss
from beamscribe.training.material import Material
from beamscribe.training.starting import digest_of, start_from
from beamscribe.training.strategy import scope
from beamscribe.training.validation import CiderValidation, LogCider

STANDARDIZED_IMAGES = 1000
"""Images that mean and deviation of the features are measured on, some 0.5 GB as float32 at most."""


def build_captioner(material: Material, config: TrainingConfig) -> Captioner:
    """A captioner with fresh weights, by the recipe's seed, for the material's grid and vocabulary."""
    keras.utils.set_random_seed(config.seed)
    shared = CaptionerConfig._fields & dataclasses.asdict(config).keys()
    captioner = Captioner(
        CaptionerConfig(
            grid=material.training.grid,
            vocabulary_size=len(material.tokenizer.vocabulary),
            **{name: getattr(config, name) for name in shared if name != "vocabulary_size"},
        )
    )
    captioner.build()
    # Spread over the whole set, since outputs are read one after another.
    images = np.arange(0, len(material.training.ids), max(1, len(material.training.ids) // STANDARDIZED_IMAGES))
    captioner.adapt(material.training.inputs(images))
    return captioner


def identity(material: Material, config: TrainingConfig, start: str | None = None) -> str:
    """Digest of everything that the weights of this phase depend on.

    What later phases do is not in it, nor how many epochs there are: a run that is asked for more goes on.
    """
    later = ("fine_tune", "self_critical", "members", "notice", "epochs", "patience")
    parts = {
        "config": {name: value for name, value in dataclasses.asdict(config).items() if not name.startswith(later)},
        "training": material.training.ids,
        "validation": material.validation.ids,
        "views": material.training.views.tolist(),
        # Two backbones may share their weights and give other channels.
        "backbone": (material.training.backbone, material.training.weights_digest),
        "vocabulary": material.tokenizer.vocabulary,
        "shares": hashlib.sha256(material.plan.shares.tobytes()).hexdigest(),
        "sentences": material.sentences.digest,
        "start": digest_of(start) if start else "",
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fit(material: Material, config: TrainingConfig, work: str, strategy: str, start: str | None = None) -> Checkpoints:
    """Trains until the epochs are over or the held-out captions become no better; continues a killed run exactly.

    Args:
        material: what to learn from.
        config: the recipe.
        work: folder for checkpoints and TensorBoard logs.
        strategy: one of `beamscribe.training.strategy.STRATEGIES`.
        start: a bundle whose weights training begins with.

    Returns:
        The checkpoints with the best weights.
    """
    steps = steps_an_epoch(material.plan, config.batch_size) * config.epochs
    with scope(strategy):
        captioner = build_captioner(material, config)
        if start:
            start_from(captioner, material.tokenizer.vocabulary, start)
        language_model.start(captioner, material, config, work)
        compile_model(captioner, config, config.learning_rate, steps)
    folder = os.path.join(work, "checkpoints")
    frequency = held_out_frequency_loss(material)
    checkpoints = Checkpoints(folder, identity(material, config, start), config.epochs, config.patience, frequency)
    validation = LogCider(CiderValidation(material, captioner, config.batch_size))
    learn(captioner, feature_lessons(material), config, config.epochs, [validation, checkpoints], work)
    print(f"beamscribe train: stops after epoch {checkpoints.state['epoch']}: {_told(checkpoints)}", flush=True)
    return checkpoints


def _told(checkpoints: Checkpoints) -> str:
    kept, why = checkpoints.kept, checkpoints.why_it_stops
    if kept.epoch is None:
        return f"{why}; none is kept"
    chose = "CIDEr" if kept.by == CIDER else "the loss, since CIDEr is not yet more than chance,"
    return f"{why}; {chose} chose epoch {kept.epoch}, which is kept"


def held_out_frequency_loss(material: Material) -> float:
    """Loss of predicting each token of the held-out captions by its frequency, in nats a token."""
    return frequency_loss(
        material.training_tokens.rows, material.validation_tokens.rows, len(material.tokenizer.vocabulary)
    )


def compile_model(model: keras.Model, config: TrainingConfig, learning_rate: float, steps: int) -> None:
    """Adam with a rate that rises from zero and falls along a cosine, and the masked loss."""
    warmup = max(1, round(config.warmup * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)  # pyright: ignore[reportArgumentType]
    # Rows have many lengths, and XLA would compile for each anew.
    model.compile(
        optimizer,
        MaskedCrossEntropy(config.label_smoothing),
        metrics=[TokenLoss(), TokenAccuracy()],
        jit_compile=False,  # pyright: ignore[reportArgumentType]
    )
    optimizer.build(model.trainable_variables)


def learn(
    model: keras.Model,
    lessons: Lessons,
    config: TrainingConfig,
    epochs: int,
    callbacks: list[keras.callbacks.Callback],
    work: str,
) -> None:
    """Runs the epochs that are not done yet.

    Args:
        model: compiled, its optimizer built; from inputs and tokens to logits.
        lessons: what to learn from.
        config: the recipe.
        epochs: all of them.
        callbacks: the last of them `Checkpoints`, to continue from and to write.
        work: folder for TensorBoard logs, named as the checkpoints'.
    """
    checkpoints = callbacks[-1]
    assert isinstance(checkpoints, Checkpoints)
    logs = os.path.join(work, "tensorboard", os.path.basename(checkpoints.folder))
    done = checkpoints.restore(model)
    if done:
        print(f"beamscribe train: continues after epoch {done}")
    if checkpoints.finished:
        return
    refused: list[RefusedError] = []
    training = dataset_of(
        lessons,
        lambda: training_batches(
            lessons.training,
            lessons.training_tokens,
            lessons.plan,
            config.batch_size,
            config.captions_per_image,
            config.seed,
            done,
        ),
        refused,
    )
    try:
        model.fit(
            training,
            steps_per_epoch=steps_an_epoch(lessons.plan, config.batch_size),
            epochs=epochs,
            initial_epoch=done,
            validation_data=_validation(lessons, config, refused),
            shuffle=False,
            callbacks=[*callbacks, keras.callbacks.TensorBoard(logs, write_graph=False)],
            verbose=1 if sys.stdout.isatty() else 2,  # pyright: ignore[reportArgumentType]
        )
    except tf.errors.OpError as error:
        # tf.data wraps what its reading thread raises; an image that is gone is no mistake of ours.
        if refused:
            raise refused[0] from None
        raise _of_storage(error) from None


def _of_storage(error: tf.errors.OpError) -> Exception:
    """The error as the system's own, where a full disk or missing rights are behind it: TensorBoard's logs are written
    by TensorFlow."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(code) in str(error):
            return OSError(code, os.strerror(code), "the folder for logs")
    return error


def dataset_of(
    lessons: Lessons, batches: Callable[[], Iterator[Batch]], refused: list[RefusedError]
) -> tf.data.Dataset:
    """Batches as ((inputs, tokens), wanted tokens), made ahead of the step in a thread.

    Args:
        lessons: that they are made from.
        batches: makes them.
        refused: takes the error that ends them, which tf.data would wrap.
    """

    def pairs() -> Iterator[tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]:
        try:
            for batch in batches():
                yield (batch.inputs, batch.tokens), batch.wanted
        except RefusedError as error:
            refused.append(error)
            raise

    tokens = tf.TensorSpec((None, None), tf.int32)
    signature = ((tf.TensorSpec((None, *lessons.training.shape), lessons.training.dtype), tokens), tokens)
    # Read ahead in a thread of tf.data, so that the step never waits for the disk.
    return tf.data.Dataset.from_generator(pairs, output_signature=signature).prefetch(2)


def _validation(lessons: Lessons, config: TrainingConfig, refused: list[RefusedError]) -> tf.data.Dataset:
    batches = -(-len(lessons.validation.ids) // min(config.batch_size, len(lessons.validation.ids)))
    dataset = dataset_of(
        lessons,
        lambda: validation_batches(lessons.validation, lessons.validation_tokens, config.batch_size),
        refused,
    )
    # Keras takes a dataset of unknown length for one that broke off.
    return dataset.apply(tf.data.experimental.assert_cardinality(batches))


def evaluator(
    lessons: Lessons, config: TrainingConfig, vocabulary_size: int
) -> Callable[[keras.Model], dict[str, float]]:
    """Measures a model from inputs and tokens to logits on the validation set."""

    def evaluate(model: keras.Model) -> dict[str, float]:
        model.compile(loss=MaskedCrossEntropy(), metrics=[TokenLoss(), TokenAccuracy()], jit_compile=False)  # pyright: ignore[reportArgumentType]
        found = model.evaluate(_validation(lessons, config, []), verbose=0, return_dict=True)  # pyright: ignore[reportArgumentType]
        rows = np.asarray(lessons.training_tokens.rows), np.asarray(lessons.validation_tokens.rows)
        return {
            "validation_token_loss": float(found["token_loss"]),
            "validation_token_accuracy": float(found["token_accuracy"]),
            "frequency_loss": frequency_loss(*rows, vocabulary_size),
        }

    return evaluate
