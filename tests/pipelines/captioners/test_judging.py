from concurrent.futures import ThreadPoolExecutor

import py3langid
import pytest

from beamscribe.pipelines.captioners import judging
from beamscribe.pipelines.captioners.judging import (
    CUT_OFF,
    EMPTY,
    LOOP,
    MARKUP,
    PROMPT_REPEATED,
    REFUSAL,
    TOO_LONG,
    WRONG_LANGUAGE,
    clean,
    judge,
)
from beamscribe.pipelines.captioners.prompts import PRESETS, Prompt

CAPTION = Prompt(PRESETS["caption"], "caption", language="en")


def reason(text: str, finish_reason: str = "stop", prompt: Prompt = CAPTION) -> str | None:
    verdict = judge(text, finish_reason, None, prompt, prompt.filled({}))
    return verdict and verdict.reason


@pytest.mark.parametrize(
    "text",
    [
        "A dog runs along the beach.",
        "Two people ride bicycles in a park, and a third one watches them from a bench.",
        "A sign that says NO PARKING stands next to a very, very old car.",
        "Row after row of houses, house after house, climb the hill.",
        "A man is sorry that his ice cream fell on the ground.",
        "A cat.",
        "A bowl holds apples, pears and bananas; 3 of them are red (and 2 < 3).",
        "A child says hello to a tiny dog in a red coat.",
    ],
)
def test_captions_are_accepted(text: str) -> None:
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EMPTY),
        (" …\n", EMPTY),
        ("I'm sorry, but I can't assist with that.", REFUSAL),
        ("I cannot describe people in images.", REFUSAL),
        ("As an AI language model, I do not see images.", REFUSAL),
        ("A dog a dog a dog a dog a dog a dog", LOOP),
        ("A man with a hat with a hat with a hat with a hat", LOOP),
        ("the the the the the", LOOP),
        ("**A dog** runs.", MARKUP),
        ("```\nA dog runs.\n```", MARKUP),
        ("<p>A dog runs.</p>", MARKUP),
        ("# Caption\nA dog runs.", MARKUP),
        ("- A dog\n- A cat", MARKUP),
        ('{"caption": "A dog runs."}', MARKUP),
        ("A dog runs.<|im_end|>", MARKUP),
        ("Describe this image in one plain sentence: a dog runs.", PROMPT_REPEATED),
        (PRESETS["caption"], PROMPT_REPEATED),
        (f"{PRESETS['caption']} A dog runs.", PROMPT_REPEATED),
        ("Ein brauner Hund läuft neben einem Fahrrad über den Strand.", WRONG_LANGUAGE),
        ("개가 해변을 따라 달린다.", WRONG_LANGUAGE),
    ],
)
def test_what_is_no_caption_has_a_reason(text: str, expected: str | None) -> None:
    assert reason(text) == expected


def test_the_service_says_how_an_answer_ended() -> None:
    assert reason("A dog runs along the", "length") == CUT_OFF
    assert reason("A dog runs.", "content_filter") == REFUSAL
    refused = judge("", "stop", "I will not.", CAPTION, "")
    assert refused is not None
    assert refused.reason == REFUSAL


def test_korean_is_asked_for_and_checked() -> None:
    korean = Prompt("Describe this image.", language="ko")
    assert korean.filled({}) == "Describe this image. Write in Korean."
    assert reason("개가 해변을 따라 달린다.", prompt=korean) is None
    assert reason("개가 개가 개가 개가 개가 개가", prompt=korean) == LOOP
    assert reason("A dog runs along the beach.", prompt=korean) == WRONG_LANGUAGE


def test_alternative_text_is_short() -> None:
    alt_text = Prompt(PRESETS["alt-text"], "alt-text", language="en")
    assert reason("A dog runs along the beach.", prompt=alt_text) is None
    assert reason(
        "A dog runs along the beach and looks at the waves that come in, " * 2 + "and out", prompt=alt_text
    ) in (
        TOO_LONG,
        LOOP,
    )
    long = (
        "A brown dog with a red collar runs along the wide beach while its owner, a tall woman in blue, throws a ball."
    )
    assert reason(long + " Far out a boat waits.", prompt=alt_text) == TOO_LONG


def test_fields_are_names_and_nothing_else() -> None:
    prompt = Prompt("Describe {title} of {{braces}}, by {author}.")
    assert prompt.field_names() == {"title", "author"}
    assert prompt.filled({"title": "{author}"}) == "Describe {author} of {braces}, by ."
    for text in ("{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{", "{}"):
        with pytest.raises(ValueError, match=r"."):
            Prompt(text).field_names()


def test_white_space_and_quotation_marks_around_a_caption_go() -> None:
    assert clean('  "A dog\n runs."  ') == "A dog runs."
    assert clean('"A" and "B"') == '"A" and "B"'
    assert clean("「犬が走る」") == "犬が走る"


def test_many_threads_load_one_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    load = py3langid.langid.LanguageIdentifier.from_model_file

    def counted(*arguments: object, **options: object) -> object:
        loaded.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(py3langid.langid.LanguageIdentifier, "from_model_file", counted)
    monkeypatch.setattr(py3langid.langid, "IDENTIFIER", None)
    judging._language_model.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(reason, ["A dog runs along the beach."] * 8))
    assert found == [None] * 8
    assert len(loaded) == 1
