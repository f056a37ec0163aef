"""Archives as a corpus: which images a tar or a zip holds, told without unpacking it."""

import contextlib
import fnmatch
import io
import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from beamscribe.pipelines.sources import tar_stream, zip_directory
from beamscribe.pipelines.sources.archive_members import read_zip_member, zip_member
from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Skipped
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.inflating import inflated
from beamscribe.pipelines.sources.links import Folders, Link, normal, resolve
from beamscribe.pipelines.sources.opened import PIECE_BYTES, Where
from beamscribe.pipelines.sources.packed_members import PackedMembers
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
MACOS = "metadata of macOS"
NOT_ASKED = "not asked for in its archive"
"""Reasons for which members are left out, beside those of links."""


class Inside(NamedTuple):
    """What a listing of an archive finds.

    Attributes:
        name: of the member; bytes that are not UTF-8 are surrogates.
        what: how to read it, what it is a link to, or why it is nothing that can be read.
    """

    name: str
    what: Member | Link | str


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
    uri: str, kind: str, inside: str, options: dict[str, Any], allow_private: bool = False
) -> Iterator[WorkItem | Skipped]:
    """The images of an archive, in its order but links last, and what is left out.

    Args:
        uri: of the archive.
        kind: which one it is.
        inside: a folder, a member or a glob of members; empty: every member with an image suffix.
        options: passed to fsspec.
        allow_private: as in `beamscribe.storage.uri.read_uri`.

    Yields:
        A reference an image, and what is skipped. Where the archive is damaged, what could be listed, and one reference
        in the archive's own name that tells why as a failure.

    Raises:
        OSError: if the storage cannot read it.
    """
    where = Where.of(uri, options, allow_private)
    version = version_of(where)
    listing = _Listing(uri, inside, version)
    try:
        # In a remote tar every header is another request; to read it in large pieces takes less time.
        in_order = kind != ZIP and where.local_path() is None
        opened: contextlib.AbstractContextManager[Any] = where.opened_in_order() if in_order else where.open()
        with opened as file:
            members = _streamed_members if in_order and kind == TAR else _FROM[kind]
            for found in members(_Reads(file), uri):
                item = listing.next(found)
                if item is not None:
                    yield item
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


class _Listing:
    """What has been found so far in an archive."""

    def __init__(self, uri: str, inside: str, version: str) -> None:
        self._uri, self._inside, self._version = uri, inside, version
        self._place, self.images = 0, 0
        self._names: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._members = PackedMembers()
        self._files: dict[str, int] = {}
        self._links: dict[str, Link] = {}
        self._waiting: list[tuple[int, str, Link]] = []

    def next(self, found: Inside) -> WorkItem | Skipped | None:
        """The next member, in the order of the archive; None: a link that is told at the end, see `links`."""
        place, name, path = self._place, self._unique(found.name), normal(found.name)
        self._place += 1
        if not isinstance(found.what, Link):
            self._links.pop(path, None)
            if isinstance(found.what, str):
                return Skipped(found.what)
            self._files[path] = self._members.append(found.what)
            return self._item(found.name, name, place, found.what)
        # A hard link is the file that bears the name when it is made, not one that comes later.
        file = None if found.what.symbolic else self._files.get(found.what.path() or "")
        if file is None:
            self._files.pop(path, None)
            self._links[path] = found.what
            self._waiting.append((place, name, found.what))
            return None
        self._links.pop(path, None)
        self._files[path] = file
        return self._item(found.name, name, place, self._members[file])

    def links(self) -> Iterator[WorkItem | Skipped]:
        """Links to what stands after them in the archive, and those to nothing."""
        folders = Folders(self._files)
        for place, name, link in self._waiting:
            file = resolve(link, self._files, self._links, folders)
            if isinstance(file, int):
                yield self._item(link.name, name, place, self._members[file])
            else:
                yield Skipped(_left_out(link.name, self._inside) or file)

    def damage(self, why: str) -> WorkItem:
        """The archive itself, as a failure."""
        reason = f"the archive is damaged; {self.images} images of it could be listed: {why}"
        member = Member(UNREADABLE, self._place, detail=reason)
        return WorkItem(self._uri, self._uri, container=self._uri, member=member)

    def _item(self, stored_name: str, name: str, place: int, member: Member) -> WorkItem | Skipped:
        reason = _left_out(stored_name, self._inside)
        if reason:
            return Skipped(reason)
        self.images += 1
        id = f"{self._uri}::{name}"
        member = member._replace(place=place, version=self._version)
        return WorkItem(id, id, container=self._uri, member=member)

    def _unique(self, stored_name: str) -> str:
        """A name that is UTF-8, as ids are, and not yet taken: `a.jpg#2` is the second `a.jpg`."""
        name = unique = stored_name.encode("utf-8", "backslashreplace").decode()
        while unique in self._names:
            self._repeats[name] = self._repeats.get(name, 1) + 1
            unique = f"{name}#{self._repeats[name]}"
        self._names.add(unique)
        return unique


def _left_out(name: str, inside: str) -> str:
    """Why a member is no item; empty: it is one."""
    name = name.removeprefix("./")
    if inside and name == inside:
        return ""
    # What macOS puts beside each file bears its suffix.
    if name.startswith("__MACOSX/") or posixpath.basename(name).startswith("._"):
        return MACOS
    image = name.lower().endswith(IMAGE_SUFFIXES)
    if not inside:
        return "" if image else NO_IMAGE_SUFFIX
    if (image and name.startswith(f"{inside}/")) or fnmatch.fnmatchcase(name, inside):
        return ""
    return NOT_ASKED


def _tar_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    return _tar_entries(tar_stream.SeekableSource(file, length), TAR)


def _streamed_members(file: Any, uri: str) -> Iterator[Inside]:
    pieces = iter(lambda: file.read(PIECE_BYTES), b"")
    return _tar_entries(tar_stream.PiecesSource(pieces), TAR)


def _inflated_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    return _tar_entries(tar_stream.PiecesSource(inflated(file, compression_of(uri))), INFLATED_TAR)


def _tar_entries(source: tar_stream.Source, kind: str) -> Iterator[Inside]:
    for entry in tar_stream.walk(source):
        if entry.kind == tar_stream.FILE:
            size = entry.start + entry.size - entry.header
            yield Inside(entry.name, Member(kind, 0, entry.header, size, check=entry.check))
        elif entry.kind == tar_stream.SPECIAL:
            yield Inside(entry.name, SPECIAL)
        elif entry.kind != tar_stream.DIRECTORY:
            yield Inside(entry.name, Link(entry.name, entry.link, entry.kind == tar_stream.SYMBOLIC_LINK))


def _zip_members(file: IO[bytes], uri: str) -> Iterator[Inside]:
    for entry in zip_directory.directory(file):
        if entry.name.endswith("/"):
            continue
        member = zip_member(entry)
        if stat.S_ISLNK(entry.mode) and member.kind == ZIP:
            yield Inside(entry.name, _zip_link(file, entry.name, member))
        else:
            yield Inside(entry.name, member)


def _zip_link(file: IO[bytes], name: str, member: Member) -> Member | Link:
    """A symbolic link, which a zip stores as a file whose bytes are the target."""

    def read(start: int, size: int) -> bytes:
        file.seek(start)
        return file.read(size)

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
