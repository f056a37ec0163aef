"""What libespeak-ng takes at a time, and texts in parts that it speaks whole.

It keeps a word in 160 bytes and 200 phoneme codes, a clause in 800 bytes, 300 words and 1,000 codes, and leaves out
what is more without an error (`src/libespeak-ng/{translate,synthesize}.h`: N_WORD_BYTES, N_WORD_PHONEMES, N_TR_SOURCE,
N_CLAUSE_WORDS, N_PHONEME_LIST): "dog" sixty times without a space, twenty letters W, thirty emoji, a Korean sentence of
130 syllables. Stress and pauses are codes too: of spelled letters 200 codes are 119 phonemes. The limits here stay well
below.
"""

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

from beamscribe.pipelines.speech.parts import halves

WORD_BYTES, WORD_PHONEMES = 100, 80
PART_BYTES, PART_WORDS, PART_PHONEMES = 400, 100, 450

_PLAIN_WORD = re.compile(r"[^\W\d_A-Z]*[aeiouyà-öø-ÿ][^\W\d_A-Z]*[.,;:!?]?")
_PLAIN_LETTERS = 16
_ENDS_A_SENTENCE = re.compile(r"[.!?…。！？।؟]$")  # noqa: RUF001
_ENDS_A_CLAUSE = re.compile(r"[,;:،、，；：]$")  # noqa: RUF001


class Part(NamedTuple):
    """What is spoken at a time.

    Attributes:
        text: to speak.
        phonemes: of its words, each by itself; 0 where nobody counted, since it is short.
    """

    text: str
    phonemes: int


def certainly_fits(text: str) -> bool:
    """Whether a text is far below all limits, told without espeak: nearly every caption is."""
    words = text.split()
    weights = [_most_phonemes(word) for word in words]
    return (
        len(text.encode()) <= PART_BYTES
        and len(words) <= PART_WORDS
        and sum(weights) <= PART_PHONEMES
        and max(weights, default=0) <= WORD_PHONEMES
    )


def _most_phonemes(word: str) -> int:
    """An upper bound: a word that may be spelled has up to nine a letter, a digit twelve, an emoji a whole phrase."""
    if len(word) <= _PLAIN_LETTERS and _PLAIN_WORD.fullmatch(word[0].lower() + word[1:]) and word[0] < "\u0250":
        return 2 * len(word)
    return sum(
        (9 if character < "\u0250" else 12) if character.isalpha() else 12 if character.isascii() else 60
        for character in word
    )


def fitting_parts(text: str, phonemes_of: Callable[[str], int]) -> list[Part]:
    """Cuts a text into parts that are spoken whole; words that are too long for one get spaces inside.

    Args:
        text: without control characters.
        phonemes_of: says how many phonemes a word has; of one that is too long it may say less, but more than
            `WORD_PHONEMES`.
    """
    parts: list[Part] = []
    pending: list[Part] = []
    for word in itertools.chain.from_iterable(_pieces(word, phonemes_of) for word in text.split()):
        if pending and not _fits([*pending, word]):
            end = _best_end(pending)
            parts.append(_joined(pending[:end]))
            pending = pending[end:]
        pending.append(word)
    return [*parts, _joined(pending)] if pending or not parts else parts


def _pieces(word: str, phonemes_of: Callable[[str], int]) -> list[Part]:
    """The word, or what remains of it in order when it is halved until each piece is short enough."""
    done: list[Part] = []
    waiting = [word]
    while waiting:
        piece = waiting.pop()
        # Longer ones are not asked about: the answer would be of their beginning.
        count = phonemes_of(piece) if len(piece.encode()) <= WORD_BYTES else WORD_PHONEMES + 1
        parted = halves(piece) if count > WORD_PHONEMES else None
        if parted:
            waiting += reversed(parted)
        else:
            done.append(Part(piece, count))
    return done


def _fits(words: list[Part]) -> bool:
    joined = _joined(words)
    return len(words) <= PART_WORDS and joined.phonemes <= PART_PHONEMES and len(joined.text.encode()) <= PART_BYTES


def _best_end(words: list[Part]) -> int:
    """Behind which word a part ends: one that ends a sentence, else a clause, in the second half; else the last."""
    for pattern in (_ENDS_A_SENTENCE, _ENDS_A_CLAUSE):
        for end in range(len(words), len(words) // 2, -1):
            if pattern.search(words[end - 1].text):
                return end
    return len(words)


def _joined(words: list[Part]) -> Part:
    return Part(" ".join(word.text for word in words), sum(word.phonemes for word in words))
