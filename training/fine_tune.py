"""An optional phase: the upper part of the backbone learns with the captioner that has converged on its features.

As im2txt did (Vinyals et al. 2016, arXiv:1609.06647). Batch normalisation keeps the statistics and scales that it came
with, since the batches are small.
"""

import difflib
import hashlib
import io
import os
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from model import weights
from model.backbone.engine import Backbone, dump_backbone
from model.backbone.spec import BACKBONES, ResolvedWeights, WeightsError
from model.captioner import Captioner
from schemas.command import RefusedError
from training.batches import Lessons, steps_an_epoch
from training.checkpoints import Checkpoints
from training.config import TrainingConfig
from training.cross_entropy import compile_model, evaluator, identity, learn
from training.dataset import FeatureSet
from training.material import Material, tokenize
from training.pixels import pixel_set

CAPTIONER, BACKBONE = "captioner", "backbone"


class TunedCaptioner(keras.Model):
    """Pixels to logits.

    Args:
        backbone: some of whose layers are trained.
        captioner: built.
    """

    def __init__(self, backbone: Backbone, captioner: Captioner) -> None:
        super().__init__()
        self.backbone = backbone.model
        self.captioner = captioner
        self._grid = backbone.grid

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Logits of all captions of an image.

        Args:
            inputs: pixels uint8 (batch, height, width, 3) and tokens int (batch, length).
            training: whether dropout applies.

        Returns:
            float32 (batch, length, vocabulary).
        """
        pixels, tokens = inputs
        grid = self._grid(pixels)
        cells = tf.reshape(grid, (tf.shape(grid)[0], -1, grid.shape[-1]))
        return self.captioner((cells, tokens), training=training)


class Tuned(NamedTuple):
    """What the phase gives.

    Attributes:
        captioner: its best weights, `.npz`.
        backbone: the backbone's, in a file of the work folder.
        metrics: measured with both as they are stored.
        history: of the epochs.
    """

    captioner: bytes
    backbone: ResolvedWeights
    metrics: dict[str, float]
    history: list[dict[str, float]]


class FineTuning(NamedTuple):
    """What the phase works on.

    Attributes:
        layer: name of the first layer of the backbone that learns.
        backbone: trainable from there on.
        lessons: on pixels.
    """

    layer: str
    backbone: Backbone
    lessons: Lessons


def prepare(
    material: Material, config: TrainingConfig, layer: str, images_root: str | None, storage_options: dict[str, Any]
) -> FineTuning:
    """Opens the backbone and looks for the images, before any training.

    Args:
        material: on features; its images are read again as pixels, each once.
        config: the recipe.
        layer: name of the first layer of the backbone that learns.
        images_root: where the images are now, if they have moved.
        storage_options: passed to fsspec.

    Raises:
        RefusedError: if the backbone or the first image cannot be had.
    """
    spec = BACKBONES[material.training.backbone]
    # Mirror images of the same ids would be the same pixels twice.
    _, first = np.unique(material.training.ids, return_index=True)
    training = material.training.select(np.sort(first))
    lessons = Lessons(
        pixel_set(training, spec, images_root, storage_options),
        tokenize(training, material.tokenizer, config.max_length),
        pixel_set(material.validation, spec, images_root, storage_options),
        material.validation_tokens,
    )
    backbone = _open_backbone(material.training, layer)
    lessons.training.inputs(np.arange(1))
    return FineTuning(layer, backbone, lessons)


def _open_backbone(features: FeatureSet, layer: str) -> Backbone:
    """The backbone that the features came from, trainable from a layer on."""
    try:
        backbone = Backbone(BACKBONES[features.backbone], ResolvedWeights(features.weights, features.weights_digest))
    except WeightsError as error:
        raise RefusedError(f"--fine-tune-from {layer}: {error}") from error
    names = [one.name for one in backbone.model.layers]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=5, cutoff=0.4) or names[-5:]
        raise RefusedError(f"--fine-tune-from {layer}: {features.backbone} has no such layer; near: {', '.join(near)}")
    backbone.model.trainable = True
    for place, one in enumerate(backbone.model.layers):
        one.trainable = place >= names.index(layer) and not isinstance(one, keras.layers.BatchNormalization)
    return backbone


def fit(
    material: Material, config: TrainingConfig, work: str, captioner: Captioner, start: bytes, asked: FineTuning
) -> Tuned:
    """Trains on; continues a killed run exactly.

    Args:
        material: what the first phase worked on.
        config: the recipe.
        work: folder for checkpoints and TensorBoard logs.
        captioner: built; its weights are replaced.
        start: its best weights of the first phase, `.npz`.
        asked: of `prepare`.

    Raises:
        RefusedError: if an image can no longer be read.
    """
    keras.utils.set_random_seed(config.seed)
    backbone, lessons = asked.backbone, asked.lessons
    weights.load(captioner, start)
    model = TunedCaptioner(backbone, captioner)

    def dump() -> bytes:
        buffer = io.BytesIO()
        arrays = {CAPTIONER: weights.to_npz(captioner), BACKBONE: dump_backbone(backbone)[1]}
        np.savez(buffer, **{name: np.frombuffer(data, np.uint8) for name, data in arrays.items()})  # type: ignore[arg-type]
        return buffer.getvalue()

    steps = steps_an_epoch(lessons.training, config.batch_size) * config.fine_tune_epochs
    compile_model(model, config, config.fine_tune_learning_rate, steps)
    rates = f"{config.fine_tune_epochs} epochs from {config.fine_tune_learning_rate}"
    parts = [identity(material, config), asked.layer, rates, hashlib.sha256(start).hexdigest()]
    checkpoints = Checkpoints(
        os.path.join(work, "fine_tune"), "-".join(parts), "val_token_loss", config.fine_tune_epochs, dump=dump
    )
    learn(model, lessons, config, config.fine_tune_epochs, [checkpoints], work)
    with np.load(io.BytesIO(checkpoints.best_weights()), allow_pickle=False) as stored:
        best, tuned = stored[CAPTIONER].tobytes(), stored[BACKBONE].tobytes()
    path = os.path.join(work, f"tuned-backbone{dump_backbone(backbone)[0]}")
    with open(path, "wb") as file:
        file.write(tuned)
    # Loaded back as captioning will load them, so that what is measured is what is stored.
    weights.load(captioner, best)
    stored_weights = ResolvedWeights(path, hashlib.sha256(tuned).hexdigest())
    loaded = TunedCaptioner(Backbone(backbone.spec, stored_weights), captioner)
    return Tuned(
        best,
        stored_weights,
        evaluator(lessons, config, len(material.tokenizer.vocabulary))(loaded),
        checkpoints.state["history"],
    )
