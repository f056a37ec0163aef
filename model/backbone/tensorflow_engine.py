"""Runs a backbone on TensorFlow."""

from typing import Any

import numpy as np
import tensorflow as tf

from beamscribe.model.backbone.choice import BFLOAT16
from beamscribe.model.backbone.network import Backbone
from beamscribe.model.backbone.spec import BackboneSpec, Engine, ResolvedWeights
from beamscribe.model.freezing import compiled, freeze
from beamscribe.schemas.feature_example import DTYPE


def grid_function(spec: BackboneSpec, weights: ResolvedWeights) -> Any:
    """The backbone as a function from uint8 pixels to float16 features, to be frozen.

    Raises:
        WeightsError: if the weights cannot be had or do not fit.
    """
    backbone = Backbone(spec, weights)
    height, width = spec.input_size
    return compiled(
        lambda pixels: tf.cast(backbone.grid(pixels), DTYPE),
        input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8, name="pixels")],
    )


def open_tensorflow(spec: BackboneSpec, weights: ResolvedWeights, precision: str) -> Engine:
    """Freezes a backbone.

    Args:
        spec: which backbone.
        weights: resolved by the launcher.
        precision: float32 or bfloat16.
    """
    frozen = freeze(grid_function(spec, weights), precision == BFLOAT16)

    def see(pixels: np.ndarray) -> np.ndarray:
        (grid,) = frozen(tf.constant(pixels))
        return grid.numpy()

    return see
