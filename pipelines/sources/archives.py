"""Archives as a corpus: which images a tar or a zip holds, told without unpacking it."""

import contextlib
import io
import stat
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any

from beamscribe.pipelines.sources import tar_source, tar_stream, zip_directory
from beamscribe.pipelines.sources.archive_listing import ArchiveListing, Inside
from beamscribe.pipelines.sources.archive_members import ReadRange, read_zip_member, zip_member
from beamscribe.pipelines.sources.beside import listed, with_beside
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.inflating import inflated
from beamscribe.pipelines.sources.links import Link
from beamscribe.pipelines.sources.opened import PIECE_BYTES, Where
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.pipelines.work.work_item import INFLATED_TAR, TAR, UNREADABLE, ZIP, Member, WorkItem
from beamscribe.storage.location import base_name
from beamscribe.storage.uri import FileTooLargeError, only_os_errors

COMPRESSED_TARS = {
    ".tar.gz": ".gz",
    ".tgz": ".gz",
    ".tar.bz2": ".bz2",
    ".tbz2": ".bz2",
    ".tar.xz": ".xz",
    ".txz": ".xz",
    ".tar.zst": ".zst",
    ".tzst": ".zst",
}
"""How a compressed tar is compressed, by the suffix of its name."""

CHAINED = ("zip://", "tar://")

MAX_TARGET = 4096
"""Bytes of a symbolic link in a zip, which stores what it names as its content; Linux allows no more."""

SPECIAL = "device, pipe or label"
"""Why a member is left out, beside the reasons of `archive_listing`."""


def kind_of(uri: str) -> str | None:
    """The kind of archive that a file is by its suffix; None: it is none."""
    name = base_name(uri).lower()
    if name.endswith(".zip"):
        return ZIP
    if name.endswith(".tar"):
        return TAR
    return INFLATED_TAR if name.endswith(tuple(COMPRESSED_TARS)) else None


def compression_of(uri: str) -> str:
    """How a compressed tar is compressed."""
    return next(found for suffix, found in COMPRESSED_TARS.items() if base_name(uri).lower().endswith(suffix))


def split_chained(source: str) -> tuple[str, str]:
    """`zip://photos/*.jpg::s3://bucket/a.zip`, as fsspec writes it, into what is asked for inside and the archive."""
    if not source.startswith(CHAINED) or "::" not in source:
        return "", source
    inside, _, archive = source.partition("::")
    return inside.partition("://")[2].strip("/"), archive


def list_archive(
    uri: str,
    kind: str,
    inside: str,
    options: dict[str, Any],
    allow_private: bool = False,
    beside: Collection[str] = (),
) -> Iterator[WorkItem | Skipped]:
    """The images of an archive, in its order but links last, and what is left out.

    Args:
        uri: of the archive.
        kind: which one it is.
        inside: a folder, a member or a glob of members; empty: every member with an image suffix.
        options: passed to fsspec.
        allow_private: as in `beamscribe.storage.uri.read_uri`.
        beside: suffixes of members that are wanted beside images.

    Yields:
        A reference an image, and what is skipped. Where the archive is damaged, what could be listed, and one reference
        in the archive's own name that tells why as a failure.

    Raises:
        OSError: if the storage cannot read it.
    """
    where = Where.of(uri, options, allow_private)
    version = version_of(where)
    listing = ArchiveListing(uri, inside, version)
    try:
        # In a remote tar every header is another request; to read it in large pieces takes less time.
        in_order = kind != ZIP and where.local_path() is None
        opened: contextlib.AbstractContextManager[Any] = where.opened_in_order() if in_order else where.open()
        with opened as file:
            members = _streamed_members if in_order and kind == TAR else _FROM[kind]
            yield from with_beside(kind, listed(listing, members(_Reads(file), uri)), beside)
        yield from listing.links()
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a stranger's archive brings about is its own failure
        yield from listing.links()
        yield listing.damage(
            str(error) if isinstance(error, DamagedArchiveError) else f"{type(error).__name__}: {error}"
        )


class _Reads:
    """A file whose storage's errors are of one kind, so that others are those of what is in it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        with only_os_errors():
            return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with only_os_errors():
            return self._file.seek(offset, whence)


def _tar_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    return _tar_entries(tar_source.SeekableSource(file, length), TAR)


def _streamed_members(file: Any, uri: str) -> Iterator[Inside]:
    pieces = iter(lambda: file.read(PIECE_BYTES), b"")
    return _tar_entries(tar_source.PiecesSource(pieces), TAR)


def _inflated_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    return _tar_entries(tar_source.PiecesSource(inflated(file, compression_of(uri))), INFLATED_TAR)


def _tar_entries(source: tar_source.Source, kind: str) -> Iterator[Inside]:
    for entry in tar_stream.walk(source):
        found = inside_of(entry, kind)
        if found is not None:
            yield found


def inside_of(entry: tar_stream.TarEntry, kind: str) -> Inside | None:
    """What a member of a tar is to a listing; None: a folder, which is nothing."""
    if entry.kind == tar_stream.FILE:
        size = entry.start + entry.size - entry.header
        return Inside(entry.name, Member(kind, 0, entry.header, size, check=entry.check))
    if entry.kind == tar_stream.SPECIAL:
        return Inside(entry.name, SPECIAL)
    if entry.kind == tar_stream.DIRECTORY:
        return None
    return Inside(entry.name, Link(entry.name, entry.link, entry.kind == tar_stream.SYMBOLIC_LINK))


def _zip_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    def read(start: int, size: int) -> bytes:
        file.seek(start)
        return file.read(size)

    for _, name, member, is_link in zip_entries(file):
        yield Inside(name, zip_link(read, name, member) if is_link else member)


def zip_entries(file: IO[bytes]) -> Iterator[tuple[int, str, Member, bool]]:
    """What the directory of a zip tells of its members but for folders: number, name, member, whether it is a link.

    Raises:
        DamagedArchiveError: where the directory is damaged, after the entries before that place.
    """
    for number, entry in enumerate(zip_directory.directory(file)):
        if not entry.name.endswith("/"):
            member = zip_member(entry)
            yield number, entry.name, member, stat.S_ISLNK(entry.mode) and member.kind == ZIP


def zip_link(read: ReadRange, name: str, member: Member) -> Member | Link:
    """A symbolic link, which a zip stores as a file whose bytes are the target."""
    try:
        target = read_zip_member(read, member, MAX_TARGET)
    except (FileTooLargeError, DamagedArchiveError) as error:
        return Member(UNREADABLE, 0, detail=f"it is a symbolic link that cannot be read: {error}")
    return Link(name, target.decode("utf-8", "surrogateescape"), symbolic=True)


_FROM: dict[str, Callable[[Any, str], Iterator[Inside]]] = {
    TAR: _tar_members,
    INFLATED_TAR: _inflated_members,
    ZIP: _zip_members,
}
