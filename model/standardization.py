"""Brings the channels of a backbone's features to mean 0 and deviation 1, as seen in training."""

import keras
import numpy as np
import tensorflow as tf

RAREST = 0.1
"""A deviation counts as at least this share of the mean deviation: a channel that hardly fires is not blown up."""


class FeatureStandardization(keras.layers.Layer):
    """Subtracts each channel's mean and divides by its deviation.

    What all images share says nothing of any of them: without it, attention has to learn to look past it first.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the constants, which change nothing until `adapt`."""
        self.mean = self.add_weight(shape=input_shape[-1:], initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=input_shape[-1:], initializer="ones", trainable=False, name="deviation")

    def adapt(self, features: np.ndarray) -> None:
        """Measures mean and deviation.

        Args:
            features: (images, cells, channels).
        """
        values = np.asarray(features, np.float32).reshape(-1, features.shape[-1])
        deviation = values.std(axis=0)
        self.mean.assign(values.mean(axis=0))
        self.deviation.assign(np.maximum(deviation, max(RAREST * float(deviation.mean()), 1e-6)))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Standardises (batch, cells, channels)."""
        return (features - self.mean) / self.deviation
