"""Beam search over a whole batch with a key/value cache; greedy decoding is a beam of one."""

from typing import Any, NamedTuple

import tensorflow as tf

from model.captioner import Captioner
from model.tokenizer import END, PAD, START, UNKNOWN

_NEVER = -1e9
"""Log probability of what must not be chosen; finite, so that differences never give NaN."""


class Decoded(NamedTuple):
    """Captions of a batch, best first.

    Attributes:
        tokens: int32 (batch, beams, max_length + 1), after the start token; end token, then padding.
        scores: float32 (batch, beams), mean natural-log probability of the tokens with the end token.
    """

    tokens: tf.Tensor
    scores: tf.Tensor


class _Search(NamedTuple):
    """State of the search after `step` tokens.

    Attributes:
        step: scalar int.
        tokens: int (batch, beams, max_length + 2), unfinished captions from the start token on.
        sums: float (batch, beams), their log probabilities.
        words: what the decoder keeps of them, a nest of tensors (batch × beams, …).
        done_tokens: like `tokens`, the best finished captions.
        done_scores: float (batch, beams).
        done_count: int (batch,), captions that ever finished.
    """

    step: tf.Tensor
    tokens: tf.Tensor
    sums: tf.Tensor
    words: Any
    done_tokens: tf.Tensor
    done_scores: tf.Tensor
    done_count: tf.Tensor


def beam_search(captioner: Captioner, features: tf.Tensor, beams: int, max_length: int) -> Decoded:
    """Searches captions; traced, so call it inside one `tf.function` a shape.

    Each step extends every unfinished caption by every token and looks at the best 2 × beams extensions: those that end
    and are among the best `beams` are finished, the best `beams` others go on. An image is done when `beams` captions
    have finished (the rule of fairseq's sequence generator, Ott et al. 2019); after `max_length` tokens only the end
    token may follow. Captions are never empty. An image's result does not depend on the others in the batch.

    Args:
        captioner: the model.
        features: (batch, cells, channels).
        beams: width of the beam; 1 is greedy.
        max_length: tokens a caption has at most, without the end token.

    Returns:
        `beams` captions an image.
    """
    image = captioner.encode(features, training=False)
    # Static where it is known: a batch of one would otherwise enter the loop with another shape than it leaves with.
    batch = tf.shape(image)[0] if image.shape[0] is None else image.shape[0]
    vocabulary = captioner.config.vocabulary_size
    first = captioner.start(image, beams, max_length + 1)
    ids = tf.range(vocabulary)
    writable = (ids != PAD) & (ids != START) & (ids != UNKNOWN)

    def go_on(state: _Search) -> tf.Tensor:
        return (state.step <= max_length) & tf.reduce_any(state.done_count < beams)

    def extend(state: _Search) -> _Search:
        step = state.step
        last = tf.reshape(tf.gather(state.tokens, step, axis=2), (-1,))
        logits, words = captioner.step(last, step, first._replace(words=state.words))
        allowed = tf.where(step == 0, writable & (ids != END), tf.where(step == max_length, ids == END, writable))
        log_probabilities = tf.where(allowed, tf.nn.log_softmax(logits), _NEVER)
        sums = state.sums[:, :, None] + tf.reshape(log_probabilities, (batch, beams, vocabulary))
        best_sums, best = tf.math.top_k(tf.reshape(sums, (batch, beams * vocabulary)), 2 * beams)
        origin, token = best // vocabulary, best % vocabulary
        extended = _append(tf.gather(state.tokens, origin, axis=1, batch_dims=1), token, step + 1)
        ended = token == END

        # What ends among the best is finished; finished images take no more.
        open_images = (state.done_count < beams)[:, None]
        finished = ended & (tf.range(2 * beams) < beams) & (best_sums > _NEVER / 2) & open_images
        scores = tf.where(finished, best_sums / tf.cast(step + 1, tf.float32), _NEVER)
        done_scores, order = tf.math.top_k(tf.concat([state.done_scores, scores], 1), beams)
        done_tokens = tf.gather(tf.concat([state.done_tokens, extended], 1), order, axis=1, batch_dims=1)

        # The best that did not end go on, each with what was kept of the beam it came from.
        sums, order = tf.math.top_k(tf.where(ended, _NEVER, best_sums), beams)
        origin = tf.gather(origin, order, axis=1, batch_dims=1)
        rows = tf.reshape(origin + tf.range(batch)[:, None] * beams, (-1,))
        return _Search(
            step + 1,
            tf.gather(extended, order, axis=1, batch_dims=1),
            sums,
            tf.nest.map_structure(lambda kept: tf.gather(kept, rows), words),
            done_tokens,
            done_scores,
            state.done_count + tf.reduce_sum(tf.cast(finished, tf.int32), axis=1),
        )

    blank = tf.fill((batch, beams, max_length + 2), PAD)
    start = _Search(
        tf.constant(0),
        _append(blank, tf.fill((batch, beams), START), tf.constant(0)),
        # All beams begin equal, so only the first may be extended.
        tf.tile(tf.constant([[0.0] + [_NEVER] * (beams - 1)]), (batch, 1)),
        first.words,
        blank,
        tf.fill((batch, beams), _NEVER),
        tf.zeros((batch,), tf.int32),
    )
    (end,) = tf.while_loop(go_on, lambda state: (extend(state),), (start,))
    return Decoded(end.done_tokens[:, :, 1:], end.done_scores)


def _append(tokens: tf.Tensor, token: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Writes (batch, n) tokens at one position of (batch, n, length)."""
    return tf.where(tf.range(tf.shape(tokens)[2]) == position, token[:, :, None], tokens)
