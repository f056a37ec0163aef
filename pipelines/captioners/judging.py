"""Whether an answer of a service is a caption; what is none has a reason, the error type of its failure row."""

import functools
import re
import threading
from collections.abc import Callable
from typing import NamedTuple

from beamscribe.pipelines.captioners.prompts import ALT_TEXT, ALT_TEXT_CHARACTERS, Prompt

JUDGING_VERSION = "1"
"""Part of the fingerprint; raise it with any change that accepts or refuses other answers."""

EMPTY, CUT_OFF, REFUSAL, LOOP = "EmptyAnswer", "CutOff", "Refusal", "Loop"
PROMPT_REPEATED, WRONG_LANGUAGE, MARKUP, TOO_LONG = "PromptRepeated", "WrongLanguage", "Markup", "TooLong"
NOT_JSON, NOT_THE_SCHEMA = "NotJson", "NotTheSchema"


class Verdict(NamedTuple):
    """Why an answer is no caption.

    Attributes:
        reason: one word for a failure row.
        message: for people.
    """

    reason: str
    message: str


_REFUSAL = re.compile(
    r"^(?:i(?:['’]m| am) (?:really |very |so )?(?:sorry|afraid|unable|not able)|sorry,? (?:but )?i|"
    r"i (?:can(?:no|['’])t|won['’]t|am unable to|do not|don['’]t) "
    r"(?:assist|help|describe|provide|identify|comply|view|see|process|do that|fulfil|analy[sz]e|continue|feel)|"
    r"as an ai\b|i apologi[sz]e|unfortunately,? i|es tut mir leid|je suis désolé|lo siento|죄송|申し訳|抱歉|对不起)",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"```|</?[a-zA-Z][^<>]*>|\*\*[^*]+\*\*|^#{1,6} |^\s*(?:[-*•]|\d+\.) .*\n\s*(?:[-*•]|\d+\.) |!?\[[^\]]*\]\([^)]*\)|"
    r"<\||^\s*[{\[].*[}\]]\s*$",
    re.MULTILINE | re.DOTALL,
)
LOOP_WORDS, LOOP_TIMES = 12, 3
"""A run of up to so many words that comes so often without a pause is a loop."""
LOOP_CHARACTERS = 60
LANGUAGE_MARGIN = 10.0
"""Nats by which another language must be likelier: near languages in short sentences are closer than that."""
PROMPT_CHARACTERS = 20
"""A shorter prompt may well be part of a caption."""

_LOADING = threading.Lock()
"""Threads that ask at the same time would each load a language model of their own: sixteen took a minute."""


def judge(text: str, finish_reason: str, refusal: str | None, prompt: Prompt, asked: str) -> Verdict | None:
    """Why an answer in plain text is no caption; None if it is one.

    Args:
        text: of the answer.
        finish_reason: that the service gives.
        refusal: that the service marks as one.
        prompt: that was asked.
        asked: its text with fields filled in.
    """
    if unfinished := judge_end(text, finish_reason, refusal):
        return unfinished
    if _REFUSAL.match(text):
        return Verdict(REFUSAL, f"the model refuses: {_quoted(text)}")
    if _loops(text):
        return Verdict(LOOP, f"the answer repeats itself: {_quoted(text)}")
    if _repeats_prompt(text, asked):
        return Verdict(PROMPT_REPEATED, f"the answer repeats the prompt: {_quoted(text)}")
    if _MARKUP.search(text):
        return Verdict(MARKUP, f"the answer holds markup: {_quoted(text)}")
    if prompt.preset == ALT_TEXT and len(text) > ALT_TEXT_CHARACTERS:
        return Verdict(TOO_LONG, f"the answer has {len(text)} characters, more than {ALT_TEXT_CHARACTERS}")
    return judge_language(text, prompt.language)


def judge_end(text: str, finish_reason: str, refusal: str | None) -> Verdict | None:
    """Whether an answer came to its end, whatever it says."""
    if refusal or finish_reason == "content_filter":
        return Verdict(REFUSAL, f"the service refuses: {_quoted(refusal or text or finish_reason)}")
    if finish_reason == "length":
        return Verdict(CUT_OFF, "the answer was cut off at --max-tokens")
    if not any(map(str.isalnum, text)):
        return Verdict(EMPTY, "the answer holds no word")
    return None


def judge_language(text: str, language: str) -> Verdict | None:
    """Whether a text is surely of another language."""
    if not language:
        return None
    ranks = dict(language_ranks(text))
    best = max(ranks, key=lambda tag: ranks[tag])
    if best != language and ranks[best] - ranks.get(language, float("-inf")) > LANGUAGE_MARGIN:
        return Verdict(WRONG_LANGUAGE, f"the answer is {best}, not {language}: {_quoted(text)}")
    return None


def language_ranks(text: str) -> list[tuple[str, float]]:
    """Languages and their log-probabilities; the first call loads the model, which takes a second."""
    with _LOADING:
        rank = _language_model()
    return list(rank(text))


@functools.cache
def _language_model() -> Callable[[str], list[tuple[str, float]]]:
    import py3langid  # only where a language is asked for

    py3langid.rank("a")
    return py3langid.rank


def clean(text: str) -> str:
    """A caption as a row holds it: white space collapsed, quotation marks around all of it taken away."""
    text = " ".join(text.split())
    for begin, end in ('""', "''", "“”", "‘’", "«»", "「」"):
        if len(text) > 2 and text[0] == begin and text[-1] == end and begin not in text[1:-1] and end not in text[1:-1]:
            text = text[1:-1].strip()
    return text


def _loops(text: str) -> bool:
    words = text.lower().split()
    for length in range(1, LOOP_WORDS + 1):
        run = 0
        for place in range(len(words) - length):
            run = run + 1 if words[place] == words[place + length] else 0
            # Of one word more than three in a row: "very very very".
            if run >= length * LOOP_TIMES - (length if length > 2 else 0):
                return True
    # Languages without spaces.
    return re.search(rf"(.{{2,{LOOP_CHARACTERS}}}?)\1{{3,}}", text) is not None


def _repeats_prompt(text: str, asked: str) -> bool:
    plain, question = " ".join(text.lower().split()), " ".join(asked.lower().split())
    if len(question) < PROMPT_CHARACTERS:
        return False
    first = question.split(". ")[0]
    return (
        question in plain
        or (len(plain) >= PROMPT_CHARACTERS and plain in question)
        or (len(first) >= PROMPT_CHARACTERS and first in plain)
    )


def _quoted(text: str) -> str:
    return repr(text[:200])
