"""A folder on any storage: reads, and writes that are whole or not at all."""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from beamscribe.storage import whole_files
from beamscribe.storage.critical_section import critical_section, fence_here
from beamscribe.storage.prefetch import ItemT, ResultT, prefetch
from beamscribe.storage.transient import TIMEOUT_SECONDS, StorageError, retried, within
from beamscribe.storage.uri import canonical, filesystem, only_os_errors, read_path, read_path_range

AT_ONCE = 16
"""Files asked for at once: a store takes some 50 ms to answer for each."""


class Entry(NamedTuple):
    """A file in a folder: its name below the root, and its size in bytes."""

    name: str
    size: int


def _is_unsupported(error: OSError) -> bool:
    """Whether a store or its client does not know conditional puts."""
    unknown = NotImplementedError | TypeError | ValueError
    return error.errno in (errno.ENOSYS, errno.EINVAL) or isinstance(error.__cause__, unknown)


@contextlib.contextmanager
def _missing_below_a_file() -> Iterator[None]:
    """Where the folder itself is a file, what is asked for in it is missing, as it would be in an object store."""
    try:
        with only_os_errors():
            yield
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error


@dataclass(frozen=True)
class Storage:
    """A folder: names are relative to it and use `/`.

    Attributes:
        root: local path or URI of the folder.
        options: passed to fsspec for remote protocols.
        run: on whose behalf files are written and deleted, see `beamscribe.storage.critical_section`; "" for no run.
    """

    root: str
    options: dict[str, Any] = field(default_factory=dict)
    run: str = ""

    @cached_property
    def _filesystem(self) -> tuple[fsspec.AbstractFileSystem, str]:
        return filesystem(self.root, self.options)

    @property
    def local(self) -> bool:
        """Whether the folder is on this machine's disk."""
        return isinstance(self._filesystem[0], LocalFileSystem)

    def is_file(self) -> bool:
        """Whether a file is where the folder should be."""
        with only_os_errors():
            found: bool = self._filesystem[0].isfile(self._filesystem[1])
        return found

    def path(self, name: str) -> str:
        """The path of a name on the filesystem.

        Raises:
            StorageError: if it would be outside the folder; names may come from files of unknown origin.
        """
        if ".." in name.split("/"):
            raise StorageError(f"{name} is not below {self.root}")
        return f"{self._filesystem[1].rstrip('/')}/{name}" if name else self._filesystem[1]

    def uri(self, name: str = "") -> str:
        """The absolute URI of a name."""
        return canonical(self._filesystem[0], self.path(name))

    def below(self, name: str) -> "Storage":
        """A folder in this one."""
        return replace(self, root=self.uri(name))

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            OSError: if it cannot be read, whatever the storage's client calls its error.
        """
        with _missing_below_a_file():
            return read_path(self._filesystem[0], self.path(name))

    def read_each(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files in the order of their names, some of them read ahead.

        Raises:
            OSError: as `read`.
        """
        return self.prefetch(self.read, names)

    def prefetch(self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
        """As `beamscribe.storage.prefetch.prefetch`, for a function that reads or writes here."""
        fs = self._filesystem[0]
        # Other clients of fsspec have one connection, which threads may not share.
        threads = AT_ONCE if self.local or fs.async_impl else 1
        return prefetch(function, items, threads, ahead=2 * threads)

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Some bytes of a file.

        Raises:
            OSError: as `read`.
        """
        with _missing_below_a_file():
            return read_path_range(self._filesystem[0], self.path(name), start, start + size)

    def exists(self, name: str) -> bool:
        """Whether the file or folder is there.

        Raises:
            OSError: if the storage does not say.
        """
        try:
            self._size(name)
        except FileNotFoundError:
            return False
        return True

    @retried
    def _size(self, name: str) -> int:
        with _missing_below_a_file():
            return self._filesystem[0].info(self.path(name))["size"]

    @retried
    def files(self, folder: str, suffix: str = "") -> list[Entry]:
        """Files directly in a folder, by name; temporaries and hidden files are left out. No folder, no files.

        Raises:
            OSError: if the folder cannot be listed.
        """
        fs = self._filesystem[0]
        # Object stores cache listings; another process may have written meanwhile.
        fs.invalidate_cache()
        try:
            with _missing_below_a_file():
                found = fs.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return []
        prefix = f"{folder}/" if folder else ""
        entries = [
            Entry(prefix + os.path.basename(item["name"]), item["size"])
            for item in found
            # fsspec gives links no type.
            if item["type"] == "file" or (item.get("islink") and os.path.isfile(item["name"]))
        ]
        return sorted(
            entry
            for entry in entries
            if entry.name.endswith(suffix) and not os.path.basename(entry.name).startswith(".")
        )

    @retried
    def walk(self, folder: str) -> list[Entry]:
        """Files anywhere below a folder, by name; temporaries and hidden files are left out."""
        fs = self._filesystem[0]
        fs.invalidate_cache()
        base = self.path(folder)
        with only_os_errors():
            found: Any = fs.find(base, detail=True)
        return sorted(
            Entry(f"{folder}/{os.path.relpath(path, base)}", item["size"])
            for path, item in found.items()
            if not os.path.basename(path).startswith(".")
        )

    def temporaries(self, folders: Iterable[str] = ("",)) -> list[str]:
        """Local temporaries below folders of this one that a killed process left; object stores leave none."""
        if not self.local:
            return []
        return whole_files.temporaries(self.path(""), folders)

    @retried
    def write(self, name: str, data: bytes) -> None:
        """Writes a whole file or nothing, replacing what is there.

        Local: a temporary in the same folder, fsync, `os.replace`. Elsewhere: one put, which object stores
        make visible at once (fsspec's own `mv` and transactions are not atomic).

        Raises:
            OSError: if it cannot be written.
            StorageError: if fewer bytes arrived than were sent.
            RunStoppedError: if it is written for a run that was stopped.
        """
        with critical_section(self.run):
            permitted = fence_here()
            if self.local:
                whole_files.replace(self.path(name), data, permitted)
            else:
                permitted()
                with only_os_errors():
                    within(TIMEOUT_SECONDS, lambda: self._filesystem[0].pipe_file(self.path(name), data))
        size = self._size(name)
        if size != len(data):
            raise StorageError(f"{self.uri(name)} holds {size} of the {len(data)} bytes written", transient=True)

    def create(self, name: str, data: bytes) -> bool:
        """Writes a small file only if there is none, and says whether it did.

        Atomic on local disks and on stores whose client puts conditionally (S3 and Google Cloud Storage do). On others
        it is a look followed by a put, which is said once: two that create at the same time could both succeed.

        Raises:
            OSError: if it cannot be written.
        """
        if self.local:
            return whole_files.create(self.path(name), data)
        if self.exists(name):
            return False
        # Of a put whose answer was lost, or that a client tried again, the file that is there is our own.
        with contextlib.suppress(FileExistsError):
            self._put_if_none(name, data)
        # A store may take no notice of the condition: the last writer has it.
        return self.read(name) == data

    @retried
    def _put_if_none(self, name: str, data: bytes) -> None:
        fs, path = self._filesystem[0], self.path(name)
        try:
            with critical_section(), only_os_errors():
                within(TIMEOUT_SECONDS, lambda: fs.pipe_file(path, data, mode="create"))
        except OSError as error:
            if not _is_unsupported(error):
                raise
            logging.getLogger(__name__).warning(
                "%s cannot create a file only where there is none (%s): two runs that begin in the same moment are not "
                "kept apart there",
                self.uri(),
                error,
            )
            self.write(name, data)

    @retried
    def rename(self, name: str, new: str) -> None:
        """Gives a file another name.

        Raises:
            FileNotFoundError: if there is none.
        """
        if self.local:
            os.rename(self.path(name), self.path(new))
        else:
            with only_os_errors():
                self._filesystem[0].mv(self.path(name), self.path(new))

    @retried
    def delete(self, name: str) -> None:
        """Deletes a file; none there is no error.

        Raises:
            OSError: if it cannot be deleted.
        """
        with critical_section(self.run), contextlib.suppress(FileNotFoundError), only_os_errors():
            self._filesystem[0].rm_file(self.path(name))
