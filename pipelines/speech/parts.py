"""Texts in parts of a bounded size, cut where a listener expects it least to matter; no character is lost.

Engines take so many bytes, characters or phonemes at a time, and some leave out the rest in silence. Scripts without
spaces, long words and long numbers have no obvious place for a cut: then it lies between two characters that may part.
"""

import re
import unicodedata
from collections.abc import Callable

PARTS_VERSION = "1"
"""The version of how a text is cut into what engines are given at a time; it is part of the fingerprint, since cuts can
be heard."""

_SENTENCE_END = re.compile(r"[.!?…。！？．｡।॥؟።]+[\"'”’)\]»」』]*(?=\s|[^\x00-\x7f]|$)")  # noqa: RUF001
_CLAUSE_END = re.compile(r"[,;:،؛、，；：､]+(?=\s|[^\x00-\x7f]|$)|\s[-–—](?=\s)")  # noqa: RUF001
_SPACE = re.compile(r"\s")

_BEFORE_NOTHING = frozenset("เแโใไ")
"""Vowels that are written before the consonant that they follow (Thai)."""

_AFTER_SOMETHING = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮーｰ々ゝゞヽヾ")
"""Small kana and signs that belong to what stands before them."""

_ZERO_WIDTH_JOINER = "\u200d"


def plain_text(text: str) -> str:
    """Replaces by a space what an engine would obey, refuse or stop at instead of speaking it.

    For espeak a NUL ends a C string, \\x01 starts an embedded command ("\\x0150S" halves the speed, for all later texts
    too), private-use characters are its own escapes. A lone surrogate has no UTF-8, and services refuse control
    characters.
    """
    return "".join(" " if unicodedata.category(character) in ("Cc", "Co", "Cs") else character for character in text)


def parts_of(text: str, most: int, size: Callable[[str], int] = len) -> list[str]:
    """Cuts a text into parts of at most `most`, none of them empty.

    Cuts lie behind a sentence, else a clause, else a word, else between two characters that may part. Without white
    space the parts together are the text.

    Args:
        text: any text.
        most: of `size` of a part; at least what one character has.
        size: measures a text; the sum over its characters.
    """
    parts = []
    rest = text.strip()
    while rest:
        fitting = _fitting(rest, most, size)
        if fitting < len(rest):
            fitting = _cut(rest, fitting)
        parts.append(rest[:fitting].rstrip())
        rest = rest[fitting:].lstrip()
    return [part for part in parts if part]


def halves(word: str) -> tuple[str, str] | None:
    """Cuts a word near its middle: at punctuation or where the script changes, else where characters may part.

    None where it has one character.
    """
    if len(word) < 2:
        return None
    middle, reach = len(word) // 2, max(1, len(word) // 4)
    near = sorted(range(max(1, middle - reach), min(len(word), middle + reach + 1)), key=lambda at: abs(at - middle))
    for wanted in (_changes_kind, may_part):
        for place in near:
            if wanted(word, place) and may_part(word, place):
                return word[:place], word[place:]
    return word[:middle], word[middle:]


def may_part(text: str, place: int) -> bool:
    """Whether a text may be cut before the character at `place`: not inside what is read as one sign."""
    before, after = text[place - 1], text[place]
    if unicodedata.category(after).startswith("M") or _ZERO_WIDTH_JOINER in (before, after):
        return False
    if after in _AFTER_SOMETHING or before in _BEFORE_NOTHING:
        return False
    # Skin tones follow their emoji, and flags are pairs of letters.
    return not (
        "\U0001f3fb" <= after <= "\U0001f3ff" or ("\U0001f1e6" <= before <= "\U0001f1ff" and after >= "\U0001f1e6")
    )


def _fitting(text: str, most: int, size: Callable[[str], int]) -> int:
    """How many of the first characters fit, at least one."""
    used = 0
    for place, character in enumerate(text):
        used += size(character)
        if used > most:
            return max(1, place)
    return len(text)


def _cut(text: str, fitting: int) -> int:
    """The best place for a cut at or before `fitting`."""
    head = text[: fitting + 1]
    for pattern in (_SENTENCE_END, _CLAUSE_END, _SPACE):
        places = [found.end() for found in pattern.finditer(head) if fitting // 2 <= found.end() <= fitting]
        if places:
            return places[-1]
    if text[fitting].isspace():
        return fitting
    if any(character.isspace() for character in head[1:]):
        return max(found.start() for found in _SPACE.finditer(head))
    for place in range(fitting, max(0, fitting - 40), -1):
        if may_part(text, place):
            return place
    return fitting


def _changes_kind(text: str, place: int) -> bool:
    return _kind(text[place - 1]) != _kind(text[place])


def _kind(character: str) -> str:
    """Script of a letter (the first word of its name), or that it is none."""
    if not character.isalnum():
        return ""
    return "DIGIT" if character.isdigit() else unicodedata.name(character, "?").split(" ")[0].split("-")[0]
