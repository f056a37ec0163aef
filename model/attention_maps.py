"""Where a captioner looks: the weights of its attentions, as maps of an image's grid and of a caption's words.

They are read in one teacher-forced pass: the caption is given, and each position's weights are those with which the
captioner chose, or would have chosen, the next token.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.bundle import Bundle
from beamscribe.model.captioning import load_captioner
from beamscribe.model.tokenizer import PAD, START, Pieces, Tokenizer
from beamscribe.model.word_choices import WordChoice, missed, word_choices
from beamscribe.schemas.feature_example import DTYPE


class NoAttentionError(ValueError):
    """The bundle's decoder does not look at places of the image."""


class WordAttention(NamedTuple):
    """Where the captioner looked for one word.

    Attributes:
        word: as the caption writes it.
        weights: float32 (rows, columns), sums to 1.
    """

    word: str
    weights: np.ndarray


class SelfAttentions(NamedTuple):
    """What the parts of a captioner look at within themselves.

    Attributes:
        encoder: float32 (cells, cells), row by row where each cell looks; None of an encoder without attention.
        tokens: of the caption, its start token first.
        decoder: float32 (tokens, tokens), row by row where each token looks; None of a decoder without self-attention.
    """

    encoder: np.ndarray | None
    tokens: tuple[str, ...]
    decoder: np.ndarray | None


class AttentionMaps:
    """Opens a bundle to see where it looks; the backbone's features are given.

    Args:
        bundle: what to open.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._captioner = load_captioner(bundle)
        self._tokenizer = Tokenizer(bundle.vocabulary())
        self.grid: tuple[int, int] = (bundle.backbone.grid[0], bundle.backbone.grid[1])
        """Rows and columns of every map."""

    def of_words(self, features: np.ndarray, captions: Sequence[str]) -> list[tuple[WordAttention, ...]]:
        """The last cross-attention for each word, averaged over heads and over the word's subword tokens.

        Args:
            features: float (n, rows, columns, channels).
            captions: one an image. What is longer than the captioner can write is left out.

        Returns:
            The words of each caption.

        Raises:
            NoAttentionError: if the decoder has no cross-attention.
        """
        length = self._captioner.config.max_length - 1
        pieces = [self._tokenizer.pieces(caption).cut(length - 1) for caption in captions]
        tokens = np.full((len(captions), length), PAD, np.int32)
        tokens[:, 0] = START
        for row, found in zip(tokens, pieces, strict=True):
            row[1 : len(found.ids) + 1] = found.ids
        weights = self._captioner.decode(tf.constant(tokens), self._encode(features))[1]
        if weights is None:
            raise NoAttentionError(f"the decoder {self._captioner.config.decoder} does not look at places of the image")
        # Position t has read token t and looks for the token after it, which is piece t.
        looking = tf.reduce_mean(weights, axis=1).numpy().reshape(len(captions), length, *self.grid)
        return [_joined(maps, found) for maps, found in zip(looking, pieces, strict=True)]

    def choices(self, features: np.ndarray, caption: str) -> tuple[WordChoice, ...]:
        """Probability and alternatives of each word of a caption.

        Args:
            features: of one image, float (rows, columns, channels).
            caption: of it. What is longer than the captioner can write is left out.
        """
        return word_choices(self._captioner, self._tokenizer, self._encode(features[None]), self._pieces(caption))

    def missed(self, features: np.ndarray, caption: str) -> tuple[WordAttention, ...]:
        """What each word rests on, also of a decoder that looks at no places: where it is missed if it is hidden.

        Args:
            features: of one image, float (rows, columns, channels).
            caption: of it. What is longer than the captioner can write is left out.
        """
        found = missed(self._captioner, features.astype(DTYPE), self._pieces(caption))
        return tuple(WordAttention(word, weights) for word, weights in found)

    def _pieces(self, caption: str) -> Pieces:
        return self._tokenizer.pieces(caption).cut(self._captioner.config.max_length - 2)

    def within(self, features: np.ndarray, caption: str) -> SelfAttentions:
        """The last self-attention of encoder and decoder, averaged over heads.

        Args:
            features: of one image, float (rows, columns, channels).
            caption: of it.
        """
        ids = self._tokenizer.pieces(caption).ids[: self._captioner.config.max_length - 2]
        encoder, decoder = self._captioner.encoder, self._captioner.decoder
        of_encoder = getattr(encoder, "attentions", [])[-1:]
        of_decoder = [block.self_attention for block in getattr(decoder, "blocks", [])[-1:]]
        with _recorded(of_encoder) as seen_by_cells, _recorded(of_decoder) as seen_by_tokens:
            self._captioner.decode(tf.constant([[START, *ids]], tf.int32), self._encode(features[None]))
        return SelfAttentions(
            seen_by_cells[0] if seen_by_cells else None,
            tuple(self._tokenizer.vocabulary[token] for token in (START, *ids)),
            seen_by_tokens[0] if seen_by_tokens else None,
        )

    def _encode(self, features: np.ndarray) -> tf.Tensor:
        rows, columns = self.grid
        # Rounded as stored features are, so that the captioner sees what it saw when it wrote the caption.
        cells = features.reshape(-1, rows * columns, features.shape[-1]).astype(DTYPE)
        return self._captioner.encode(tf.constant(cells))


def _joined(maps: np.ndarray, pieces: Pieces) -> tuple[WordAttention, ...]:
    """Maps of tokens (tokens, rows, columns) as maps of words."""
    words = np.array(pieces.words)
    return tuple(
        WordAttention(text, maps[: len(words)][words == index].mean(axis=0))
        for index, text in enumerate(pieces.texts)
        if (words == index).any()
    )


@contextlib.contextmanager
def _recorded(attentions: Sequence[keras.layers.Layer]) -> Iterator[list[np.ndarray]]:
    """Collects the weights of attentions while they run, (queries, length) of the first image, averaged over heads.

    A layer's output is the mix of values alone; asking for more at every step of training would cost memory.
    """
    found: list[np.ndarray] = []
    for attention in attentions:
        attention.attend = functools.partial(_attend_and_note, attention.attend, found)
    try:
        yield found
    finally:
        for attention in attentions:
            del attention.attend


def _attend_and_note(
    attend: Callable[..., tuple[tf.Tensor, tf.Tensor]], notes: list[np.ndarray], *args: Any, **kwargs: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    mixed, weights = attend(*args, **kwargs)
    notes.append(tf.reduce_mean(weights[0], axis=0).numpy())
    return mixed, weights
