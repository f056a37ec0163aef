"""Beam search over a whole batch with a key/value cache; greedy decoding is a beam of one."""

from typing import Any, NamedTuple

import tensorflow as tf

from beamscribe.model.captioner import Captioner
from beamscribe.model.decoder import Cache, growing_shapes
from beamscribe.model.tokenizer import END, PAD, START, UNKNOWN

_NEVER = -1e9
"""Log probability of what must not be chosen; finite, so that differences never give NaN."""

_PIECE = 64
"""Tokens of which only the best is looked at first."""

_SHARES = (2, 4, 0)
"""Images that are done leave when a half, and when a quarter of the batch is not; then the rest is searched."""


class Decoded(NamedTuple):
    """Captions of a batch, best first.

    Attributes:
        tokens: int32 (batch, beams, max_length + 1), after the start token; end token, then padding.
        scores: float32 (batch, beams), mean natural-log probability of the tokens with the end token.
    """

    tokens: tf.Tensor
    scores: tf.Tensor


class _Search(NamedTuple):
    """State of the search after `step` tokens, for the images that are in it.

    Attributes:
        step: scalar int.
        number: int (images,), their places in the batch; `()` where it is kept elsewhere.
        image: what the decoder keeps of them; likewise.
        tokens: int (images, beams, max_length + 2), unfinished captions from the start token on.
        sums: float (images, beams), their log probabilities.
        words: what the decoder keeps of the captions.
        done_tokens: like `tokens`, the best finished captions.
        done_scores: float (images, beams).
        done_count: int (images,), captions that ever finished.
    """

    step: tf.Tensor
    number: Any
    image: Any
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
    token may follow. Captions are never empty. An image's result does not depend on the others in the batch, and
    images that are done leave the search when half of them are: some image's last beam runs to the end nearly always.

    Args:
        captioner: the model.
        features: (batch, cells, channels).
        beams: width of the beam; 1 is greedy.
        max_length: tokens a caption has at most, without the end token.

    Returns:
        `beams` captions an image.
    """
    return search_encoded(captioner, captioner.encode(features, training=False), beams, max_length)


def search_encoded(captioner: Captioner, image: tf.Tensor, beams: int, max_length: int) -> Decoded:
    """`beam_search` of images that are encoded already (batch, cells, width)."""
    batch = tf.shape(image)[0]
    first = captioner.start(image, beams)
    blank = tf.fill((batch, beams, max_length + 2), PAD)
    state = _Search(
        tf.constant(0),
        tf.range(batch),
        first.image,
        _append(blank, tf.fill((batch, beams), START), tf.constant(0)),
        # All beams begin equal, so only the first may be extended.
        tf.tile(tf.constant([[0.0] + [_NEVER] * (beams - 1)]), tf.stack([batch, 1])),
        first.words,
        blank,
        tf.fill((batch, beams), _NEVER),
        tf.zeros((batch,), tf.int32),
    )
    left = tf.stack([batch // share if share else 0 for share in _SHARES])

    # A loop and not three searches one after the other, which would be three times as long to compile.
    def search_on(part: tf.Tensor, state: _Search, tokens: tf.Tensor, scores: tf.Tensor) -> tuple[Any, ...]:
        state = _search_until(captioner, state, beams, max_length, left[part])
        tokens = tf.tensor_scatter_nd_update(tokens, state.number[:, None], state.done_tokens)
        scores = tf.tensor_scatter_nd_update(scores, state.number[:, None], state.done_scores)
        return part + 1, _open_images(captioner, state, beams), tokens, scores

    done = (state.done_tokens, state.done_scores)
    fewer_images = tf.nest.map_structure(lambda kept: tf.TensorShape([None, *kept.shape[1:]]), first.image)
    _, _, tokens, scores = tf.while_loop(
        lambda part, *_: part < len(_SHARES),
        search_on,
        (0, state, *done),
        shape_invariants=(
            tf.TensorShape([]),
            growing_shapes(state)._replace(image=fewer_images),
            *(kept.shape for kept in done),
        ),
    )
    return Decoded(tokens[:, :, 1:], scores)


def _search_until(captioner: Captioner, state: _Search, beams: int, max_length: int, left: tf.Tensor) -> _Search:
    """Goes on until at most so many images are not done."""
    vocabulary = captioner.config.vocabulary_size
    wide = min(2 * beams, vocabulary)
    ids = tf.range(vocabulary)
    unwritable = (ids == PAD) | (ids == START) | (ids == UNKNOWN)
    image, number, batch = state.image, state.number, tf.shape(state.number)[0]

    def go_on(state: _Search) -> tf.Tensor:
        return (state.step <= max_length) & (tf.reduce_sum(tf.cast(state.done_count < beams, tf.int32)) > left)

    def extend(state: _Search) -> _Search:
        step = state.step
        last = tf.reshape(tf.gather(state.tokens, step, axis=2), (-1,))
        logits, words = captioner.step(last, step, Cache(image, state.words))
        barred = tf.where(step == 0, unwritable | (ids == END), unwritable | ((step == max_length) & (ids != END)))
        # The best of each beam first: of thousands of words a few are looked at, and no other is given a probability.
        best_logits, best_tokens = _best(logits + tf.where(barred, _NEVER, 0.0), wide)
        log_probabilities = best_logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        sums = state.sums[:, :, None] + tf.reshape(log_probabilities, (batch, beams, wide))
        best_sums, best = tf.math.top_k(tf.reshape(sums, (batch, beams * wide)), 2 * beams)
        origin = best // wide
        token = tf.gather(tf.reshape(best_tokens, (batch, beams * wide)), best, axis=1, batch_dims=1)
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
        return _Search(
            step + 1,
            (),
            (),
            tf.gather(extended, order, axis=1, batch_dims=1),
            sums,
            captioner.reorder(words, _rows(origin, beams)),
            done_tokens,
            done_scores,
            state.done_count + tf.reduce_sum(tf.cast(finished, tf.int32), axis=1),
        )

    # What no step changes stays outside the loop.
    changing = state._replace(number=(), image=())
    (end,) = tf.while_loop(
        go_on, lambda state: (extend(state),), (changing,), shape_invariants=(growing_shapes(changing),)
    )
    return end._replace(number=number, image=image)


def _open_images(captioner: Captioner, state: _Search, beams: int) -> _Search:
    """The search without the images that are done."""
    images = tf.where(state.done_count < beams)[:, 0]
    images = tf.cast(images, tf.int32)
    places = tf.tile(tf.range(beams)[None], tf.stack([tf.shape(images)[0], 1]))
    rows = tf.reshape(images[:, None] * beams + places, (-1,))

    def of(part: Any) -> Any:
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, images), part)

    return _Search(
        state.step,
        of(state.number),
        of(state.image),
        of(state.tokens),
        of(state.sums),
        captioner.select(state.words, images, rows),
        of(state.done_tokens),
        of(state.done_scores),
        of(state.done_count),
    )


def _rows(origin: tf.Tensor, beams: int) -> tf.Tensor:
    """Beams of each image (images, beams) as rows of all images together."""
    return tf.reshape(origin + tf.range(tf.shape(origin)[0])[:, None] * beams, (-1,))


def _best(values: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """As `tf.math.top_k` of (rows, n), four times as fast where n is in the thousands.

    The best `count` lie in the `count` pieces with the greatest maxima, so only these are sorted.
    """
    length = values.shape[1]
    assert length is not None
    pieces = -(-length // _PIECE)
    if pieces <= count:
        return tf.math.top_k(values, count)
    padded = tf.pad(values, ((0, 0), (0, pieces * _PIECE - length)), constant_values=values.dtype.min)
    cut = tf.reshape(padded, (-1, pieces, _PIECE))
    _, chosen = tf.math.top_k(tf.reduce_max(cut, axis=2), count)
    # In the order of the tokens: of equal ones the first wins, as in top_k.
    chosen = tf.sort(chosen, axis=1)
    candidates = tf.reshape(tf.gather(cut, chosen, axis=1, batch_dims=1), (-1, count * _PIECE))
    best, place = tf.math.top_k(candidates, count)
    piece = tf.gather(chosen, place // _PIECE, axis=1, batch_dims=1)
    return best, piece * _PIECE + place % _PIECE


def _append(tokens: tf.Tensor, token: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Writes (batch, n) tokens at one position of (batch, n, length)."""
    return tf.where(tf.range(tf.shape(tokens)[2]) == position, token[:, :, None], tokens)
