"""`beamscribe train`: features to a captioner, as a bundle."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model.bundle import BundleError, open_bundle
from model.captioner import Captioner, CaptionerConfig
from model.tokenizer import Tokenizer, learn_vocabulary
from schemas.command import (
    DONE,
    INTERRUPTED,
    STOPPED,
    FlagParser,
    RefusedError,
    add_storage_options,
    positive,
)
from training.checkpoints import Checkpoints
from training.config import TrainingConfig, override, read_config
from training.dataset import Batch, Material, read_features, tokenize, training_batches, validation_batches
from training.export import export
from training.losses import MaskedCrossEntropy, TokenAccuracy, TokenLoss, frequency_loss

MONITOR = "val_token_loss"
STANDARDIZED_IMAGES = 1000
"""Images that mean and deviation of the features are measured on, some 0.5 GB as float32 at most."""


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(prog="beamscribe train", description="Features to a captioner, as a bundle.")
    flags.add_argument("--features", nargs="+", required=True, metavar="OUTPUT", help="outputs of beamscribe featurize")
    flags.add_argument("--validation", nargs="+", required=True, metavar="OUTPUT", help="the same, to stop by")
    flags.add_argument("--output", required=True, metavar="BUNDLE", help="local folder for the bundle")
    flags.add_argument("--work", metavar="DIR", help="folder for checkpoints, logs and unpacked features [OUTPUT.work]")
    flags.add_argument("--config", metavar="FILE", help="recipe, see training/configs/; the flags below replace fields")
    flags.add_argument("--epochs", type=positive, help="passes over the images")
    flags.add_argument("--batch-size", type=positive, help="images a step, each with all its captions")
    flags.add_argument("--learning-rate", type=float, help="peak of the schedule")
    flags.add_argument("--vocabulary-size", type=positive, help="subword tokens at most")
    flags.add_argument("--patience", type=positive, help="epochs without a better validation loss before stopping")
    flags.add_argument("--seed", type=int, help="of weights, dropout and the order of the images")
    add_storage_options(flags)
    return flags


def run(argv: Sequence[str]) -> int:
    """Parses, trains, writes the bundle and loads it back.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours = parser().parse_strictly(argv)
    config = _config(ours)
    output = os.path.abspath(os.path.expanduser(ours.output))
    work = ours.work or f"{output}.work"
    _refuse_foreign_output(output)
    material = prepare(ours.features, ours.validation, config, work, ours.storage_options)
    print(
        f"beamscribe train: {len(material.training.ids)} images with {len(material.training_tokens.rows)} captions, "
        f"{len(material.tokenizer.vocabulary)} tokens; validation {len(material.validation.ids)} images"
    )
    try:
        captioner, checkpoints = fit(material, config, work)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues after the last whole epoch", file=sys.stderr)
        return INTERRUPTED
    if checkpoints.state["best_epoch"] is None:
        print("beamscribe train: the loss is no number: try a lower --learning-rate", file=sys.stderr)
        return STOPPED
    metrics = export(output, captioner, checkpoints, material, config, _evaluator(material, config))
    print(
        f"beamscribe train: validation loss {metrics['validation_token_loss']:.3f} nats a token with the stored "
        f"weights (word frequencies alone: {metrics['frequency_loss']:.3f}), best of {metrics['epochs']} epochs: "
        f"{metrics['best_epoch']}\nbeamscribe train: bundle → {output}"
    )
    return DONE


def _config(ours: argparse.Namespace) -> TrainingConfig:
    config = override(
        read_config(ours.config),
        epochs=ours.epochs,
        batch_size=ours.batch_size,
        learning_rate=ours.learning_rate,
        vocabulary_size=ours.vocabulary_size,
        patience=ours.patience,
        seed=ours.seed,
    )
    if config.width % config.heads:
        raise RefusedError(f"{config.heads} heads do not divide the width {config.width}: change the recipe")
    return config


def _refuse_foreign_output(output: str) -> None:
    """A folder may be overwritten only if it is empty or a bundle."""
    if os.path.isdir(output) and os.listdir(output):
        try:
            open_bundle(output)
        except BundleError as error:
            raise RefusedError(f"--output {output} holds something else than a bundle: choose another") from error
    elif os.path.exists(output) and not os.path.isdir(output):
        raise RefusedError(f"--output {output} is a file: name a folder")


def prepare(
    features: list[str], validation: list[str], config: TrainingConfig, work: str, options: dict[str, Any]
) -> Material:
    """Unpacks features, learns the vocabulary and tokenises.

    Raises:
        RefusedError: if the features cannot be used.
    """
    cache = os.path.join(work, "features")
    training_set, validation_set = read_features(features, cache, options), read_features(validation, cache, options)
    if (training_set.weights_digest, training_set.grid) != (validation_set.weights_digest, validation_set.grid):
        raise RefusedError("--features and --validation come from different backbones: featurize both with the same")
    texts = (text for captions in training_set.captions for text in captions)
    tokenizer = Tokenizer(learn_vocabulary(texts, config.vocabulary_size))
    return Material(
        training_set,
        tokenize(training_set, tokenizer, config.max_length),
        validation_set,
        tokenize(validation_set, tokenizer, config.max_length),
        tokenizer,
    )


