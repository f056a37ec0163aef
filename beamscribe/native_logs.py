"""Keeps what TensorFlow's native code logs while it is loaded off standard error.

Its logging library writes to file descriptor 2 until it is initialised, whatever `TF_CPP_MIN_LOG_LEVEL` says, and to it
looking for GPUs on a machine without any is an error. Neither is one to somebody who wants captions.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
QUIET = "2"
"""Errors alone."""

LOADED = ("tensorflow", "tensorflow_text", "keras")

_LOG = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    rb"|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?[IWE](\d{4} \d\d:\d\d:\d+\.\d+ +\d+)? [\w./-]+:\d+\] "
)
"""A line of the native log: information, warning or error; a fatal one is never left out."""

_redirecting = threading.Lock()


def without_log_lines(text: bytes) -> bytes:
    """What is left of native output without the lines of the log."""
    return b"".join(line for line in text.splitlines(keepends=True) if not _LOG.match(line))


@contextlib.contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Drops the native log of what is done in the body; everything else is passed on at its end.

    Where this is done already, or there is no such file descriptor, nothing changes.
    """
    if not _redirecting.acquire(blocking=False):
        yield
        return
    try:
        with tempfile.TemporaryFile() as caught:
            kept = os.dup(2)
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    sys.stderr.flush()
                os.dup2(kept, 2)
                os.close(kept)
                caught.seek(0)
                if rest := without_log_lines(caught.read()):
                    with contextlib.suppress(OSError):
                        os.write(2, rest)
    finally:
        _redirecting.release()


class _QuietLoader(importlib.abc.Loader):
    """Loads a module as its own loader does, without the native log."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            # Resources of the module are asked of the loader that it says it has.
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        with quiet_native_logs():
            self._loader.exec_module(module)
            if module.__name__ == "tensorflow":
                # Looks for GPUs, which is what it does first whatever is asked of it.
                module.config.list_physical_devices()


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Finds the packages of TensorFlow, each to be loaded by `_QuietLoader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in LOADED:
            return None
        if os.environ.setdefault(LEVEL, QUIET) < QUIET:
            # Somebody wants to see all of it.
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


def install() -> None:
    """From now on TensorFlow is loaded quietly; nothing is loaded by this."""
    if not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


def keep_stderr_apart() -> None:
    """Gives Python a descriptor of its own for standard error, so that what is printed while descriptor 2 is redirected
    is seen at once. For a program of our own: in one of somebody else's, `sys.stderr` is theirs."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stderr.fileno() == 2:
            sys.stderr = os.fdopen(
                os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False
            )
