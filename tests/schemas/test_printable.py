import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A man's café, 写真 😀 नमस्ते", "A man's café, 写真 😀 नमस्ते"),
        ("\x1b]0;title\x07\x1b[2Jgone", r"\x1b]0;title\x07\x1b[2Jgone"),
        ("\x9b31mred", r"\x9b31mred"),  # one letter begins a sequence in eight bits
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("one\r\ntwo\nthree\rfour\u2028five", r"one two three\rfour\u2028five"),
        ("lone \udcff", r"lone \udcff"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (7, "7"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_where_they_may_and_long_text_is_cut() -> None:
    assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert printable("abcdef", length=4) == "abc…"


@given(st.text(st.characters(codec=None)), st.booleans())
def test_no_control_is_left_and_everything_can_be_encoded(text: str, lines: bool) -> None:
    shown = printable(text, lines)
    shown.encode()
    assert not any(unicodedata.category(letter) == "Cc" and letter != "\n" for letter in shown)
    assert lines or "\n" not in shown
    assert printable(shown, lines) == shown
