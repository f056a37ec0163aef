"""The journal of paid answers, `_beamscribe/answers/`: an answer is durable before the next request of its slot leaves.

Each process writes files of its own, one for each shard that it has in hand. A file is written as a whole each time,
with all that has come since (so that it is one atomic replacement on a disk and one put on an object store), and
threads that have something to write at the same time share one writing. When the rows of a shard are committed, its
file keeps only sums: what an output has cost is told from the journal alone, whatever was killed, retried or replaced.
"""

import dataclasses
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from beamscribe.pipelines.captioners.paid_answer import (
    JournalFile,
    PaidAnswer,
    Totals,
    answered_line,
    asked_line,
    decode,
    encode,
    exhausted_line,
    lost_line,
    similarity_line,
    summed_lines,
    unpaid_line,
)
from beamscribe.schemas import manifest
from beamscribe.storage.storage import Entry, Storage

FOLDER = f"{manifest.FOLDER}/answers"

LINES_A_FILE = 1024
"""A file is written again for each answer: with 256 images a shard that is some 50 KB on average."""

LOOSE = "loose"
"""Stands for a shard's name in the file of what belongs to none."""


@dataclass
class _Part:
    """A file of this process."""

    name: str
    lines: list[str] = field(default_factory=list)
    durable: int = 0
    writing: bool = False
    full: bool = False


