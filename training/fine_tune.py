"""An optional phase: the upper part of the backbone learns with the captioner that has converged on its features.

As im2txt did (Vinyals et al. 2016, arXiv:1609.06647). The lower part learns nothing, so what it gives is computed once
an image and kept in a file: an epoch then costs little more than one on features. Batch normalisation keeps the
statistics and scales that it came with, since the batches are small.
"""

import hashlib
import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beamscribe.errors import RefusedError
from beamscribe.model import weights
from beamscribe.model.backbone.network import Backbone, SplitError, dump_backbone, split_backbone
from beamscribe.model.backbone.spec import BACKBONES, ResolvedWeights, WeightsError
from beamscribe.model.captioner import Captioner
from beamscribe.model.freezing import compiled
from beamscribe.schemas.feature_example import DTYPE
from beamscribe.storage import whole_files
from beamscribe.storage.location import UriError, named_uri
from beamscribe.training.batches import feature_lessons, steps_an_epoch
from beamscribe.training.checkpoints import Checkpoints
from beamscribe.training.config import TrainingConfig
from beamscribe.training.cross_entropy import compile_model, held_out_frequency_loss, identity, learn
from beamscribe.training.dataset import FeatureSet, computed
from beamscribe.training.material import Material
from beamscribe.training.pixels import PixelReader
from beamscribe.training.validation import CiderValidation, LogCider

CAPTIONER, BACKBONE = "captioner", "backbone"


