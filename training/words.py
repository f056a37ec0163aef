"""Captions as words for the scores: the Penn Treebank rules for what is written in Latin letters, Unicode's elsewhere.

The PTB tokenizer of pycocoevalcap is made for English and keeps runs of other letters as they stand, punctuation among
them. For other scripts words are runs of letters, marks and digits, and where a script writes no spaces between words
(UAX #29 leaves these to dictionaries) each character counts as one, as is done for Chinese captions (COCO-CN, Li et al.
2019, arXiv:1805.08661).
"""

import unicodedata
from collections.abc import Iterable, Sequence

from beamscribe.schemas.evaluation import PTB, UNICODE
from beamscribe.training.java_scorers import ptb_tokenize

_WITHOUT_SPACES = ("CJK ", "HIRAGANA ", "KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ")
"""How the names of characters begin whose scripts write no spaces between words. Korean writes them."""


def rules_for(texts: Iterable[str]) -> str:
    """`ptb` if at least half of the letters are Latin, else `unicode`."""
    latin = others = 0
    for text in texts:
        for letter in filter(str.isalpha, text):
            if letter.isascii() or unicodedata.name(letter, "").startswith("LATIN "):
                latin += 1
            else:
                others += 1
    return UNICODE if others > latin else PTB


def tokenize(captions: Sequence[str], words: str) -> list[str]:
    """Captions in lower case as words with spaces between them, without punctuation; an empty one stays empty.

    Args:
        captions: raw texts.
        words: `ptb` or `unicode`.

    Raises:
        JavaError: if the PTB tokenizer fails.
    """
    return ptb_tokenize(captions) if words == PTB else [" ".join(unicode_words(caption)) for caption in captions]


def unicode_words(text: str) -> list[str]:
    """The words of a text, case folded, by the rules above."""
    words: list[str] = []
    run = ""
    for letter in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(letter)[0]
        alone = kind == "L" and unicodedata.name(letter, "").startswith(_WITHOUT_SPACES)
        if kind in "LMN" and not alone:
            run += letter
            continue
        if run:
            words.append(run)
        run = ""
        if alone:
            words.append(letter)
    return [*words, run] if run else words
