"""Members of a tar, read from a stream of bytes from its beginning to the very end of the file."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.tar_header import (
    BLOCK,
    Block,
    Sparse,
    decimal,
    fill_holes,
    gnu_parts,
    is_block,
    number,
    parse_block,
    parse_pax,
    pax_sparse,
    text,
)
from beamscribe.pipelines.sources.tar_source import Source

FILE, DIRECTORY, HARD_LINK, SYMBOLIC_LINK, SPECIAL = "file", "directory", "hard link", "symbolic link", "special file"
"""Kinds of members; the last are devices, pipes, sockets and labels, which hold no bytes of a file."""

MAX_HEADER_BYTES = 2**20
"""Of all headers of one member: its name, its attributes, its map of holes."""

MAX_ZERO_BYTES = 2**26
"""In a row between members: archives that are put together have some blocks of zeros in the middle, never so many."""

_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": HARD_LINK,
    b"2": SYMBOLIC_LINK,
    b"3": SPECIAL,
    b"4": SPECIAL,
    b"6": SPECIAL,
    b"V": SPECIAL,
    b"5": DIRECTORY,
    b"D": DIRECTORY,
}
_WITHOUT_BYTES = (b"2", b"3", b"4", b"5", b"6", b"V")
"""Types after which no bytes come, whatever size their header tells."""


class TarEntry(NamedTuple):
    """A member.

    Attributes:
        name: its path; bytes that are not UTF-8 are surrogates.
        kind: one of the constants above.
        header: first byte of its first header.
        start: first of its bytes.
        size: of them, as they are stored.
        link: path that a link names.
        sparse: where its holes are, if it has any.
        trouble: why its bytes cannot be told; empty: they can.
        check: digest of its headers, which tells it from another member.
    """

    name: str
    kind: str
    header: int
    start: int
    size: int
    link: str
    sparse: Sparse | None
    trouble: str
    check: str


def walk(source: Source) -> Iterator[TarEntry]:
    """The members in their order. The caller may read the bytes of one from the source before the next.

    Zeros between members do not end the archive, since archives are put one behind the other (`cat`, GNU tar's
    `--concatenate`).

    Raises:
        DamagedArchiveError: where the archive ends early or is no longer one, after the members before it.
    """
    zeros, block = 0, source.read(BLOCK)
    while block:
        if not block.strip(b"\0") and (zeros or len(block) == BLOCK):
            zeros += len(block)
            if zeros > MAX_ZERO_BYTES:
                raise DamagedArchiveError(f"more than {MAX_ZERO_BYTES} bytes of zeros before byte {source.position}")
            block = source.read(BLOCK)
            continue
        if len(block) < BLOCK:
            raise DamagedArchiveError(f"no header at byte {source.position - len(block)}, only {len(block)} bytes")
        zeros = 0
        entry, block = _entry(source, block)
        if entry is not None:
            yield entry
        if not block:
            if entry is not None:
                _pass_over(source, entry)
            block = source.read(BLOCK)
    if not zeros:
        raise DamagedArchiveError(
            f"it ends at byte {source.position} without the zeros that end an archive: it may be cut off"
        )


def _pass_over(source: Source, entry: TarEntry) -> None:
    """Goes to the end of a member's last block."""
    left = entry.start + entry.size - source.position
    passed = source.skip(left + -entry.size % BLOCK)
    if passed < left:
        there = entry.size - left + passed
        raise DamagedArchiveError(f"the archive ends after {there} of the {entry.size} bytes of {entry.name}")


def _entry(source: Source, block: bytes) -> tuple[TarEntry | None, bytes]:
    """The member that begins with a block; None: it was a header for all of them.

    With it the block after it, where that had to be read to know that no bytes of this member come.
    """
    headers = _Headers(source, block)
    pax: list[tuple[str, bytes]] = []
    long_name = long_link = None
    while True:
        header = parse_block(headers.last, headers.at)
        if header.type in (b"x", b"X"):
            pax = parse_pax(headers.content(header.size), headers.at)
        elif header.type == b"L":
            long_name = text(headers.content(header.size))
        elif header.type == b"K":
            long_link = text(headers.content(header.size))
        elif header.type == b"g":
            # It would change every member after it, which is then read without it.
            if parse_pax(headers.content(header.size), headers.at):
                raise DamagedArchiveError(f"the header at byte {headers.at} gives all members one name or size")
            if headers.only_global:
                return None, b""
        else:
            break
        headers.next(header.type)
    return _member(source, headers, header, pax, long_name, long_link)


