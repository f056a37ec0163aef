"""Nothing of a text is lost, however it is cut, in any script and for words of any length."""

import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.speech import open_engine
from beamscribe.pipelines.speech.clip import Style, make_clip
from beamscribe.pipelines.speech.engine import MOST_CHARACTERS, SpeechError, SpeechSettings
from beamscribe.pipelines.speech.espeak import EspeakEngine
from beamscribe.pipelines.speech.espeak_parts import PART_BYTES, WORD_BYTES, certainly_fits, fitting_parts
from beamscribe.pipelines.speech.parts import halves, parts_of, plain_text

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))

LETTERS = {
    "en": [
        "dog",
        "cat",
        "WWW",
        "zebra",
        "1234567",
        "https://a.bc/?q=1",
        "😀",
        "x",
        "ok",
        "👨\u200d👩\u200d👧",
        "don't",
    ],
    "ja": ["ちゃいろの", "いぬ", "茶色", "しまうま", "走って。", "ー"],
    "cmn": ["你好", "狗", "在", "草地", "上", "跑。"],
    "th": ["สวัสดี", "หมา", "เเ", "วิ่ง"],
    "ko": ["어제", "오후에", "강아지", "돌아왔습니다"],
    "hi": ["नमस्ते", "कुत्ता", "घास"],
    "ar": ["مرحبا", "كلب"],
    "de": ["Donaudampfschifffahrt", "Hund", "ÜBER"],
}
TEXTS = st.sampled_from(sorted(LETTERS)).flatmap(
    lambda lang: st.tuples(
        st.just(lang), st.lists(st.sampled_from(LETTERS[lang]), min_size=1, max_size=60), st.sampled_from(["", " "])
    )
)


def without_spaces(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=300), st.integers(4, 60))
def test_parts_together_are_the_text(text: str, most: int) -> None:
    def utf8(piece: str) -> int:
        return len(piece.encode(errors="surrogatepass"))

    for size in (len, utf8):
        parts = parts_of(text, most, size)
        assert without_spaces("".join(parts)) == without_spaces(text)
        assert all(0 < size(part) <= most for part in parts)


@settings(max_examples=EXAMPLES)
@given(st.text(min_size=2, max_size=50))
def test_halves_together_are_the_word(word: str) -> None:
    found = halves(word)
    assert found
    assert "".join(found) == word
    assert all(found)


def test_where_a_text_is_cut() -> None:
    assert parts_of("One dog. Two dogs, three dogs and more", 20) == ["One dog. Two dogs,", "three dogs and more"]
    assert parts_of("茶色の犬がいる。緑の草の上を走っている。", 12) == ["茶色の犬がいる。", "緑の草の上を走っている。"]
    assert parts_of("ni\u0308o" * 3, 5) == ["ni\u0308on", "i\u0308on", "i\u0308o"]
    assert halves("abcd1234") == ("abcd", "1234")
    assert halves("👨‍👩‍👧👨‍👩‍👧") == ("👨‍👩‍👧", "👨‍👩‍👧")
    assert halves("a") is None


@settings(max_examples=EXAMPLES)
@given(TEXTS)
def test_fitting_parts_lose_no_character(given_text: tuple[str, list[str], str]) -> None:
    _, words, between = given_text
    text = between.join(words)
    parts = fitting_parts(text, len)
    assert without_spaces("".join(part.text for part in parts)) == without_spaces(text)
    assert all(len(part.text.encode()) <= PART_BYTES for part in parts)
    assert all(len(word.encode()) <= WORD_BYTES for part in parts for word in part.text.split())


@settings(max_examples=max(10, EXAMPLES // 10), deadline=None)
@given(TEXTS)
def test_what_is_added_to_a_text_is_heard(given_text: tuple[str, list[str], str]) -> None:
    """At the highest speed; two texts that differ in their last word never last equally long."""
    lang, words, between = given_text
    engine = open_engine(SpeechSettings(lang=lang, words_per_minute=450))
    last = LETTERS[lang][0]
    alone = len(engine.synthesize(last).samples)
    text = between.join([last, *words])
    shorter, longer = (len(engine.synthesize(t).samples) for t in (text, text + between + last))
    assert longer - shorter > 0.3 * alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lang", "text", "more"),
    [
        ("en", "dog" * 60, "zebra"),
        ("en", "W" * 60, "W"),
        ("en", "1234567" * 20, "89"),
        ("en", "😀" * 60, "😀"),
        ("en", "https://example.org/" + "photo/" * 60, "zebra"),
        ("en", "日本語" * 60, "犬"),
        ("en", "a " * 400, "zebra"),
        ("en", "dog犬собака" * 40, "zebra"),
        ("ja", "ちゃいろのいぬがみどりのくさのうえをはしっている" * 5, "しまうま"),
        ("ko", "어제오후에우리가족은강가에있는" * 12, "돌아왔습니다"),
        ("ko", "어제 오후에 우리 가족은 강가에 있는 작은 공원으로 산책을 나가서 노란 " * 6, "돌아왔습니다"),
        ("th", "สวัสดีครับ" * 40, "หมา"),
        ("cmn", "你好吗" * 120, "狗"),
    ],
)
def test_the_end_is_spoken(lang: str, text: str, more: str) -> None:
    engine = open_engine(SpeechSettings(lang=lang, words_per_minute=350))
    shorter, longer = (len(engine.synthesize(t).samples) / 22050 for t in (text, text + more))
    assert longer - shorter > 0.08
    # The whole lasts as long as its pieces say: nothing in the middle is missing either.
    pieces = parts_of(text, 12)
    assert shorter > 0.45 * sum(len(engine.synthesize(piece).samples) / 22050 for piece in pieces)


def test_ordinary_captions_are_spoken_in_one_breath() -> None:
    engine = open_engine(SpeechSettings())
    assert isinstance(engine, EspeakEngine)
    for text in ("A man riding a wave on top of a surfboard.", "Two dogs, one of them brown, run 12 miles at 5:30!"):
        assert certainly_fits(text)
    assert [part.text for part in engine._parts("a brown dog runs over a field " * 6)] == [
        ("a brown dog runs over a field " * 6).strip()
    ]


@pytest.mark.parametrize("text", ["a dog " * 200_000, "x" * 1_000_000, "\0\x01<speak>" * 100_000])
def test_a_text_of_a_megabyte_is_refused_at_once(text: str) -> None:
    with pytest.raises(SpeechError, match="shorten the caption") as caught:
        make_clip(text, open_engine(SpeechSettings()), Style("wav"))
    assert caught.value.error_type == "TextTooLong"
    assert len(str(caught.value)) < 600


def test_a_text_of_too_many_minutes_is_refused() -> None:
    with pytest.raises(SpeechError, match="more than 600 s of speech") as caught:
        make_clip("7" * (MOST_CHARACTERS // 4), open_engine(SpeechSettings(words_per_minute=80)), Style("wav"))
    assert caught.value.error_type == "TextTooLong"


def test_control_characters_are_spaces() -> None:
    every = "".join(map(chr, range(0x11_0000)))
    assert not {"Cc", "Co", "Cs"} & {unicodedata.category(character) for character in plain_text(every)}
