"""Text to tokens and back: tables, then any words and any corpus of a kind."""

import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.model.tokenizer import (
    END,
    PAD,
    RESERVED,
    START,
    UNKNOWN,
    Tokenizer,
    learn_vocabulary,
    normalize,
    sentence,
)

pytestmark = pytest.mark.slow

VOCABULARY = [*RESERVED, *"abc,'-", "##a", "##b", "##c", "ab", "##bc"]
CORPUS = ["A dog runs.", "A dog sits on a mat.", "Two dogs sit.", "A cat sits on the mat !"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(VOCABULARY)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("A dog.", "a dog"),
        ("  A\tbig \r\n dog . . ", "a big dog"),
        ("a dog!", "a dog!"),
        ("U.S. flag", "u.s. flag"),
        ("v1.5", "v1.5"),
        ("", ""),
        (" .. ", ""),
        ("ﬁne…", "fine"),  # a ligature and an ellipsis are letters and full stops to NFKC
        ("Ａ\u3000ｄｏｇ", "a dog"),  # full width
        ("a\u00a0dog", "a dog"),
        ("C\u0327A", "ça"),
        ("Straße ÉTÉ", "strasse été"),  # case folding, a little more than lower case
    ],
)
def test_normalize(raw: str, normal: str) -> None:
    assert normalize(tf.constant([raw, "other"])).numpy().tolist() == [normal.encode(), b"other"]


@pytest.mark.parametrize("space", ["\v", "\x85", "\u2028"])
def test_normalize_collapses_all_white_space(space: str) -> None:
    assert normalize(tf.constant([f"a{space} dog.{space}"])).numpy().tolist() == [b"a dog"]


@pytest.mark.parametrize(
    ("text", "texts", "words"),
    [
        ("Ab, a'b-c.", ["Ab,", "a'b-c."], [0, 0, 1, 1, 1, 1, 1]),
        ("A abc", ["A", "abc"], [0, 1, 1]),
        ("a .", ["a"], [0]),
        ("Ça  a", ["Ça", "a"], [0, 1]),
        ("", [""], []),
    ],
)
def test_pieces_know_their_word(tokenizer: Tokenizer, text: str, texts: list[str], words: list[int]) -> None:
    found = tokenizer.pieces(text)
    assert (found.texts, found.words) == (texts, words)
    framed = tokenizer.tokenize([text], 16)[0]
    assert found.ids == [token for token in framed[1:] if token not in (END, PAD)]


def test_pieces_can_be_cut(tokenizer: Tokenizer) -> None:
    assert tokenizer.pieces("ab a'b c").cut(3) == (tokenizer.pieces("ab a'b c").ids[:3], [0, 1, 1], ["ab", "a'b"])


@pytest.mark.parametrize(
    ("words", "english"),
    [
        ("", ""),
        ("  ", ""),
        ("a", "A."),
        ("a dog", "A dog."),
        ("a man ' s t - shirt", "A man's t-shirt."),
        ("they don ' t , we ' ve , i ' m , she ' ll", "They don't, we've, i'm, she'll."),
        ("he ' d , you ' re", "He'd, you're."),
        ("the dogs ' toys", "The dogs' toys."),
        ("five o ' clock", "Five o'clock."),
        ('a sign says " stop " twice', 'A sign says "stop" twice.'),
        ("two men ( one old ) ; a boy : tall", "Two men (one old); a boy: tall."),
        ("a man / woman", "A man/woman."),
        ("50 % off", "50% off."),
        ("player # 7 pays $ 5", "Player #7 pays $5."),
        ("is it ?", "Is it?"),
        ("wow !", "Wow!"),
        ("the end .", "The end."),
        ("élan", "Élan."),
        ("an NFL player", "An NFL player."),  # only the first letter is touched
    ],
)
def test_sentence(words: str, english: str) -> None:
    assert sentence(words) == english


def test_rows_by_hand(tokenizer: Tokenizer) -> None:
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    rows = tokenizer.tokenize(["Ab abc, x.", "", "cab"], 8)
    assert rows.dtype == np.int32
    assert rows.tolist() == [
        [START, ids["ab"], ids["ab"], ids["##c"], ids[","], UNKNOWN, END, PAD],
        [START, END, PAD, PAD, PAD, PAD, PAD, PAD],
        [START, ids["c"], ids["##a"], ids["##b"], END, PAD, PAD, PAD],
    ]


def test_the_longest_subword_wins() -> None:
    tokenizer = Tokenizer([*RESERVED, "a", "ab", "##b", "##bc", "##c", "##d", "##cd"])
    assert tokenizer.tokenize(["abcd"], 5).tolist() == [[START, 5, 10, END, PAD]]


