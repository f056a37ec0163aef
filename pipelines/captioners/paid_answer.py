"""What a service was paid for: answers as the journal keeps them, and their sums."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

VERSION = 1
"""The version of the journal's files."""


class PaidAnswer(NamedTuple):
    """One answer of a service.

    Attributes:
        key: of the question, see `question_key`.
        number: which answer to this question it is, from 0.
        id: of the row.
        texts: of its choices, at least one.
        finish_reasons: of each choice.
        scores: mean natural-log probability over the tokens of each choice; None where the service gives none.
        refusal: what the service says instead, if it refuses.
        tokens_in: of the request.
        tokens_out: of all choices.
        model: that the service says has answered.
    """

    key: str
    number: int
    id: str
    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    scores: tuple[float | None, ...]
    refusal: str | None
    tokens_in: int
    tokens_out: int
    model: str

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "PaidAnswer":
        """Reads an answer back.

        Raises:
            TypeError: if it is none.
        """
        lists = {name: tuple(fields[name]) for name in ("texts", "finish_reasons", "scores")}
        return cls(**{**fields, **lists})


def question_key(fingerprint: str, sha256: str, prompt_digest: str, attempts: int) -> str:
    """Names a question: two with the same key have the same answer.

    Args:
        fingerprint: of the job.
        sha256: of the image.
        prompt_digest: of the prompt with its fields filled in.
        attempts: runs that have failed at the image: another attempt is another question.
    """
    text = "\0".join((fingerprint, sha256, prompt_digest, str(attempts)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Totals(NamedTuple):
    """Sums over answers.

    Attributes:
        answers: that arrived.
        tokens_in: of their requests.
        tokens_out: of them.
        lost: requests whose answer never arrived because the process ended or the connection broke.
    """

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    lost: int = 0

    def plus(self, other: "Totals") -> "Totals":
        """The sum."""
        return Totals(*(one + another for one, another in zip(self, other, strict=True)))

    @property
    def with_lost(self) -> "Totals":
        """As if each lost answer had cost what those that arrived cost on average, rounded up."""
        if not self.answers:
            return self
        share = self.lost / self.answers
        return self._replace(
            tokens_in=self.tokens_in + -int(-self.tokens_in * share // 1),
            tokens_out=self.tokens_out + -int(-self.tokens_out * share // 1),
        )


class JournalFile(NamedTuple):
    """What a file of the journal holds.

    Attributes:
        answers: with their texts.
        ids: of all rows that something in it is about.
        totals: of what it holds, and of what was summed up before.
        similarities: of answers to questions that were asked a second time, 0 to 1.
        exhausted: runs that stopped for want of money → what they said.
    """

    answers: tuple[PaidAnswer, ...] = ()
    ids: frozenset[str] = frozenset()
    totals: Totals = Totals()
    similarities: tuple[float, ...] = ()
    exhausted: tuple[tuple[str, str], ...] = ()


def asked_line(key: str, number: int, id: str) -> str:
    """A request is about to be sent."""
    return _line({"asked": [key, number], "id": id})


def answered_line(answer: PaidAnswer) -> str:
    """Its answer arrived."""
    return _line({"answered": answer._asdict()})


def unpaid_line(key: str, number: int) -> str:
    """The service refused the request: nothing is to be paid for it."""
    return _line({"unpaid": [key, number]})


def lost_line() -> str:
    """An answer was lost on its way."""
    return _line({"lost": 1})


def similarity_line(similarity: float) -> str:
    """A question was asked a second time."""
    return _line({"similarity": similarity})


def exhausted_line(run_started: str, message: str) -> str:
    """A run stopped for want of money."""
    return _line({"exhausted": [run_started, message]})


def summed_lines(found: JournalFile) -> list[str]:
    """What is left of a file whose rows are committed."""
    lines = [_line({"summed": found.totals._asdict()})]
    lines += [similarity_line(one) for one in found.similarities]
    return lines + [exhausted_line(*one) for one in found.exhausted]


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def encode(lines: Iterable[str]) -> bytes:
    """The bytes of a file."""
    return "".join((_line({"schema_version": VERSION}), *lines)).encode()


def decode(data: bytes, name: str) -> JournalFile:
    """Reads a file of the journal.

    Raises:
        ValueError: if it is damaged or newer than this reader.
    """
    answers: list[PaidAnswer] = []
    open_requests: set[tuple[str, int]] = set()
    ids: set[str] = set()
    totals = Totals()
    similarities: list[float] = []
    exhausted: list[tuple[str, str]] = []
    try:
        # Answers may hold what `splitlines` takes for the end of a line.
        for line in data.decode().split("\n"):
            fields = json.loads(line) if line else {}
            if fields.get("schema_version", VERSION) > VERSION:
                raise ValueError("a newer Beamscribe wrote it: upgrade Beamscribe to read it")
            if "asked" in fields:
                open_requests.add((fields["asked"][0], fields["asked"][1]))
                ids.add(fields["id"])
            if "unpaid" in fields:
                open_requests.discard((fields["unpaid"][0], fields["unpaid"][1]))
            if "answered" in fields:
                answer = PaidAnswer.from_json(fields["answered"])
                answers.append(answer)
                ids.add(answer.id)
                open_requests.discard((answer.key, answer.number))
                totals = totals.plus(Totals(1, answer.tokens_in, answer.tokens_out))
            if "summed" in fields:
                totals = totals.plus(Totals(**fields["summed"]))
            if "lost" in fields:
                totals = totals.plus(Totals(lost=fields["lost"]))
            if "similarity" in fields:
                similarities.append(float(fields["similarity"]))
            if "exhausted" in fields:
                exhausted.append((fields["exhausted"][0], fields["exhausted"][1]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    totals = totals.plus(Totals(lost=len(open_requests)))
    return JournalFile(tuple(answers), frozenset(ids), totals, tuple(similarities), tuple(exhausted))
