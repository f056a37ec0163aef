"""Text to subword tokens and back, with tensorflow-text.

Normalisation (documented because it cannot be undone): NFKC, case folded (lower case, ß to ss), white space collapsed,
full stops and spaces at the end dropped. Words are then cut at white space and punctuation, and into subwords
(WordPiece; Song et al. 2021, Fast WordPiece Tokenization, arXiv:2012.15524). `sentence` makes good English of the
tokens again.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import bert_vocab_from_dataset

from beamscribe.model.freezing import compiled

PAD, UNKNOWN, START, END = 0, 1, 2, 3
RESERVED = ("[PAD]", "[UNK]", "[START]", "[END]")
"""The first four tokens of every vocabulary, in the order of the ids above."""

_NO_SPACE_BEFORE = re.compile(r"\s+([.,;:!?%)\]}])")
_NO_SPACE_AFTER = re.compile(r"([(\[{#$])\s+")
_JOINED = re.compile(r"\s*([-/])\s*")
_APOSTROPHE = re.compile(r"\s*'\s*(s|t|re|ve|ll|d|m|clock)\b")
_PLURAL_APOSTROPHE = re.compile(r"(?<=s)\s+'(?=\s)")
_QUOTED = re.compile(r'"\s*([^"]*?)\s*"')
_FULL_STOPS = r"[\s.]+$"
_WHITE_SPACE = r"[\pZ\s\v\x{85}]+"


def normalize(texts: tf.Tensor) -> tf.Tensor:
    """Normalised texts; traced.

    Args:
        texts: string (n,).

    Returns:
        string (n,).
    """
    folded = tf_text.case_fold_utf8(tf_text.normalize_utf8(texts, "NFKC"))
    texts = tf.strings.regex_replace(folded, _WHITE_SPACE, " ")
    return tf.strings.strip(tf.strings.regex_replace(texts, _FULL_STOPS, ""))


def learn_vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """Learns a subword vocabulary.

    Args:
        texts: training captions.
        size: tokens at most, reserved ones included; a small corpus gives fewer.

    Returns:
        The tokens, reserved ones first.

    Raises:
        ValueError: if there is no text to learn from.
    """
    normalized = [text for text in normalize(tf.constant(list(texts), tf.string)).numpy() if text]
    if not normalized:
        raise ValueError("there is no caption to learn a vocabulary from")
    vocabulary = bert_vocab_from_dataset(
        tf.data.Dataset.from_tensor_slices(normalized).batch(1000),
        vocab_size=size,
        reserved_tokens=list(RESERVED),
        bert_tokenizer_params={"lower_case": False},
        # A word that occurs once or twice teaches the captioner little; it is built from subwords.
        learn_params={"lower_thresh": 2},
    )
    # The learner searches a threshold and may end above the size: the last, rarest pieces go, letters stay.
    pieces = [token for token in vocabulary[len(RESERVED) :] if len(token.removeprefix("##")) > 1]
    dropped = set(pieces[len(pieces) - max(0, len(vocabulary) - size) :])
    return [token for token in vocabulary if token not in dropped]


def sentence(words: str) -> str:
    """Words as an English sentence: punctuation closed up, a capital first, a full stop last.

    Args:
        words: separated by spaces, as the tokenizer cuts them: `a man ' s t - shirt`.

    Returns:
        `A man's t-shirt.`; empty stays empty.
    """
    words = _JOINED.sub(r"\1", _APOSTROPHE.sub(r"'\1", words))
    words = _QUOTED.sub(r'"\1"', _PLURAL_APOSTROPHE.sub("'", words))
    words = _NO_SPACE_AFTER.sub(r"\1", _NO_SPACE_BEFORE.sub(r"\1", words)).strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


class Pieces(NamedTuple):
    """A caption's tokens and the words that they are of.

    Attributes:
        ids: of the tokens, neither start nor end among them.
        words: for each token the index of its word.
        texts: the words, as the caption writes them.
    """

    ids: list[int]
    words: list[int]
    texts: list[str]

    def cut(self, length: int) -> "Pieces":
        """The first tokens of them and the words that they are of."""
        words = self.words[:length]
        return Pieces(self.ids[:length], words, self.texts[: max(words, default=-1) + 1])


class Tokenizer:
    """Captions to token ids and back, rebuilt from the vocabulary alone.

    Args:
        vocabulary: tokens, the reserved ones first.

    Raises:
        ValueError: if the reserved tokens are not where they belong.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        if tuple(vocabulary[: len(RESERVED)]) != RESERVED:
            raise ValueError(f"a vocabulary begins with {', '.join(RESERVED)}")
        self.vocabulary = list(vocabulary)
        self._tokenizer = tf_text.FastWordpieceTokenizer(
            self.vocabulary,
            token_out_type=tf.int32,  # pyright: ignore[reportArgumentType]
            support_detokenization=True,
        )
        self._tokenize = compiled(
            lambda texts: self._tokenizer.tokenize(normalize(texts)),
            input_signature=[tf.TensorSpec((None,), tf.string)],
        )
        self._detokenize = compiled(
            self._words, input_signature=[tf.RaggedTensorSpec((None, None), tf.int32, ragged_rank=1)]
        )

    def _words(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return self._tokenizer.detokenize(tf.ragged.boolean_mask(tokens, tokens >= len(RESERVED)))  # pyright: ignore[reportOperatorIssue]

    def tokenize(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Token ids of captions, framed for training.

        Args:
            texts: raw captions.
            length: of a row; longer captions are cut before their end token.

        Returns:
            int32 (len(texts), length): start, tokens, end, padding.
        """
        if not texts:
            return np.zeros((0, length), np.int32)
        pieces = self._tokenize(tf.constant(list(texts), tf.string))[:, : length - 2]
        rows = np.full((len(texts), length), PAD, np.int32)
        rows[:, 0] = START
        for row, ids in zip(rows, pieces.to_list(), strict=True):
            row[1 : 1 + len(ids)] = ids
            row[1 + len(ids)] = END
        return rows

    def pieces(self, text: str) -> Pieces:
        """The tokens of one caption, and which of its words each belongs to."""
        normalized = normalize(tf.constant([text]))
        ids, starts, _ = self._tokenizer.tokenize_with_offsets(normalized)
        plain = normalized.numpy()[0]
        words = [plain.count(b" ", 0, start) for start in starts.to_list()[0]]
        shown, bare = text.split(), plain.decode().split(" ")
        # A full stop that stands alone is no word of the normalised text.
        return Pieces(ids.to_list()[0], words, shown if len(shown) == len(bare) else bare)

    def detokenize(self, tokens: np.ndarray) -> list[str]:
        """English sentences from token ids.

        Args:
            tokens: int32 (n, length); reserved tokens are left out.

        Returns:
            n sentences.
        """
        words = self._detokenize(tf.RaggedTensor.from_tensor(np.asarray(tokens, np.int32)))  # pyright: ignore[reportAttributeAccessIssue]
        return [sentence(text.decode().removeprefix("##")) for text in words.numpy()]
