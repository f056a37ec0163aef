"""Reads and decodes images one by one in a process of their own, which may die or hang without harm to this one."""

import datetime
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from model.backbone.spec import BackboneSpec
from pipelines.commits.shards import Todo
from pipelines.images.reading import DECODE, LoadedImage, Reading, failure, load_image
from schemas.failure_row import FailureRow

DIED, HUNG = "DecoderDied", "DecoderHung"


def load_images_apart(
    todo: Sequence[Todo],
    spec: BackboneSpec,
    reading: Reading,
    run_started: datetime.datetime,
    limit_seconds: float,
) -> Iterator[LoadedImage | FailureRow]:
    """Images in order; one that ends its process or takes too long becomes a failure row."""
    reader: _Reader | None = None
    try:
        for item in todo:
            reader = reader or _Reader(spec, reading, run_started)
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

    def __init__(self, spec: BackboneSpec, reading: Reading, run_started: datetime.datetime) -> None:
        # A fresh interpreter: TensorFlow and Beam hold threads, with which no process may be forked.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, spec, reading, run_started), name="reader", daemon=True
        )
        self._process.start()
        theirs.close()
        self._pipe.recv()  # It is there: starting up is no fault of an image.

    def load(self, item: Todo, limit_seconds: float) -> LoadedImage | FailureRow | str:
        """One image; `DIED` or `HUNG` if the process did not give it back."""
        try:
            self._pipe.send(item)
            return self._pipe.recv() if self._pipe.poll(limit_seconds) else HUNG
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


def _serve(pipe: Connection, spec: BackboneSpec, reading: Reading, run_started: datetime.datetime) -> None:
    """The child: loads images until the pipe closes."""
    # Ctrl-C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.send(None)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(load_image(item, spec, reading, run_started))