class TunedCaptioner(keras.Model):
    """A captioner on what the lower part of a backbone gives; the upper part belongs to the model.

    Args:
        upper: the part of the backbone that learns.
        captioner: built.
    """

    def __init__(self, upper: keras.Model, captioner: Captioner) -> None:
        super().__init__()
        self.upper, self.captioner = upper, captioner
        self.config = captioner.config
        self.start, self.step = captioner.start, captioner.step
        self.reorder, self.select = captioner.reorder, captioner.select

    def encode(self, inner: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes images, see `Captioner.encode`."""
        return self.captioner.encode(_cells(self.upper, inner), training)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Logits of all captions of an image, see `Captioner.call`."""
        inner, tokens = inputs
        return self.captioner.decode(tokens, self.encode(inner, training), training)[0]


def _cells(upper: keras.Model, inner: tf.Tensor) -> tf.Tensor:
    """Features of the grid cells, float32 (batch, cells, channels), of what the lower part gave."""
    # Not training: batch normalisation keeps its statistics.
    grid = upper(tf.cast(inner, tf.float32), training=False)
    return tf.reshape(grid, (tf.shape(grid)[0], -1, grid.shape[-1]))


class FineTuning(NamedTuple):
    """What the phase works on.

    Attributes:
        layer: name of the first layer of the backbone that learns.
        backbone: trainable from there on.
        lower: pixels to what the upper part is given.
        upper: to the grid.
        training: reads the images to learn from.
        validation: reads those to stop by.
    """

    layer: str
    backbone: Backbone
    lower: Callable[[np.ndarray], tf.Tensor]
    upper: keras.Model
    training: PixelReader
    validation: PixelReader


class Tuned(NamedTuple):
    """What the phase gives.

    Attributes:
        captioner: its best weights, `.npz`.
        material: with the features that the tuned backbone gives, whose weights are a file of the work folder.
        best_epoch: whose weights these are.
        history: of the epochs.
    """

    captioner: bytes
    material: Material
    best_epoch: int
    history: list[dict[str, float]]


def prepare(material: Material, layer: str, images_root: str | None, storage_options: dict[str, Any]) -> FineTuning:
    """Opens the backbone and looks for the images, before any training.

    Args:
        material: on features; its images are read again as pixels.
        layer: name of the first layer of the backbone that learns.
        images_root: where the images are now, if they have moved.
        storage_options: passed to fsspec.

    Raises:
        RefusedError: if the backbone or the first image cannot be had.
    """
    features = material.training
    spec = BACKBONES[features.backbone]
    try:
        if "://" in features.weights:
            named_uri(features.weights, allow_http=False)
        backbone = Backbone(spec, ResolvedWeights(features.weights, features.weights_digest, storage_options))
        lower, upper = split_backbone(backbone, layer)
    except (WeightsError, SplitError, UriError) as error:
        raise RefusedError(f"--fine-tune-from {layer}: {error}") from error
    for one in upper.layers:
        one.trainable = not isinstance(one, keras.layers.BatchNormalization)
    readers = [PixelReader(images, spec, images_root, storage_options) for images in (features, material.validation)]
    readers[0](np.arange(1))
    return FineTuning(layer, backbone, lower, upper, *readers)


def fit(
    material: Material, config: TrainingConfig, work: str, captioner: Captioner, start: bytes, asked: FineTuning
) -> Tuned:
    """Trains on; continues a killed run exactly.

    Args:
        material: what the first phase worked on.
        config: the recipe.
        work: folder for checkpoints, TensorBoard logs and what is computed of the images.
        captioner: built; its weights are replaced.
        start: its best weights of the first phase, `.npz`.
        asked: of `prepare`.

    Raises:
        RefusedError: if an image can no longer be read.
    """
    keras.utils.set_random_seed(config.seed)
    backbone = asked.backbone
    weights.load(captioner, start)
    inner = _inner(material, config, work, asked)
    model = TunedCaptioner(asked.upper, captioner)

    def dump() -> bytes:
        buffer = io.BytesIO()
        arrays = {CAPTIONER: weights.to_npz(captioner), BACKBONE: dump_backbone(backbone)[1]}
        np.savez(buffer, **{name: np.frombuffer(data, np.uint8) for name, data in arrays.items()})  # type: ignore[arg-type]
        return buffer.getvalue()

    steps = steps_an_epoch(inner.plan, config.batch_size) * config.fine_tune_epochs
    compile_model(model, config, config.fine_tune_learning_rate, steps)
    rates = f"{config.fine_tune_epochs} epochs from {config.fine_tune_learning_rate}"
    parts = [identity(material, config), asked.layer, rates, hashlib.sha256(start).hexdigest()]
    folder = os.path.join(work, "fine_tune")
    epochs = config.fine_tune_epochs
    checkpoints = Checkpoints(folder, "-".join(parts), epochs, epochs, held_out_frequency_loss(material), dump)
    validation = LogCider(CiderValidation(inner, model, config.batch_size))
    learn(model, feature_lessons(inner), config, config.fine_tune_epochs, [validation, checkpoints], work)
    with np.load(io.BytesIO(checkpoints.best_weights()), allow_pickle=False) as stored:
        best, tuned = stored[CAPTIONER].tobytes(), stored[BACKBONE].tobytes()
    path = os.path.join(work, f"tuned-backbone{dump_backbone(backbone)[0]}")
    whole_files.replace(path, tuned)
    stored_weights = ResolvedWeights(path, hashlib.sha256(tuned).hexdigest())
    state = checkpoints.state
    retold = _retold(inner, config, work, stored_weights, asked)
    return Tuned(best, retold, state["best_epoch"], state["history"])


def _inner(material: Material, config: TrainingConfig, work: str, asked: FineTuning) -> Material:
    """The material with what the lower part of the backbone gives for features."""

    def of(features: FeatureSet, reader: PixelReader) -> FeatureSet:
        key = _key(features, asked.layer)
        path = os.path.join(work, "features", f"{key}.{DTYPE}")
        return computed(features, path, lambda images: asked.lower(reader(images)).numpy(), config.batch_size)

    return material._replace(
        training=of(material.training, asked.training), validation=of(material.validation, asked.validation)
    )


def _retold(inner: Material, config: TrainingConfig, work: str, tuned: ResolvedWeights, asked: FineTuning) -> Material:
    """The material with the features that the tuned backbone gives, loaded as captioning will load it."""
    _, upper = split_backbone(Backbone(asked.backbone.spec, tuned), asked.layer)
    cells = compiled(lambda inner: _cells(upper, inner))

    def of(features: FeatureSet) -> FeatureSet:
        path = os.path.join(work, "features", f"{_key(features, tuned.digest)}.{DTYPE}")
        found = computed(features, path, lambda images: cells(features.inputs(images)).numpy(), config.batch_size)
        return found._replace(weights=tuned.source, weights_digest=tuned.digest)

    return inner._replace(training=of(inner.training), validation=of(inner.validation))


def _key(features: FeatureSet, *more: str) -> str:
    """Names what is computed of these images."""
    parts = (features.ids, features.views.tolist(), features.backbone, features.weights_digest, more)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
