"""Draws captions at random from what the captioner believes; self-critical training learns from them."""

import tensorflow as tf

from beamscribe.model.captioner import Captioner
from beamscribe.model.decoder import growing_shapes
from beamscribe.model.tokenizer import END, PAD, START, UNKNOWN

_NEVER = -1e9


def sample(captioner: Captioner, features: tf.Tensor, samples: int, max_length: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws captions word by word; traced.

    Args:
        captioner: the model.
        features: (batch, cells, channels).
        samples: captions an image.
        max_length: tokens a caption has at most, with the end token; what did not end by then breaks off.
        seed: int (2,); the same seed draws the same captions.

    Returns:
        int32 (batch, samples, max_length): after the start token; end token, then padding.
    """
    image = captioner.encode(features, training=False)
    rows = tf.shape(image)[0] * samples
    first = captioner.start(image, samples)
    ids = tf.range(captioner.config.vocabulary_size)
    barred = tf.where((ids == PAD) | (ids == START) | (ids == UNKNOWN), _NEVER, 0.0)

    def draw(
        step: tf.Tensor, last: tf.Tensor, words: object, ended: tf.Tensor, drawn: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, object, tf.Tensor, tf.TensorArray]:
        logits, words = captioner.step(last, step, first._replace(words=words))
        logits += barred + tf.where((step == 0) & (ids == END), _NEVER, 0.0)
        # A seed of its own for each step: the state of a generator would have to be saved for an exact resume.
        token = tf.random.stateless_categorical(logits, 1, seed + tf.stack([0, step]), tf.int32)[:, 0]
        token = tf.where(ended, PAD, token)
        return step + 1, token, words, ended | (token == END), drawn.write(step, token)

    _, _, _, _, drawn = tf.while_loop(
        lambda step, last, words, ended, drawn: (step < max_length) & ~tf.reduce_all(ended),
        draw,
        (
            tf.constant(0),
            tf.fill((rows,), START),
            first.words,
            tf.zeros((rows,), tf.bool),
            tf.TensorArray(tf.int32, max_length, element_shape=(None,)),
        ),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None]),
            growing_shapes(first.words),
            tf.TensorShape([None]),
            tf.TensorShape(None),  # pyright: ignore[reportArgumentType]
        ),
    )
    # Steps that were not needed are zero, which is padding.
    tokens = tf.reshape(drawn.stack(), (max_length, rows))
    return tf.reshape(tf.transpose(tokens), (-1, samples, max_length))
