"""Text that strangers wrote, made safe to print: nothing in it moves a cursor, hides a letter or begins a new line."""

import unicodedata

_KEPT = "\u200c\u200d"
"""Zero-width (non-)joiners, which Persian, Indic scripts and emoji need; they change no order and no line."""

_UNSAFE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Controls (escape sequences begin with one), format characters (which reverse the order of letters), lone surrogates
(which no stream can encode), and what has no assigned shape."""


def printable(text: object, lines: bool = False, length: int | None = None) -> str:
    r"""The text with everything that is no letter, mark, number, sign or space written as an escape such as `\x1b`.

    Args:
        text: of a bundle, a file name, an error message; what is no text is shown by `str`.
        lines: whether line feeds may stay; without it they become spaces.
        length: characters at most; what is cut off leaves `…`.
    """
    kept = f"{_KEPT}\n" if lines else _KEPT
    text = str(text).replace("\r\n", "\n")
    if not lines:
        text = text.replace("\n", " ")
    if length is not None and len(text) > length:
        text = text[: length - 1] + "…"
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _UNSAFE else _escaped(letter) for letter in text
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