class Journal:
    """This process's part of the journal, and what earlier ones left.

    Args:
        output: of the job; None keeps everything in memory alone.
        run_started: of the run, ISO 8601.
    """

    def __init__(self, output: Storage | None, run_started: str) -> None:
        # What is paid for is written down even for a run that was stopped.
        self._output = dataclasses.replace(output, run="") if output else None
        self._run_started = run_started
        self._process = uuid.uuid4().hex[:12]
        self._changed = threading.Condition()
        self._parts: dict[str, list[_Part]] = {}
        self._shard_of: dict[str, str] = {}
        self._answers: dict[tuple[str, int], PaidAnswer] = {}
        self._others: dict[str, tuple[int, JournalFile]] = {}
        self._mine = Totals()
        self._files = 0
        self.look()

    def begin(self, shard: str, ids: Iterable[str]) -> None:
        """Files of a shard that other processes have written meanwhile are read, and its ids are known."""
        files = self._output.files(FOLDER) if self._output else []
        self._read(entry for entry in files if entry.name.startswith(f"{FOLDER}/{shard}."))
        with self._changed:
            self._shard_of.update(dict.fromkeys(ids, shard))

    def find(self, key: str, number: int) -> PaidAnswer | None:
        """An answer that was paid for, if there is one."""
        return self._answers.get((key, number))

    def reserve(self) -> None:
        """A request will be sent: from now on it counts as one whose answer may be lost."""
        with self._changed:
            self._mine = self._mine.plus(Totals(lost=1))

    def asking(self, key: str, number: int, id: str) -> None:
        """A request is about to be sent: durable when this returns, so that an answer which never arrives is counted.

        Raises:
            OSError: if it cannot be written.
        """
        self._append(self._shard_of.get(id, LOOSE), asked_line(key, number, id))

    def answered(self, answer: PaidAnswer) -> None:
        """An answer arrived: durable when this returns.

        Raises:
            OSError: if it cannot be written.
        """
        with self._changed:
            self._answers[answer.key, answer.number] = answer
            self._mine = self._mine.plus(Totals(1, answer.tokens_in, answer.tokens_out, -1))
        self._append(self._shard_of.get(answer.id, LOOSE), answered_line(answer))

    def unpaid(self, key: str, number: int, id: str) -> None:
        """No answer came, and nothing is to be paid; not durable at once, since a line too few only counts too much."""
        with self._changed:
            self._mine = self._mine.plus(Totals(lost=-1))
            self._part(self._shard_of.get(id, LOOSE)).lines.append(unpaid_line(key, number))

    def lost(self, id: str) -> None:
        """An answer was on its way, and will have to be paid, when its connection broke."""
        with self._changed:
            self._mine = self._mine.plus(Totals(lost=1))
            self._part(self._shard_of.get(id, LOOSE)).lines.append(lost_line())

    def similar(self, similarity: float) -> None:
        """A question was asked a second time."""
        self._append(LOOSE, similarity_line(similarity))

    def exhausted(self, message: str) -> None:
        """This run stops for want of money."""
        self._append(LOOSE, exhausted_line(self._run_started, message))

    def totals(self) -> Totals:
        """What the output has cost, as far as this process knows."""
        with self._changed:
            found = self._mine
            for _, other in self._others.values():
                found = found.plus(other.totals)
        return found

    def look(self) -> None:
        """Reads what other processes have spent meanwhile."""
        if self._output:
            self._read(self._output.files(FOLDER))

    def committed(self, shard: str, ids: Iterable[str]) -> None:
        """Rows are committed: files that hold nothing else keep only sums.

        Raises:
            OSError: if one cannot be written.
        """
        done = frozenset(ids)
        with self._changed:
            parts = self._parts.pop(shard, [])
            for id in done:
                self._shard_of.pop(id, None)
        for part in parts:
            found = decode(encode(part.lines), part.name)
            self._sum_up(part.name, found, done, mine=True)
        for name, (_, found) in list(self._others.items()):
            if name.startswith(f"{FOLDER}/{shard}.") and found.ids:
                self._sum_up(name, found, done, mine=False)

    def _sum_up(self, name: str, found: JournalFile, done: frozenset[str], mine: bool) -> None:
        if self._output is None or not found.ids <= done:
            # Of a run over more images: the other answers may still be wanted.
            return
        data = encode(summed_lines(found))
        self._output.write(name, data)
        with self._changed:
            for answer in found.answers:
                self._answers.pop((answer.key, answer.number), None)
            if not mine:
                self._others[name] = (len(data), decode(data, name))

    def _part(self, shard: str) -> _Part:
        parts = self._parts.setdefault(shard, [])
        if not parts or (len(parts[-1].lines) >= LINES_A_FILE and shard != LOOSE):
            self._files += 1
            parts.append(_Part(f"{FOLDER}/{shard}.{self._process}.{self._files:05d}.jsonl"))
        return parts[-1]

    def _append(self, shard: str, line: str) -> None:
        """Adds a line; one thread writes for all that wait."""
        output = self._output
        if output is None:
            return
        with self._changed:
            part = self._part(shard)
            part.lines.append(line)
            mine = len(part.lines)
            while part.durable < mine:
                if part.writing:
                    self._changed.wait()
                    continue
                part.writing = True
                lines = list(part.lines)
                self._changed.release()
                written = False
                try:
                    output.write(part.name, encode(lines))
                    written = True
                finally:
                    self._changed.acquire()
                    part.writing = False
                    part.durable = len(lines) if written else part.durable
                    self._changed.notify_all()

    def _read(self, entries: Iterable[Entry]) -> None:
        wanted = [
            entry
            for entry in entries
            if f".{self._process}." not in entry.name and self._others.get(entry.name, (-1,))[0] != entry.size
        ]
        if self._output is None:
            return
        for entry, data in zip(wanted, self._output.read_each(entry.name for entry in wanted), strict=True):
            found = decode(data, self._output.uri(entry.name))
            with self._changed:
                self._others[entry.name] = (entry.size, found)
                self._answers.update({(answer.key, answer.number): answer for answer in found.answers})


@dataclass(frozen=True)
class Account:
    """What the journal of an output tells.

    Attributes:
        totals: of all answers.
        similarities: see `JournalFile`.
        exhausted: run → why it stopped for want of money.
    """

    totals: Totals
    similarities: tuple[float, ...]
    exhausted: dict[str, str]


def read_account(output: Storage) -> Account:
    """Sums the journal up.

    Raises:
        OSError: if it cannot be read.
        ValueError: if a file is damaged.
    """
    names = [entry.name for entry in output.files(FOLDER)]
    totals = Totals()
    similarities: list[float] = []
    exhausted: dict[str, str] = {}
    for name, data in zip(names, output.read_each(names), strict=True):
        found = decode(data, output.uri(name))
        totals = totals.plus(found.totals)
        similarities += found.similarities
        exhausted |= dict(found.exhausted)
    return Account(totals, tuple(similarities), exhausted)
