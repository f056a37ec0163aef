"""How far a running job is, told from its committed shards: they are the truth on every runner."""

import contextlib
import datetime
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import rich.progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

from beamscribe.log_lines import tell
from beamscribe.pipelines.commits.liveness import Signs, in_hand
from beamscribe.pipelines.sources.slice_listing import StoredSlices
from beamscribe.pipelines.work.container import Container, noun_of
from beamscribe.schemas.counted import counted
from beamscribe.schemas.receipt import Receipt
from beamscribe.storage.storage import Storage

INTERVAL_SECONDS = 10.0
SECONDS_ON_A_TERMINAL = 1.0
"""Between two looks at a local output; elsewhere a look costs a listing, and somebody may pay for it."""

SHARE_OF_A_CORE = 0.01
"""That looking takes at most: the more there is to look at, the longer until the next time."""


@dataclass
class Progress:
    """Shows a bar on a terminal, and prints a line now and then where there is none.

    Attributes:
        output: the job's output.
        job: its name.
        started: the run's start.
        todo: ids that this run has to do.
        console: where to.
        rows: of this run, as of the last look.
        failures: failure rows of this run, as of the last look.
        known: names of receipts that are not of this run, so that they need not be read.
        alone: whether this process does nothing else: the work of other threads counts as that of looking too, such as
            those of a client of remote storage.
        containers: that this run goes through: until they are read to their end, nobody knows how many ids there are.
    """

    output: Storage
    job: str
    started: datetime.datetime
    todo: int
    console: Console = field(default_factory=lambda: Console(file=sys.stderr))
    rows: int = 0
    failures: int = 0
    known: Iterable[str] = ()
    alone: bool = False
    containers: Sequence[Container] = ()
    whole: int = 0

    def __post_init__(self) -> None:
        self._counted = set(self.known)
        self._bytes = 0
        self._wait_until_next_look(0.0)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            # As wide as the rest of the line.
            rich.progress.BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            rich.progress.TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            _Pace(self, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
        )
        # Without a total it moves, which says that somebody works though nothing is committed.
        self._task = self._bar.add_task(self.job, total=None, done=self._done())

    @property
    def interval_seconds(self) -> float | None:
        """How often to look at least; None: as often as a job looks at its output anyway."""
        return SECONDS_ON_A_TERMINAL if self.console.is_terminal and self.output.local else None

    def _wait_until_next_look(self, cost_seconds: float) -> None:
        interval = self.interval_seconds or INTERVAL_SECONDS
        self._next_look = time.monotonic() + max(interval, cost_seconds / SHARE_OF_A_CORE)

    @contextlib.contextmanager
    def look_if_due(self) -> Iterator[Signs | None]:
        """Looks at what is committed and shows it if it is time to; what is done in the body belongs to the look.

        Yields:
            What was seen; None if it is not yet time.

        Raises:
            OSError: if the output cannot be listed.
        """
        if time.monotonic() < self._next_look:
            yield None
            return
        clock = time.process_time if self.alone else time.thread_time
        begun = clock()
        try:
            signs = Signs.of(self.output)
            self.tell(signs)
            yield signs
        finally:
            self._wait_until_next_look(clock() - begun)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.console.is_terminal:
            # What was committed since the last look.
            with contextlib.suppress(OSError):
                self.tell()
        self._bar.stop()

    def tell(self, signs: Signs | None = None) -> None:
        """Shows what is committed.

        Args:
            signs: as they are now; looked for by default.

        Raises:
            OSError: if the output cannot be listed.
        """
        names = sorted((signs or Signs.of(self.output)).receipts - self._counted)
        self._counted.update(names)
        for receipt in self.output.prefetch(self._receipt, names):
            if receipt and receipt.run_started == self.started.isoformat():
                self.rows += len(receipt.rows.ids) if receipt.rows else 0
                self.failures += len(receipt.failures.ids) if receipt.failures else 0
        self._look_at_containers()
        if self.console.is_terminal:
            completed = self.rows + self.failures + in_hand(self.output.run)
            total = self.todo if completed and self.all_known else None
            self._bar.update(self._task, completed=completed, total=total, done=self._done())
        else:
            tell(
                sys.stderr,
                "progress",
                f"beamscribe {self.job}: {self.rows:,}{self._of_all()} done, {self.pace()}",
                job=self.job,
                done=self.rows,
                failed=self.failures,
                asked=self.todo if self.all_known else None,
                in_hand=in_hand(self.output.run),
                seconds=round((datetime.datetime.now(datetime.UTC) - self.started).total_seconds(), 1),
            )

    @property
    def all_known(self) -> bool:
        """Whether it is known how many ids there are."""
        return not self.containers

    def _look_at_containers(self) -> None:
        if not self.containers:
            return
        stored = StoredSlices(self.output)
        read = [one for one in self.containers if stored.is_whole(one)]
        self.whole, self._bytes = len(read), sum(one.size for one in read)

    def _of_all(self) -> str:
        return f" of {self.todo:,}" if self.all_known else ""

    def _done(self) -> str:
        done = self.rows + self.failures
        return f"{done:,}/{self.todo:,}" if self.all_known else f"{done:,}"

    def pace(self) -> str:
        """Failures so far, items a second and the time that is left."""
        now = datetime.datetime.now(datetime.UTC)
        done, seconds = self.rows + self.failures, (now - self.started).total_seconds()
        if not done:
            seen = in_hand(self.output.run)
            told = f"{seen:,} in hand" if seen else "nothing committed yet"
            return f"{self.failures:,} failed, {told}, {datetime.timedelta(seconds=round(seconds))}"
        if not self.all_known:
            size = sum(one.size for one in self.containers)
            archives = f"{self.whole:,} of {counted(len(self.containers), noun_of(self.containers))}"
            return (
                f"{self.failures:,} failed, {done / seconds:.1f} a second, {archives} "
                f"({self._bytes / 1e9:,.1f} of {size / 1e9:,.1f} GB) read to their end"
            )
        left = datetime.timedelta(seconds=round((self.todo - done) * seconds / done))
        return f"{self.failures:,} failed, {done / seconds:.1f} a second, {left} left"

    def _receipt(self, name: str) -> Receipt | None:
        try:
            return Receipt.from_json(self.output.read(name))
        except (ValueError, OSError):
            return None


class _Pace(rich.progress.ProgressColumn):
    """What stands beside the bar."""

    def __init__(self, progress: Progress, table_column: Column) -> None:
        super().__init__(table_column)
        self._progress = progress

    def render(self, task: rich.progress.Task) -> Text:
        """The text, made anew with each look at the clock."""
        return Text(self._progress.pace(), style="dim")
