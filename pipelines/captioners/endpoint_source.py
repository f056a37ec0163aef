"""How a job's workers come by a captioner behind an endpoint, and what its answers have cost."""

from dataclasses import dataclass

from beamscribe.pipelines.captioners.canaries import DRIFT
from beamscribe.pipelines.captioners.endpoint import EndpointCaptioner
from beamscribe.pipelines.captioners.endpoint_task import EndpointTask
from beamscribe.pipelines.captioners.journal import Journal, read_account
from beamscribe.pipelines.captioners.paid_answer import Totals
from beamscribe.pipelines.captioners.source import Statement
from beamscribe.pipelines.services.lanes import Lanes
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.counted import counted
from beamscribe.storage.storage import Storage


@dataclass(frozen=True)
class EndpointSource:
    """How to ask an endpoint.

    Attributes:
        task: what is asked of it.
    """

    task: EndpointTask
    batch_size: int = 1

    @property
    def calls_at_once(self) -> int:
        """Threads that ask."""
        return self.task.concurrency

    def stage_artifacts(self, output: Storage) -> "EndpointSource":
        """The same: the key is in the environment of every worker."""
        return self

    def open(self, run: Run) -> "EndpointCaptioner":
        """Opens the client, and reads what was paid for before."""
        journal = Journal(run.output, run.started.isoformat())
        lanes = Lanes(run.output, run.started.strftime("%Y%m%dT%H%M%S%f"))
        return EndpointCaptioner(self.task, journal, lanes.count, run.fingerprint)

    def statement(self, output: Storage, run_started: str) -> Statement:
        """What the answers of an output have cost."""
        account = read_account(output)
        totals, money = account.totals, self.task.money
        lines = [
            f"{counted(totals.answers, 'answer')}: {totals.tokens_in:,} tokens in, {totals.tokens_out:,} tokens out"
        ]
        if money.known:
            lines[0] += f"; cost {money.cost(totals):.6f}"
        if totals.lost:
            most = totals.with_lost
            extra = f": some {money.cost(most) - money.cost(totals):.6f} more" if money.known else ""
            lines.append(
                f"{counted(totals.lost, 'more request')} may have been answered when process or connection ended{extra}"
            )
        warnings = []
        if account.similarities:
            mean = sum(account.similarities) / len(account.similarities)
            lines.append(f"{counted(len(account.similarities), 'canary', 'canaries')}: answers are {mean:.0%} alike")
            if mean < DRIFT:
                asked_twice = counted(
                    len(account.similarities),
                    "image that was asked for twice has",
                    "images that were asked for twice have",
                )
                warnings.append(
                    f"{asked_twice} answers that are {mean:.0%} alike, below {DRIFT:.0%}: the "
                    "service answers otherwise than when the run began"
                )
        return Statement(tuple(lines), account.exhausted.get(run_started, ""), tuple(warnings))

    def forecast(self, output: Storage, todo: int) -> list[str]:
        """What more images will cost, judged by all answers so far."""
        totals, money = read_account(output).totals, self.task.money
        if not totals.answers:
            return ["no answer so far: the cost cannot be told"]
        tokens_in, tokens_out = (round(sum_ / totals.answers * todo) for sum_ in (totals.tokens_in, totals.tokens_out))
        line = (
            f"{counted(todo, 'image')}: {tokens_in:,} tokens in, {tokens_out:,} tokens out, judged by "
            f"{counted(totals.answers, 'answer')}"
        )
        if not money.known:
            return [f"{line}; --price-in and --price-out tell the cost"]
        cost = money.cost(Totals(0, tokens_in, tokens_out))
        return [f"{line}; cost {cost:.4f} for them, {money.cost(totals) + cost:.4f} in all"]