class _Headers:
    """The blocks before a member, with a bound on their number."""

    def __init__(self, source: Source, block: bytes) -> None:
        self._source, self.start = source, source.position - BLOCK
        self.last, self.at = block, self.start
        self._digest = hashlib.blake2b(block, digest_size=6)
        self.only_global = True

    def content(self, size: int) -> bytes:
        """The bytes that belong to a header."""
        return self._read(-(-size // BLOCK) * BLOCK)[:size]

    def next(self, type_before: bytes) -> None:
        """Goes on to the next block."""
        self.only_global = self.only_global and type_before == b"g"
        self.at = self._source.position
        self.last = self._read(BLOCK)

    def more(self) -> bytes:
        """A block that goes on with the last."""
        return self._read(BLOCK)

    def check(self) -> str:
        return self._digest.hexdigest()

    def _read(self, size: int) -> bytes:
        if self._source.position + size - self.start > MAX_HEADER_BYTES:
            raise DamagedArchiveError(f"the headers at byte {self.start} have more than {MAX_HEADER_BYTES} bytes")
        data = self._source.read(size)
        if len(data) < size:
            raise DamagedArchiveError(f"the archive ends inside the headers at byte {self.start}")
        self._digest.update(data)
        return data


def _member(
    source: Source,
    headers: _Headers,
    header: Block,
    pax: list[tuple[str, bytes]],
    long_name: str | None,
    long_link: str | None,
) -> tuple[TarEntry, bytes]:
    found = dict(pax)
    name = found["path"].decode("utf-8", "surrogateescape") if "path" in found else long_name or header.name
    link = found["linkpath"].decode("utf-8", "surrogateescape") if "linkpath" in found else long_link or header.link
    size = decimal(found["size"], headers.at) if "size" in found else header.size
    sparse = pax_sparse(pax, headers.at)
    if "GNU.sparse.name" in found:
        name = found["GNU.sparse.name"].decode("utf-8", "surrogateescape")
    kind, trouble = _KINDS.get(header.type, FILE), ""
    if header.type == b"S":
        sparse = _old_gnu(headers, header)
    elif header.type == b"M":
        trouble = "it is the rest of a member of another archive"
    elif header.type not in _KINDS:
        trouble = f"it is a member of the unknown type {header.type!r}"
    if "SCHILY.realsize" in found and sparse is None:
        trouble = "it is a sparse file as only star writes it"
    if kind == FILE and name.endswith("/") and not size:
        kind = DIRECTORY
    start, ahead = source.position, b""
    stored = 0 if header.type in _WITHOUT_BYTES else size
    if kind == HARD_LINK and stored:
        # Only pax stores the bytes of a link again; others tell the size and do not.
        ahead = source.read(BLOCK)
        if is_block(ahead):
            stored = 0
        else:
            ahead = b""
    entry = TarEntry(name, kind, headers.start, start, stored, link, sparse, trouble, headers.check())
    return entry, ahead


def _old_gnu(headers: _Headers, header: Block) -> Sparse:
    parts = list(gnu_parts(header.data[386:482], headers.at))
    size = number(header.data[483:495], headers.at)
    more = header.data[482]
    while more:
        data = headers.more()
        parts += gnu_parts(data[:504], headers.at)
        more = data[504]
    return Sparse(size, tuple(parts))


def content(entry: TarEntry, stored: bytes) -> bytes:
    """The bytes of a file.

    Args:
        entry: of it; `sparse.size` is bounded by the caller.
        stored: what is in the archive.

    Raises:
        DamagedArchiveError: if they are not all there, or cannot be told.
    """
    if entry.trouble:
        raise DamagedArchiveError(entry.trouble)
    if len(stored) < entry.size:
        raise DamagedArchiveError(f"the archive ends after {len(stored)} of the {entry.size} bytes of this member")
    return stored if entry.sparse is None else fill_holes(entry.sparse, stored)
