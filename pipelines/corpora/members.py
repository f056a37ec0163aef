"""Reads what a reference names: a file, or one member of a file that holds many, which is never unpacked."""

import functools
import json
import tempfile
import zipfile
from collections.abc import Callable
from typing import IO, Any

from model.transient import TIMEOUT_SECONDS, retried, within
from model.uri import only_os_errors, read_range, read_uri
from pipelines.corpora.archives import inflate, is_damage
from pipelines.corpora.opened import LOCK, OPEN_CONTAINERS, UnreadableMemberError, Where
from pipelines.corpora.reference import ARROW, INFLATED_TAR, PARQUET, TAR, UNREADABLE, ZIP, Member, Reference
from pipelines.corpora.table_process import PROCESS
from schemas.limits import MAX_BYTES

MAX_MEMBER_BYTES = 2**30
"""A zip may promise far more than it takes; no photograph has a gigabyte."""

CHUNK = 2**16


def read_reference(
    reference: Reference, options: dict[str, Any], allow_private: bool = False, max_bytes: int = MAX_BYTES
) -> bytes:
    """The bytes of an image.

    Args:
        reference: what to read.
        options: passed to fsspec.
        allow_private: as in `model.uri.read_uri`.
        max_bytes: of an image file.

    Raises:
        OSError: if it cannot be read, or has more bytes.
    """
    member = reference.member
    if member is None:
        return read_uri(reference.uri, options, allow_private, max_bytes)
    if member.kind == UNREADABLE:
        raise UnreadableMemberError(member.detail)
    if member.kind == TAR:
        data = read_range(reference.container, member.start, member.size, options, allow_private)
        return _whole(data, member)
    where = Where(reference.container, json.dumps(options, sort_keys=True), allow_private)
    if member.kind in (PARQUET, ARROW):
        return _read_row(where, member, max_bytes)
    return _read(where, member)


@retried
def _read(where: Where, member: Member) -> bytes:
    with only_os_errors():
        try:
            return within(TIMEOUT_SECONDS, lambda: _READERS[member.kind](where, member))
        except Exception as error:
            # RuntimeError is zipfile's for what is encrypted.
            if is_damage(error) or isinstance(error, RuntimeError):
                raise UnreadableMemberError(f"{type(error).__name__}: {error}") from error
            raise


def _whole(data: bytes, member: Member) -> bytes:
    if len(data) != member.size:
        raise UnreadableMemberError(f"the archive ends after {len(data)} of the {member.size} bytes of this member")
    return data


def _read_zip(where: Where, member: Member) -> bytes:
    with LOCK:
        archive = _zip(where)
    info = archive.infolist()[member.start]
    if info.file_size > MAX_MEMBER_BYTES:
        raise UnreadableMemberError(f"it claims {info.file_size} bytes, more than {MAX_MEMBER_BYTES}")
    return archive.read(info)


@functools.lru_cache(OPEN_CONTAINERS)
def _zip(where: Where) -> zipfile.ZipFile:
    return zipfile.ZipFile(where.open())


def _read_inflated_tar(where: Where, member: Member) -> bytes:
    with LOCK:
        file = _inflated(where)
        file.seek(member.start)
        return _whole(file.read(member.size), member)


@functools.lru_cache(OPEN_CONTAINERS)
def _inflated(where: Where) -> IO[bytes]:
    """A compressed tar, which can only be read from its beginning, inflated once into a file without a name.

    Where it is damaged, the file holds what comes before.
    """
    inflated = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the cache holds it
    with where.open() as file:
        try:
            source = inflate(where.uri, file)
            # read would wait for all of its bytes, and lose those before the damage.
            while chunk := source.read1(CHUNK):  # type: ignore[attr-defined]
                inflated.write(chunk)
        except Exception as error:
            if not is_damage(error):
                raise
    return inflated


@retried
def _read_row(where: Where, member: Member, max_bytes: int) -> bytes:
    with only_os_errors():
        return PROCESS.row(where, member.start, member.size, member.detail, max_bytes)


_READERS: dict[str, Callable[[Where, Member], bytes]] = {
    ZIP: _read_zip,
    INFLATED_TAR: _read_inflated_tar,
}
