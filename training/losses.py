"""Masked loss and accuracy: padding counts nothing."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.tokenizer import PAD, UNKNOWN


@keras.saving.register_keras_serializable("beamscribe")
class MaskedCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy over the tokens of a batch that are not padding.

    Args:
        label_smoothing: probability spread evenly over all tokens.
    """

    def __init__(self, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(reduction=None, **kwargs)  # pyright: ignore[reportArgumentType]
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss.

        Args:
            y_true: int (batch, length).
            y_pred: logits (batch, length, vocabulary).

        Returns:
            A scalar, in nats a token.
        """
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y_true, tf.int32), y_pred)
        if self.label_smoothing:
            # Cross-entropy with the even distribution: log of the sum of exponentials minus the mean logit.
            even = tf.reduce_logsumexp(y_pred, axis=-1) - tf.reduce_mean(y_pred, axis=-1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * even
        weights = tf.cast(y_true != PAD, losses.dtype)
        loss = tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)
        # Gradients of mirrored devices are added up; Keras does this itself for its own reductions alone.
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the loss again."""
        return {"label_smoothing": self.label_smoothing, "name": self.name}


class TokenLoss(keras.metrics.Mean):
    """Cross-entropy in nats, averaged over all tokens of an epoch (not over its batches)."""

    def __init__(self, name: str = "token_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    # As the means of Keras itself that compare predictions.
    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds the tokens of a batch."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y_true, tf.int32), y_pred)
        super().update_state(losses, tf.cast(y_true != PAD, tf.float32))


class TokenAccuracy(keras.metrics.Mean):
    """Share of tokens that are the most probable one."""

    def __init__(self, name: str = "token_accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    # As the means of Keras itself that compare predictions.
    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds the tokens of a batch."""
        right = tf.cast(tf.argmax(y_pred, axis=-1, output_type=tf.int32) == tf.cast(y_true, tf.int32), tf.float32)
        super().update_state(right, tf.cast(y_true != PAD, tf.float32))


def frequency_loss(training: np.ndarray, validation: np.ndarray, vocabulary_size: int) -> float:
    """Validation loss of predicting each token by its frequency in training: what a model that sees nothing reaches.

    Args:
        training: int (captions, length), with start tokens.
        validation: the same.
        vocabulary_size: number of tokens.

    Returns:
        Nats a token.
    """
    wanted = training[:, 1:]
    counts = np.bincount(wanted[wanted != PAD], minlength=vocabulary_size) + 1.0
    counts[[PAD, UNKNOWN]] = 1.0
    logs = np.log(counts / counts.sum())
    seen = validation[:, 1:]
    return float(-logs[seen[seen != PAD]].mean())
