"""The second phase: the captioner draws captions and learns to prefer those that score better than its others.

Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563) with the mean of an image's other samples as
baseline (Luo 2020, arXiv:2003.09971). The reward is CIDEr with document frequencies of the training captions.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.captioner import Captioner
from beamscribe.model.freezing import compiled
from beamscribe.model.sampling import sample
from beamscribe.model.tokenizer import PAD, START
from beamscribe.training.batches import pack, steps_an_epoch
from beamscribe.training.checkpoints import Checkpoints
from beamscribe.training.choice import CIDER
from beamscribe.training.cider import CiderReward
from beamscribe.training.config import TrainingConfig
from beamscribe.training.material import Material
from beamscribe.training.plan import Plan
from beamscribe.training.validation import CiderValidation, references, said

MAX_LENGTH = 24
"""Tokens of a sample at most, with the end token: 99.8 % of Flickr8k's captions are no longer."""

PATIENCE = 5
"""Epochs without better captions of the validation images. Between two epochs the CIDEr of some hundred photographs
differs by chance as much as by training, so two of them say nothing; on few photographs the reward soon rises by heart
alone.
"""


def fit(material: Material, config: TrainingConfig, work: str, captioner: Captioner, start: bytes) -> Checkpoints:
    """Trains on; continues a killed run exactly.

    Args:
        material: what to learn from.
        config: the recipe.
        work: folder for the checkpoints.
        captioner: built; its weights are replaced.
        start: the best weights of the first phase, `.npz`.

    Returns:
        The checkpoints with the best weights by the CIDEr of the validation images; `train` goes part of the way there.
    """
    weights.load(captioner, start)
    plan = plan_of(material, config)
    steps = steps_an_epoch(plan, config.batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(
        config.self_critical_learning_rate, steps * config.self_critical_epochs, 0.0
    )
    captioner.compile(
        keras.optimizers.Adam(
            rate,  # pyright: ignore[reportArgumentType]
            global_clipnorm=config.clip_norm,
            use_ema=True,
            ema_momentum=config.self_critical_averaging,
        )
    )
    captioner.optimizer.build(captioner.trainable_variables)

    def dump() -> bytes:
        with averaged(captioner):
            return weights.to_npz(captioner)

    checkpoints = Checkpoints(
        os.path.join(work, "self_critical"),
        _identity(config, start),
        config.self_critical_epochs,
        PATIENCE,
        dump=dump,
    )
    checkpoints.set_model(captioner)
    done = checkpoints.restore(captioner)
    if checkpoints.finished:
        return checkpoints
    phase = _Phase(material, config, captioner)
    if not done:
        print(f"self-critical: {CIDER} {phase.validate():.4f} before the first epoch", flush=True)
    for epoch in range(done, config.self_critical_epochs):
        if checkpoints.finished:
            break
        began = time.monotonic()
        logs = phase.epoch(epoch)
        checkpoints.on_epoch_end(epoch, logs)
        told = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        print(
            f"self-critical {epoch + 1}/{config.self_critical_epochs}: {told}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return checkpoints


def plan_of(material: Material, config: TrainingConfig) -> Plan:
    """Which images a pass of this phase shows."""
    return Plan.of(material.plan.shares, config.self_critical_images or material.plan.images)


def _identity(config: TrainingConfig, start: bytes) -> str:
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name != "members"}
    parts = [json.dumps(fields), hashlib.sha256(start).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextlib.contextmanager
def averaged(captioner: Captioner) -> Iterator[None]:
    """Inside, the captioner has the running mean of its weights: single steps of this phase are noisy."""
    latest = [variable.numpy() for variable in captioner.trainable_variables]
    captioner.optimizer.finalize_variable_values(captioner.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(captioner.trainable_variables, latest, strict=True):
            variable.assign(value)


def advantages(rewards: np.ndarray) -> np.ndarray:
    """Each reward minus the mean of the other samples' (images, samples)."""
    samples = rewards.shape[1]
    return (rewards - rewards.mean(axis=1, keepdims=True)) * samples / (samples - 1)


class _Phase:
    """Compiled functions and rewards of one run."""

    def __init__(self, material: Material, config: TrainingConfig, captioner: Captioner) -> None:
        self.material, self.config, self.captioner = material, config, captioner
        self.plan = plan_of(material, config)
        self.max_length = min(MAX_LENGTH, config.max_length - 1)
        self.reward = CiderReward(references(material.training, material.training_tokens))
        self.validate = CiderValidation(material, captioner, config.batch_size)
        grids = tf.TensorSpec((None, *material.training.shape), tf.float16)
        rows = tf.TensorSpec((None, None), tf.int32)
        self._draw = compiled(self._sample, input_signature=[grids, tf.TensorSpec((2,), tf.int32)])
        self._learn = compiled(self._step, input_signature=[grids, rows, rows, tf.TensorSpec((None, None), tf.float32)])

    def _sample(self, features: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return sample(self.captioner, features, self.config.self_critical_samples, self.max_length, seed)

    def _step(self, features: tf.Tensor, tokens: tf.Tensor, wanted: tf.Tensor, advantage: tf.Tensor) -> None:
        variables = [variable.value for variable in self.captioner.trainable_variables]
        with tf.GradientTape() as tape:
            logits = self.captioner((features, tokens), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
            drawn = tf.cast(wanted != PAD, tf.float32)
            loss = tf.reduce_sum(losses * advantage * drawn) / tf.reduce_sum(drawn)
        self.captioner.optimizer.apply(tape.gradient(loss, variables))

    def epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the images in an order that depends on the seed and the epoch alone."""
        config, size = self.config, min(self.config.batch_size, self.plan.images)
        order = self.plan.order(np.random.default_rng((config.seed, epoch)))
        total = 0.0
        steps = steps_an_epoch(self.plan, config.batch_size)
        for step in range(steps):
            images = np.sort(order[step * size : (step + 1) * size])
            features = tf.constant(self.material.training.inputs(images))
            # Two numbers that no two steps share: drawing adds the word's place to the second.
            seed = tf.constant([config.seed, (epoch * steps + step) * MAX_LENGTH])
            drawn = [[said(row) for row in rows] for rows in self._draw(features, seed).numpy()]
            rewards = np.array(
                [[self.reward.score(image, row) for row in rows] for image, rows in zip(images, drawn, strict=True)]
            )
            total += float(rewards.mean())
            self._learn(features, *_packed(drawn, advantages(rewards)))
            if sys.stdout.isatty():
                print(f"\rself-critical {epoch + 1}: {step + 1}/{steps}, reward {total / (step + 1):.4f}", end="")
        with averaged(self.captioner):
            return {"reward": total / steps, CIDER: self.validate()}


def _packed(drawn: Sequence[Sequence[list[int]]], advantage: np.ndarray) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Samples as `Batch` has captions, and each word's advantage in float32 of the same shape."""
    tokens, wanted = pack([[np.array([START, *row], np.int32) for row in rows] for rows in drawn])
    spread = np.zeros(wanted.shape, np.float32)
    for place, (rows, values) in enumerate(zip(drawn, advantage, strict=True)):
        of_words = np.repeat(values, [len(row) for row in rows])
        spread[place, : len(of_words)] = of_words
    return tf.constant(tokens), tf.constant(wanted), tf.constant(spread)
