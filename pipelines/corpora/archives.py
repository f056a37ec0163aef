"""Archives as a corpus: which images a tar or a zip holds, told without unpacking it."""

import bz2
import fnmatch
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from model.uri import open_uri
from pipelines.corpora.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Skipped
from pipelines.corpora.reference import INFLATED_TAR, TAR, UNREADABLE, ZIP, Member, Reference

INFLATERS: dict[str, Callable[..., Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
"""What reads a compressed tar, by the suffix of its name."""

CHAINED = ("zip://", "tar://")
BLOCK = 512

_DAMAGE = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, NotImplementedError)


class Inside(NamedTuple):
    """What a listing of an archive finds: a name, and where."""

    name: str
    start: int
    size: int


def kind_of(uri: str) -> str | None:
    """The kind of archive that a file is by its suffix; None: it is none."""
    name = uri.lower()
    if name.endswith(".zip"):
        return ZIP
    if name.endswith(".tar"):
        return TAR
    return INFLATED_TAR if name.endswith(tuple(INFLATERS)) else None


def is_damage(error: Exception) -> bool:
    """Whether the reader of a container finds its bytes not as they should be; else storage has failed."""
    if isinstance(error, _DAMAGE):
        return True
    # bz2 and pyarrow call this an OSError too, but one without a number.
    return isinstance(error, OSError) and type(error) in (OSError, gzip.BadGzipFile) and error.errno is None


def inflate(uri: str, file: IO[bytes]) -> IO[bytes]:
    """What is inside a compressed tar, to be read from its beginning."""
    return next(inflater for suffix, inflater in INFLATERS.items() if uri.lower().endswith(suffix))(file)


def split_chained(source: str) -> tuple[str, str]:
    """`zip://photos/*.jpg::s3://bucket/a.zip`, as fsspec writes it, into what is asked for inside and the archive."""
    if not source.startswith(CHAINED) or "::" not in source:
        return "", source
    inside, _, archive = source.partition("::")
    return inside.partition("://")[2].strip("/"), archive


def list_archive(
    uri: str, kind: str, inside: str, options: dict[str, Any], allow_private: bool = False
) -> Iterator[Reference | Skipped]:
    """The images of an archive, in its order, and what is left out.

    Args:
        uri: of the archive.
        kind: which one it is.
        inside: a folder, a member or a glob of members; empty: every member with an image suffix.
        options: passed to fsspec.
        allow_private: as in `model.uri.read_uri`.

    Yields:
        A reference an image, and what is skipped. Where the archive is damaged, what could be listed, and one reference
        in the archive's own name that tells why as a failure.
    """
    images = 0
    try:
        for place, (name, start, size) in enumerate(_members(uri, kind, options, allow_private)):
            if not _asked(name.removeprefix("./"), inside):
                yield Skipped(NO_IMAGE_SUFFIX)
                continue
            # A name need not be UTF-8, but ids are.
            item = f"{uri}::{name}".encode("utf-8", "backslashreplace").decode()
            yield Reference(item, item, container=uri, member=Member(kind, place, start, size))
            images += 1
    except (OSError, *_DAMAGE) as error:
        if not is_damage(error):
            raise
        reason = f"the archive is damaged; {images} images of it could be listed: {error}"
        yield Reference(uri, uri, container=uri, member=Member(UNREADABLE, images, detail=reason))


def _asked(name: str, inside: str) -> bool:
    if name.startswith("__MACOSX/"):  # What macOS puts beside each file.
        return False
    image = name.lower().endswith(IMAGE_SUFFIXES)
    if not inside:
        return image
    return name == inside or (image and name.startswith(f"{inside}/")) or fnmatch.fnmatchcase(name, inside)


def _members(uri: str, kind: str, options: dict[str, Any], allow_private: bool) -> Iterator[Inside]:
    with open_uri(uri, options, allow_private) as file:
        if kind == ZIP:
            with zipfile.ZipFile(file) as archive:
                for number, info in enumerate(archive.infolist()):
                    if not info.is_dir():
                        yield Inside(info.filename, number, info.file_size)
        else:
            yield from _tar_members(file if kind == TAR else inflate(uri, file))


def _tar_members(file: IO[bytes]) -> Iterator[Inside]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isfile():
                yield Inside(member.name, member.offset_data, member.size)
            # tarfile would keep each.
            archive.members.clear()  # type: ignore[attr-defined]
        # It takes a header that it does not understand for the end.
        file.seek(archive.offset)
        if file.read(BLOCK).strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {archive.offset}")
