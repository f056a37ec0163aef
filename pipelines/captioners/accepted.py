"""Which of an answer's choices are captions."""

import json
from typing import Any, NamedTuple

from beamscribe.pipelines.captioners.judging import (
    NOT_JSON,
    NOT_THE_SCHEMA,
    Verdict,
    clean,
    judge,
    judge_end,
    judge_language,
)
from beamscribe.pipelines.captioners.paid_answer import PaidAnswer
from beamscribe.pipelines.captioners.prompts import Prompt
from beamscribe.pipelines.captioners.structured import StructuredAnswers


class Accepted(NamedTuple):
    """A choice that is a caption.

    Attributes:
        text: of the caption.
        score: mean natural-log probability over its tokens, if the service gives it.
        finish_reason: why it ended.
        structured: the answer, where a JSON Schema asks for one.
    """

    text: str
    score: float | None
    finish_reason: str
    structured: dict[str, Any] | None = None


def accepted(
    answer: PaidAnswer, prompt: Prompt, asked: str, structured: StructuredAnswers | None
) -> tuple[list[Accepted], Verdict]:
    """The captions among an answer's choices, and what is wrong with the last other one.

    Args:
        answer: of the service.
        prompt: that was asked.
        asked: its text with fields filled in.
        structured: reads answers of a JSON Schema; None for plain text.
    """
    found: list[Accepted] = []
    wrong = Verdict("NoCaption", "the answer has no choices")
    for text, finish_reason, score in zip(answer.texts, answer.finish_reasons, answer.scores, strict=True):
        if structured is None:
            caption = clean(text)
            # Markup is told by its lines.
            verdict = judge(text.strip(), finish_reason, answer.refusal, prompt, asked)
            one = Accepted(caption, score, finish_reason)
        else:
            verdict, one = _of_schema(text, finish_reason, score, answer.refusal, prompt, structured)
        if verdict is None:
            found.append(one)
        else:
            wrong = verdict
    return found, wrong


def _of_schema(
    text: str,
    finish_reason: str,
    score: float | None,
    refusal: str | None,
    prompt: Prompt,
    structured: StructuredAnswers,
) -> tuple[Verdict | None, Accepted]:
    one = Accepted(text, score, finish_reason)
    if verdict := judge_end(text, finish_reason, refusal):
        return verdict, one
    try:
        value = structured.read(text)
    except ValueError as error:
        reason = NOT_JSON if isinstance(error, json.JSONDecodeError) else NOT_THE_SCHEMA
        return Verdict(reason, f"{error}: {text[:200]!r}"), one
    one = one._replace(text=clean(structured.caption(value)), structured=value)
    return judge_language(one.text, prompt.language), one
