"""A service behind an endpoint as a captioner: what it has answered is paid for, and never asked again."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from beamscribe.model.captioner_interface import CaptionError, Encoded, ImageInput, Written
from beamscribe.pipelines.captioners.accepted import Accepted, accepted
from beamscribe.pipelines.captioners.canaries import Canaries, Canary, likeness
from beamscribe.pipelines.captioners.endpoint_client import Answer, EndpointClient, LostAnswerError
from beamscribe.pipelines.captioners.endpoint_task import EndpointTask, endpoint_fields
from beamscribe.pipelines.captioners.journal import Journal
from beamscribe.pipelines.captioners.judging import Verdict, clean, language_ranks
from beamscribe.pipelines.captioners.paid_answer import PaidAnswer, Totals, question_key
from beamscribe.pipelines.captioners.structured import StructuredAnswers
from beamscribe.pipelines.services.gate import Gate
from beamscribe.pipelines.services.rate_limiter import RateLimiter
from beamscribe.pipelines.services.retry_policy import Breaker, RetryPolicy, ServiceRefusesError
from beamscribe.pipelines.services.service_error import ServiceError
from beamscribe.pipelines.work.run import EndedEarlyError
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.caption_row import Alternative

TRIES = 2
"""Times that a question is asked whose answer is no caption."""

LOOK_SECONDS = 5.0
"""Between two looks at what other processes have spent."""


class EndpointCaptioner:
    """Asks an endpoint for captions; see `model.captioner_interface.Captioner`.

    Args:
        task: what is asked, and within which bounds.
        journal: of what is paid for.
        sharers: processes that share the budgets now.
        fingerprint: of the job.
        client: by default of the task's settings.
    """

    def __init__(
        self,
        task: EndpointTask,
        journal: Journal,
        sharers: Callable[[], int] = lambda: 1,
        fingerprint: str = "",
        client: EndpointClient | None = None,
    ) -> None:
        self.fingerprint_fields: Mapping[str, str | int | float | bool] = endpoint_fields(task)
        self.wants = Encoded(task.max_side)
        self.batch_size = 1
        self._task, self._journal, self._sharers, self._fingerprint = task, journal, sharers, fingerprint
        self._client = client or EndpointClient(task.settings)
        self._breaker = Breaker(service=task.settings.url, items="images")
        budget = task.requests_per_minute
        pace = RateLimiter(budget, sharers, sleep=self._breaker.sleep).wait if budget else _at_once
        self._retry = RetryPolicy(pace, self._breaker)
        self._gate = Gate(task.concurrency, sharers, self._breaker.check)
        schema = task.settings.json_schema
        self._structured = StructuredAnswers(schema) if schema is not None else None
        self._spending = threading.Lock()
        self._exhausted = ""
        self._last_look = time.monotonic()
        self._canaries = Canaries(task.canaries)
        if task.prompt.language:
            # Before the first request leaves: no answer that is paid for waits for it.
            language_ranks("a")

    def key(self, image: ImageInput) -> str:
        """Images of the same bytes with the same question have the same answer."""
        text = self._task.prompt.filled(image.fields)
        return question_key(self._fingerprint, image.sha256, self._task.prompt.digest(text), image.attempts)

    def begin(self, shard: Shard) -> None:
        """A shard is about to be done."""
        self._journal.begin(shard.name, (item.reference.id for item in shard.todo))

    def committed(self, shard: Shard) -> None:
        """Its rows are committed."""
        self._journal.committed(shard.name, (item.reference.id for item in shard.todo))

    def caption(self, images: Sequence[ImageInput]) -> Iterator[Written | Exception]:
        """Captions of images.

        Raises:
            EndedEarlyError: if the service refuses everything, or more would cost too much.
            OSError: if an answer cannot be stored.
        """
        for image in images:
            yield self._caption_one(image)

    def _caption_one(self, image: ImageInput) -> Written | CaptionError:
        prompt = self._task.prompt
        asked = prompt.filled(image.fields)
        key = self.key(image)
        answers: list[PaidAnswer] = []
        verdict = Verdict("NoCaption", "no answer")
        for number in range(TRIES):
            answer = self._journal.find(key, number)
            if answer is None:
                try:
                    answer = self._ask(image, asked, key, number)
                except ServiceError as error:
                    return CaptionError(error.error_type, error.message)
            answers.append(answer)
            good, verdict = accepted(answer, prompt, asked, self._structured)
            if good:
                written = self._written(answers, good, prompt.digest(asked))
                self._ask_again(image, asked, key, written)
                return written
        return CaptionError(verdict.reason, f"{verdict.message} (answer {len(answers)})")

    def _ask(self, image: ImageInput, asked: str, key: str, number: int) -> PaidAnswer:
        """Pays for an answer.

        Raises:
            ServiceError: if there is none for this image.
            EndedEarlyError: if there will be none for any.
        """
        # As long as nobody knows what an answer costs, one is asked for at a time.
        blind = self._task.money.max_cost is not None
        try:
            with self._gate.passing(lambda: 1 if blind and not self._journal.totals().answers else None):
                self._spend()
                try:
                    self._breaker.check()
                    answer = self._send(image, asked, key, number)
                except ServiceError as error:
                    self._journal.unpaid(key, number, image.id)
                    # What is wrong with one image says nothing of a service that has answered before.
                    if error.passing or error.everything or not self._journal.totals().answers:
                        self._breaker.refused(image.id, error)
                    raise
                except BaseException:
                    self._journal.unpaid(key, number, image.id)
                    raise
                self._breaker.succeeded()
                paid = PaidAnswer(key, number, image.id, **answer._asdict())
                self._journal.answered(paid)
                return paid
        except ServiceRefusesError as error:
            raise EndedEarlyError(str(error)) from None

    def _send(self, image: ImageInput, asked: str, key: str, number: int) -> Answer:
        noted = False

        def request() -> Answer:
            nonlocal noted
            if not noted:
                self._journal.asking(key, number, image.id)
                noted = True
            try:
                return self._client.ask(self._task.prompt.system, asked, image.encoded)
            except LostAnswerError:
                self._journal.lost(image.id)
                raise

        return self._retry(request)

    def _spend(self) -> None:
        """Reserves the price of an answer.

        Raises:
            EndedEarlyError: if there is not enough money for another one.
        """
        money = self._task.money
        with self._spending:
            if money.max_cost is not None and not self._exhausted:
                if time.monotonic() - self._last_look > LOOK_SECONDS and self._sharers() > 1:
                    self._journal.look()
                    self._last_look = time.monotonic()
                totals = self._journal.totals()
                # Requests under way count as lost until their answers are there.
                expected = money.cost(totals.plus(Totals(lost=1)).with_lost)
                if totals.answers and expected > money.max_cost:
                    self._exhausted = (
                        f"another answer would cost more than --max-cost {money.max_cost:g}: {money.cost(totals):.6f} "
                        "was spent when this was noticed"
                    )
                    self._journal.exhausted(self._exhausted)
            if self._exhausted:
                raise EndedEarlyError(self._exhausted)
            self._journal.reserve()

    def _written(self, answers: Sequence[PaidAnswer], good: Sequence[Accepted], digest: str) -> Written:
        if all(one.score is not None for one in good):
            good = sorted(good, key=lambda one: -(one.score or 0.0))
        return Written(
            tuple(Alternative(one.text, one.score) for one in good),
            model=answers[-1].model or self._task.settings.model,
            prompt_digest=digest,
            tokens_in=sum(answer.tokens_in for answer in answers),
            tokens_out=sum(answer.tokens_out for answer in answers),
            finish_reason=good[0].finish_reason,
            structured=good[0].structured,
        )

    def _ask_again(self, image: ImageInput, asked: str, key: str, written: Written) -> None:
        """Asks for an image a second time, now and then, to see whether the service still answers as before."""
        for canary in self._canaries.due(Canary(image, asked, key, written.alternatives[0].caption)):
            try:
                again = self._ask(canary.image, canary.asked, canary.key, TRIES + self._canaries.asked)
            except ServiceError:
                continue
            self._journal.similar(likeness(canary.caption, clean(again.texts[0])))


def _at_once() -> None:
    """No budget of requests."""
