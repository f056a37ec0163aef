"""What a captioner could have written instead of each word, and which parts of the image each word rests on.

Both ask only for the next token's probabilities, so they hold for every decoder, also for one that looks at no places.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from beamscribe.model.captioner import Captioner
from beamscribe.model.ensemble import Ensemble
from beamscribe.model.tokenizer import END, PAD, START, UNKNOWN, Pieces, Tokenizer

MOST = 3
"""Alternatives of a word."""

MOST_PIECES = 5
"""Of an alternative: a word that is longer is cut."""

HIDDEN_AROUND = 1
"""Cells on each side of the one that is hidden, which are hidden with it: one cell alone is seldom missed."""

SUFFIX = "##"
"""How tokens begin that go on with a word."""

END_OF_CAPTION = "(end)"


class Alternative(NamedTuple):
    """A word that could have been here.

    Attributes:
        word: as the vocabulary has it, in lower case; `END_OF_CAPTION` if the caption could have ended.
        probability: that the captioner gives it after the words before, 0 to 1.
    """

    word: str
    probability: float


class WordChoice(NamedTuple):
    """A word of a caption, and what else could have begun there.

    Attributes:
        word: as the caption writes it.
        probability: of its tokens, one after the other, 0 to 1.
        alternatives: the most probable others, the first the most probable.
    """

    word: str
    probability: float
    alternatives: tuple[Alternative, ...]


def word_choices(
    captioner: Captioner | Ensemble, tokenizer: Tokenizer, encoded: tf.Tensor, pieces: Pieces, most: int = MOST
) -> tuple[WordChoice, ...]:
    """Probability and alternatives of each word, each word after those that are before it in the caption.

    Args:
        captioner: what wrote, or could have written, the caption.
        tokenizer: its own.
        encoded: of one image, what `captioner.encode` gives, (1, cells, width).
        pieces: of the caption, no longer than the captioner can write.
        most: alternatives of a word.
    """
    logs = _log_probabilities(captioner, encoded, [[START, *pieces.ids]])[0]
    firsts = _first_pieces(pieces)
    suffixes = np.array([token.startswith(SUFFIX) for token in tokenizer.vocabulary])
    suffixes[[PAD, UNKNOWN, START]] = True
    begun: dict[int, list[int]] = {}
    for place in firsts:
        scores = np.where(suffixes, -np.inf, logs[place])
        scores[pieces.ids[place]] = -np.inf
        begun[place] = [int(token) for token in np.argsort(-scores)[:most] if np.isfinite(scores[token])]
    rows = [[START, *pieces.ids[:place], token] for place, tokens in begun.items() for token in tokens]
    words = iter(_completed(captioner, tokenizer, encoded, rows))
    found = []
    for place, tokens in begun.items():
        own = [logs[at, token] for at, token in enumerate(pieces.ids) if pieces.words[at] == pieces.words[place]]
        alternatives = tuple(Alternative(next(words), float(np.exp(logs[place, token]))) for token in tokens)
        found.append(WordChoice(pieces.texts[pieces.words[place]], float(np.exp(sum(own))), alternatives))
    return tuple(found)


def missed(captioner: Captioner | Ensemble, features: np.ndarray, pieces: Pieces) -> tuple[tuple[str, np.ndarray], ...]:
    """The words of a caption, each with a map of how much less probable it is where a part of the image is hidden.

    A cell and those around it are replaced by the mean of all others, so that nothing else changes (occlusion; Zeiler
    and Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901; of features here).

    Args:
        captioner: what wrote, or could have written, the caption.
        features: of one image, float (rows, columns, channels).
        pieces: of the caption, no longer than the captioner can write.

    Returns:
        For each word its text and float32 (rows, columns) that sums to 1; where nothing is missed, the same everywhere.
    """
    rows, columns, channels = features.shape
    hidden = np.repeat(features[None].astype(np.float32), rows * columns + 1, axis=0)
    for cell in range(rows * columns):
        row, column = divmod(cell, columns)
        part = np.zeros((rows, columns), bool)
        part[
            max(0, row - HIDDEN_AROUND) : row + HIDDEN_AROUND + 1,
            max(0, column - HIDDEN_AROUND) : column + HIDDEN_AROUND + 1,
        ] = True
        if not part.all():
            hidden[cell, part] = features[~part].astype(np.float32).mean(axis=0)
    encoded = captioner.encode(tf.constant(hidden.reshape(-1, rows * columns, channels).astype(features.dtype)))
    logs = _log_probabilities(captioner, encoded, [[START, *pieces.ids]] * (rows * columns + 1))
    of_tokens = np.stack([logs[:, place, token] for place, token in enumerate(pieces.ids)], axis=1)
    drops = np.maximum(0.0, of_tokens[-1] - of_tokens[:-1])
    found = []
    for place in _first_pieces(pieces):
        word = pieces.words[place]
        drop = drops[:, np.array(pieces.words) == word].sum(axis=1).reshape(rows, columns)
        total = drop.sum()
        even = np.full((rows, columns), 1 / (rows * columns))
        found.append((pieces.texts[word], (drop / total if total > 0 else even).astype(np.float32)))
    return tuple(found)


def _first_pieces(pieces: Pieces) -> list[int]:
    """The place of each word's first token."""
    return [at for at, word in enumerate(pieces.words) if not at or pieces.words[at - 1] != word]


def _log_probabilities(captioner: Captioner | Ensemble, encoded: tf.Tensor, rows: list[list[int]]) -> np.ndarray:
    """Natural logarithms of the next token's probability (rows, length, vocabulary); `rows` may differ in length."""
    tokens = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
    for row, found in zip(tokens, rows, strict=True):
        row[: len(found)] = found
    if encoded.shape[0] == 1 and len(rows) > 1:
        encoded = tf.repeat(encoded, len(rows), axis=0)
    return tf.nn.log_softmax(captioner.decode(tf.constant(tokens), encoded)[0]).numpy()


def _completed(
    captioner: Captioner | Ensemble, tokenizer: Tokenizer, encoded: tf.Tensor, begun: list[list[int]]
) -> list[str]:
    """The last word of each row, whose last token may only begin it: the most probable pieces go on with it."""
    rows = [list(row) for row in begun]
    starts = [len(row) - 1 for row in rows]
    open_rows = [number for number, row in enumerate(rows) if row[-1] != END]
    for _ in range(MOST_PIECES - 1):
        if not open_rows:
            break
        logs = _log_probabilities(captioner, encoded, [rows[number] for number in open_rows])
        following = [int(log[len(rows[number]) - 1].argmax()) for number, log in zip(open_rows, logs, strict=True)]
        goes_on = [
            (number, token)
            for number, token in zip(open_rows, following, strict=True)
            if tokenizer.vocabulary[token].startswith(SUFFIX)
        ]
        for number, token in goes_on:
            rows[number].append(token)
        open_rows = [number for number, _ in goes_on]
    return [
        END_OF_CAPTION
        if row[start] == END
        else "".join(tokenizer.vocabulary[token].removeprefix(SUFFIX) for token in row[start:])
        for row, start in zip(rows, starts, strict=True)
    ]
