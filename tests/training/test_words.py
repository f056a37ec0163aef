"""Captions as words, by script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas.evaluation import PTB, UNICODE
from beamscribe.training.scores import caption_scores
from beamscribe.training.words import rules_for, tokenize, unicode_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("빨간 공을 쫓는 개.", ["빨간", "공을", "쫓는", "개"]),
        ("一只红色的狗。", list("一只红色的狗")),
        ("赤いボールで遊ぶ犬", [*"赤い", *"ボールで遊ぶ犬"]),
        ("Ein Süßer Hund, 2 Bälle!", ["ein", "süsser", "hund", "2", "bälle"]),
        ("लाल गेंद", ["लाल", "गेंद"]),
        ("หมา", list("หมา")),
        ("狗and猫", ["狗", "and", "猫"]),
        ("", []),
        ("…!", []),
    ],
)
def test_words_of_scripts(text: str, words: list[str]) -> None:
    assert unicode_words(text) == words


def test_the_letters_choose_the_rules() -> None:
    assert rules_for(["Ein süßer Hund", "A dog"]) == PTB
    assert rules_for(["빨간 공", "a"]) == UNICODE
    assert rules_for(["123", ""]) == PTB


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=5))
def test_every_caption_keeps_its_place_and_tokenizing_again_changes_nothing(captions: list[str]) -> None:
    found = tokenize(captions, UNICODE)
    assert len(found) == len(captions)
    assert tokenize(found, UNICODE) == found


@pytest.mark.slow
@pytest.mark.nightly
def test_a_korean_caption_is_compared_word_by_word() -> None:
    references = {
        "1": ["빨간 공을 쫓는 개.", "개가 빨간 공을 쫓는다."],
        "2": ["파란 벽 앞의 고양이", "고양이가 앉아 있다"],
    }
    right = caption_scores({"1": "빨간 공을 쫓는 개!", "2": "파란 벽 앞의 고양이."}, references)
    assert right.values["bleu_4"] == pytest.approx(1.0)
    assert right.captions[0] == "빨간 공을 쫓는 개"
    assert right.values["cider"] > caption_scores({"1": "파란 벽", "2": "빨간 공"}, references).values["cider"] + 1