def build_captioner(material: Material, config: TrainingConfig) -> Captioner:
    """A captioner with fresh weights for the material's grid and vocabulary."""
    captioner = Captioner(
        CaptionerConfig(
            grid=material.training.grid,
            vocabulary_size=len(material.tokenizer.vocabulary),
            max_length=config.max_length,
            width=config.width,
            heads=config.heads,
            feed_forward=config.feed_forward,
            encoder_blocks=config.encoder_blocks,
            decoder_blocks=config.decoder_blocks,
            dropout=config.dropout,
        )
    )
    captioner.build()
    # Spread over the whole set, since outputs are read one after another.
    step = max(1, len(material.training.ids) // STANDARDIZED_IMAGES)
    captioner.standardize.adapt(material.training.features[::step])
    return captioner


def fit(material: Material, config: TrainingConfig, work: str) -> tuple[Captioner, Checkpoints]:
    """Trains until the epochs are over or the validation loss no longer falls; continues a killed run exactly.

    Args:
        material: what to learn from.
        config: the recipe.
        work: folder for checkpoints and TensorBoard logs.

    Returns:
        The captioner as training left it, and the checkpoints with the best weights.
    """
    keras.utils.set_random_seed(config.seed)
    captioner = build_captioner(material, config)
    steps = max(1, len(material.training.ids) // config.batch_size)
    total = steps * config.epochs
    warmup = max(1, round(config.warmup * total))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warmup), warmup_target=config.learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    captioner.compile(
        optimizer,
        loss=MaskedCrossEntropy(config.label_smoothing),
        metrics=[TokenLoss(), TokenAccuracy()],
    )
    optimizer.build(captioner.trainable_variables)
    checkpoints = Checkpoints(os.path.join(work, "checkpoints"), _identity(material, config), MONITOR, config.patience)
    done = checkpoints.restore(captioner)
    if done:
        print(f"beamscribe train: continues after epoch {done}")
    if not checkpoints.finished:
        captioner.fit(
            _dataset(
                material,
                config,
                lambda: training_batches(
                    material.training,
                    material.training_tokens,
                    config.batch_size,
                    config.captions_per_image,
                    config.seed,
                    done,
                ),
            ),
            steps_per_epoch=steps,
            epochs=config.epochs,
            initial_epoch=done,
            validation_data=_validation(material, config),
            validation_steps=-(-len(material.validation.ids) // config.batch_size),
            shuffle=False,
            callbacks=[checkpoints, keras.callbacks.TensorBoard(os.path.join(work, "tensorboard"), write_graph=False)],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return captioner, checkpoints


def _identity(material: Material, config: TrainingConfig) -> str:
    """Digest of everything that the weights depend on."""
    parts = {
        "config": dataclasses.asdict(config),
        "training": material.training.ids,
        "validation": material.validation.ids,
        "backbone": material.training.weights_digest,
        "vocabulary": material.tokenizer.vocabulary,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _dataset(material: Material, config: TrainingConfig, batches: Callable[[], Iterator[Batch]]) -> tf.data.Dataset:
    cells, channels = material.training.features.shape[1:]
    tokens = tf.TensorSpec((None, config.captions_per_image, config.max_length - 1), tf.int32)
    signature = ((tf.TensorSpec((None, cells, channels), tf.float16), tokens), tokens)
    # Read ahead in a thread of tf.data, so that the step never waits for the disk.
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


def _validation(material: Material, config: TrainingConfig) -> tf.data.Dataset:
    return _dataset(
        material,
        config,
        lambda: validation_batches(
            material.validation, material.validation_tokens, config.batch_size, config.captions_per_image
        ),
    )


def _evaluator(material: Material, config: TrainingConfig) -> Callable[[Captioner], dict[str, float]]:
    """Measures a captioner on the validation set."""

    def evaluate(captioner: Captioner) -> dict[str, float]:
        captioner.compile(loss=MaskedCrossEntropy(), metrics=[TokenLoss(), TokenAccuracy()])
        found = captioner.evaluate(_validation(material, config), verbose=0, return_dict=True)
        vocabulary_size = len(material.tokenizer.vocabulary)
        rows = np.asarray(material.training_tokens.rows), np.asarray(material.validation_tokens.rows)
        return {
            "validation_token_loss": float(found["token_loss"]),
            "validation_token_accuracy": float(found["token_accuracy"]),
            "frequency_loss": frequency_loss(*rows, vocabulary_size),
        }

    return evaluate