@pytest.mark.parametrize("length", [3, 4, 5, 6])
def test_long_captions_are_cut_before_their_end_token(tokenizer: Tokenizer, length: int) -> None:
    a, b, c = (VOCABULARY.index(letter) for letter in "abc")
    row = tokenizer.tokenize(["a b c"], length)[0].tolist()
    assert row == ([START, *[a, b, c][: length - 2], END] + [PAD] * length)[:length]


def test_reserved_names_in_a_caption_are_plain_text(tokenizer: Tokenizer) -> None:
    row = tokenizer.tokenize(["[END] a [PAD] [START]"], 20)[0].tolist()
    assert row.count(END) == 1
    assert row.count(START) == 1
    assert PAD not in row[: row.index(END)]


def test_no_captions_no_rows(tokenizer: Tokenizer) -> None:
    assert tokenizer.tokenize([], 9).shape == (0, 9)
    assert tokenizer.detokenize(np.zeros((0, 9), np.int32)) == []


def test_detokenize_leaves_reserved_tokens_out(tokenizer: Tokenizer) -> None:
    a, dash, c = VOCABULARY.index("a"), VOCABULARY.index("-"), VOCABULARY.index("##c")
    rows = np.array([[START, a, c, dash, a, END, PAD], [a, UNKNOWN, a, END, PAD, PAD, PAD], [START, END] + 5 * [PAD]])
    assert tokenizer.detokenize(rows) == ["Ac-a.", "A a.", ""]


def test_no_joiner_in_a_sentence(tokenizer: Tokenizer) -> None:
    assert tokenizer.detokenize(np.array([[START, VOCABULARY.index("##bc"), END]])) == ["Bc."]


@pytest.mark.parametrize("vocabulary", [[], ["a"], [*RESERVED[1:], RESERVED[0], "a"], list(RESERVED[:3])])
def test_the_reserved_tokens_come_first(vocabulary: list[str]) -> None:
    with pytest.raises(ValueError, match=r"begins with \[PAD\], \[UNK\], \[START\], \[END\]"):
        Tokenizer(vocabulary)


@settings(deadline=None)
@given(st.lists(st.lists(st.text("abcABC", min_size=1, max_size=9), min_size=1, max_size=6), min_size=1, max_size=4))
def test_words_of_known_letters_come_back_normalised(tokenizer: Tokenizer, captions: list[list[str]]) -> None:
    texts = [" ".join(words) for words in captions]
    assert tokenizer.detokenize(tokenizer.tokenize(texts, 60)) == [sentence(text.lower()) for text in texts]


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), max_size=4), st.integers(3, 12))
def test_every_row_is_framed(tokenizer: Tokenizer, texts: list[str], length: int) -> None:
    rows = tokenizer.tokenize(texts, length)
    assert rows.shape == (len(texts), length)
    for row in rows.tolist():
        end = row.index(END)
        assert row[0] == START
        assert not {PAD, START} & set(row[1:end])
        assert row[end + 1 :] == [PAD] * (length - end - 1)


def test_learned_vocabulary() -> None:
    vocabulary = learn_vocabulary(CORPUS * 5, 100)
    assert tuple(vocabulary[:4]) == RESERVED
    assert len(vocabulary) == len(set(vocabulary)) <= 100
    assert {"dog", "sits", "mat", "!"} <= set(vocabulary)
    assert "." not in vocabulary  # dropped by the normalisation
    assert "A" not in vocabulary
    tokenizer = Tokenizer(vocabulary)
    rows = tokenizer.tokenize(CORPUS, 30)
    assert UNKNOWN not in rows
    assert tokenizer.detokenize(rows)[:2] == ["A dog runs.", "A dog sits on a mat."]


def test_every_letter_of_the_corpus_can_be_written() -> None:
    tokenizer = Tokenizer(learn_vocabulary(CORPUS, 100))
    words = ["godat", "nurs", "tamis"]
    assert tokenizer.detokenize(tokenizer.tokenize(words, 30)) == ["Godat.", "Nurs.", "Tamis."]


def test_the_order_of_the_corpus_does_not_matter() -> None:
    generator = random.Random(0)
    texts = [" ".join("".join(generator.choices("abcde", k=3)) for _ in range(4)) for _ in range(200)]
    shuffled = generator.sample(texts, len(texts))
    assert learn_vocabulary(texts, 90) == learn_vocabulary(shuffled, 90)


def test_size_is_an_upper_bound() -> None:
    # Sixty words of one frequency: a threshold takes them all or none.
    words = [f"{a}{b}{c}" for a in "abcde" for b in "fghi" for c in "jkl"]
    assert len(learn_vocabulary([" ".join(words)] * 5, 60)) <= 60


@pytest.mark.parametrize("texts", [[], [""], [" . ", "..."]])
def test_nothing_to_learn_from(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="no caption to learn a vocabulary from"):
        learn_vocabulary(texts, 100)
