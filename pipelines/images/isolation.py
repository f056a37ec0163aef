"""Reads and decodes images one by one in a process of their own, which may die or hang without harm to this one."""

import datetime
import math
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from beamscribe.pipelines.images.reading import DECODE, LoadedImage, Reading, Wanted, load_image
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.advancing import advance, advanced

DIED, HUNG = "DecoderDied", "DecoderHung"

MEMORY_BYTES, BYTES_PER_PIXEL = 2**30, 16
"""Address space of the child beyond what it starts with: so much, and for each pixel that an image may have four copies
of Pillow's four bytes. Threads and allocators reserve some hundred megabytes that they never use."""

TOLD_PER_LIMIT = 4
"""How often within the time of an image the child tells that bytes come."""

MARGIN_SECONDS = 30
"""The child ends itself later than its parent would end it by so much, and twice the time of an image."""


def load_images_apart(
    todo: Sequence[PendingItem],
    wanted: Wanted,
    reading: Reading,
    run_started: datetime.datetime,
    limit_seconds: float,
) -> Iterator[LoadedImage | FailureRow]:
    """Images in order; one that ends its process or takes too long becomes a failure row."""
    reader: _Reader | None = None
    try:
        for item in todo:
            reader = reader or _Reader(wanted, reading, run_started, limit_seconds)
            outcome = reader.load(item, limit_seconds)
            if isinstance(outcome, str):
                error_type, message = reader.end(outcome, limit_seconds)
                reader = None
                yield failure(item, DECODE, error_type, message, run_started)
            else:
                yield outcome
    finally:
        if reader:
            reader.end(DIED, limit_seconds)


class _Reader:
    """A child process that loads what it is sent."""

    def __init__(self, wanted: Wanted, reading: Reading, run_started: datetime.datetime, limit_seconds: float) -> None:
        # A fresh interpreter: TensorFlow and Beam hold threads, with which no process may be forked.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, wanted, reading, run_started, limit_seconds), name="reader", daemon=True
        )
        self._process.start()
        theirs.close()
        self._pipe.recv()  # It is there: starting up is no fault of an image.

    def load(self, item: PendingItem, limit_seconds: float) -> LoadedImage | FailureRow | str:
        """One image; `DIED` or `HUNG` if the process did not give it back."""
        try:
            self._pipe.send(item)
            while self._pipe.poll(limit_seconds):
                outcome = self._pipe.recv()
                if not isinstance(outcome, int):
                    return outcome
                advanced(outcome)
            return HUNG
        except (EOFError, OSError):
            return DIED

    def end(self, why: str, limit_seconds: float) -> tuple[str, str]:
        """Ends the process; gives error type and message of the image that it had in hand."""
        self._pipe.close()
        if why == HUNG:
            self._process.kill()
        self._process.join()
        if why == HUNG:
            return HUNG, f"reading and decoding it took more than {limit_seconds:g} s in a process of its own"
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return DIED, f"reading or decoding it ended a process of its own ({how})"


def _serve(
    pipe: Connection, wanted: Wanted, reading: Reading, run_started: datetime.datetime, limit_seconds: float
) -> None:
    """The child: loads images until the pipe closes."""
    # Ctrl-C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _bound_memory(reading)
    pipe.send(None)
    sending = threading.Lock()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        done = threading.Event()
        teller = threading.Thread(target=_tell_advance, args=(pipe, sending, done, limit_seconds), daemon=True)
        teller.start()
        outcome = load_image(item, wanted, reading, run_started)
        done.set()
        signal.alarm(0)
        with sending:
            pipe.send(outcome)


def _end_with_parent() -> None:
    """Ends this process when the one that began it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _tell_advance(pipe: Connection, sending: threading.Lock, done: threading.Event, limit_seconds: float) -> None:
    """Tells the parent of bytes that come while an image is waited for, such as those of a compressed archive."""
    before = advance()
    while not done.is_set():
        # Native code may keep this and every other thread from running; the kernel's clock ends it even so, and with it
        # a process whose parent is gone.
        signal.alarm(math.ceil(2 * limit_seconds) + MARGIN_SECONDS)
        if done.wait(limit_seconds / TOLD_PER_LIMIT):
            return
        now = advance()
        with sending:
            if now > before and not done.is_set():
                pipe.send(now - before)
        before = now


def _bound_memory(reading: Reading) -> None:
    """Bounds the address space: what asks for more gets a `MemoryError`, not the memory of all others."""
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # There is none on macOS, whose kernel does not heed the limit either.
        return
    files = 4 if reading.keep_files else 2  # What is sent back is copied twice.
    limit = now + MEMORY_BYTES + files * reading.max_bytes + BYTES_PER_PIXEL * reading.max_pixels
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
