"""Members of zips by a directory that may lie."""

import io
import struct
import zipfile
import zlib

import pytest

from beamscribe.pipelines.sources.archive_members import read_zip_member, zip_member
from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.zip_directory import ZipEntry, directory
from beamscribe.pipelines.sources.zip_unpacking import BZIP2, DEFLATED, LZMA, STORED
from beamscribe.pipelines.work.work_item import UNREADABLE
from beamscribe.storage.uri import FileTooLargeError

MAX_BYTES = 10_000
FILES = {"a.jpg": b"a" * 1000, "deep/é.jpg": b"b" * 5000, "empty.jpg": b"", "notes.txt": b"n"}


def made(files: dict[str, bytes], method: int = DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def read(data: bytes) -> tuple[dict[str, bytes | str], str]:
    """Bytes of the members, or why there are none; and what is wrong with the archive."""
    found: dict[str, bytes | str] = {}
    try:
        for entry in directory(io.BytesIO(data)):
            found[entry.name] = bytes_of(entry, data)
    except DamagedArchiveError as error:
        return found, str(error)
    return found, ""


def bytes_of(entry: ZipEntry, data: bytes) -> bytes | str:
    member = zip_member(entry)
    if member.kind == UNREADABLE:
        return member.detail
    try:
        return read_zip_member(lambda start, size: data[start : start + size], member, MAX_BYTES)
    except (DamagedArchiveError, FileTooLargeError) as error:
        return str(error)


def patched(data: bytes, offset: int, value: bytes, number: int = 0, signature: bytes = b"PK\x01\x02") -> bytes:
    """With other bytes in the n-th record that begins so."""
    place = -1
    for _ in range(number + 1):
        place = data.index(signature, place + 1)
    return data[: place + offset] + value + data[place + offset + len(value) :]


@pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh of a self-extracting archive"])
def test_reads_what_python_writes(method: int, before: bytes) -> None:
    assert read(before + made(FILES, method)) == (FILES, "")


@pytest.mark.parametrize("before", [b"", b"x" * 30_000])
def test_a_comment_may_look_like_an_end_record(before: bytes) -> None:
    comment = before + b"PK\x05\x06" + bytes(18) + b"zz"
    file = io.BytesIO(made(FILES))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = comment
    assert read(file.getvalue()) == (FILES, "")


def test_zip64_and_a_comment() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("a.jpg", "w", force_zip64=True) as member:
            member.write(b"data")
        archive.comment = b"PK" * 1000
    data = file.getvalue()
    assert read(data) == ({"a.jpg": b"data"}, "")
    entry = patched(data, 20, b"\xff" * 8)
    extra = struct.pack("<HHQQ", 1, 16, 4, 4)
    wide = patched(entry, 30, struct.pack("<H", len(extra)))
    at = wide.index(b"PK\x01\x02") + 46 + len("a.jpg")
    wide = wide[:at] + extra + wide[at:]
    wide = patched(wide, 12, struct.pack("<L", 46 + 5 + len(extra)), signature=b"PK\x05\x06")
    assert read(wide) == ({"a.jpg": b"data"}, "")
    found, _ = read(entry)
    assert found == {"a.jpg": "the directory does not tell its size"}


@pytest.mark.slow
def test_more_members_than_sixteen_bits_count() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{number}/"), b"")
    data = file.getvalue()
    assert sum(1 for _ in directory(io.BytesIO(data))) == 66_000
    # As writers without zip64 leave it.
    end = data.index(b"PK\x06\x06")
    size, start = (struct.unpack_from("<Q", data, end + at)[0] for at in (40, 48))
    plain = data[:end] + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 66_000 - 65_536, 66_000 - 65_536, size, start, 0)
    assert sum(1 for _ in directory(io.BytesIO(plain))) == 66_000


WHOLE = made({"a.jpg": b"a" * 1000, "b.jpg": b"b" * 1000}, STORED)
LIES = {
    "larger than it is": (patched(WHOLE, 24, struct.pack("<L", 2000)), "fewer than the 2000 bytes"),
    "smaller than it is": (patched(WHOLE, 24, struct.pack("<L", 10)), "more than the 10 bytes"),
    "larger than may be": (patched(WHOLE, 24, struct.pack("<L", 20_000)), "more than 10000"),
    "stored in more than there is": (
        patched(WHOLE, 20, struct.pack("<L", 2**31)),
        "reach into the archive's directory",
    ),
    "stored in what is another's": (patched(WHOLE, 20, struct.pack("<L", 1100)), "shares bytes with another"),
    "at the place of another": (patched(WHOLE, 42, struct.pack("<L", 1035)), "shares bytes with another"),
    "at no header": (patched(WHOLE, 0, b"XX", signature=b"PK\x03\x04"), "not where the directory says"),
    "of another name": (patched(WHOLE, 46, b"c"), "that of another member"),
    "of another method": (patched(WHOLE, 10, b"\x08"), "that of another member"),
    "of an unknown method": (patched(WHOLE, 10, b"\x09"), "compressed by method 9"),
    "encrypted": (patched(WHOLE, 8, b"\x01"), "encrypted"),
    "encrypted in its own header only": (patched(WHOLE, 6, b"\x01", signature=b"PK\x03\x04"), "encrypted"),
    "with another checksum": (patched(WHOLE, 16, b"\0\0\0\0"), "Bad CRC-32"),
}


@pytest.mark.parametrize(("data", "reason"), LIES.values(), ids=LIES)
def test_a_lie_about_one_member_costs_only_those_that_it_concerns(data: bytes, reason: str) -> None:
    found, wrong = read(data)
    assert wrong == ""
    first, second = found.values()
    assert isinstance(first, str)
    assert reason in first
    assert second == b"b" * 1000 or (reason.startswith("shares") and isinstance(second, str))


def test_a_member_that_inflates_without_end_is_stopped_at_what_the_directory_tells() -> None:
    data = made({"a.jpg": bytes(5_000_000)})
    assert len(data) < MAX_BYTES
    data = patched(data, 24, struct.pack("<L", 5000))
    [(_, reason)] = read(data)[0].items()
    assert "more than the 5000 bytes" in str(reason)


DAMAGE = {
    "no directory": (WHOLE[:-30], "no directory at its end"),
    "empty": (b"", "no directory at its end"),
    "a count that lies": (
        patched(WHOLE, 8, b"\7\0\7\0", signature=b"PK\x05\x06"),
        "its end record tells 7",
    ),
    "a directory larger than the file": (patched(WHOLE, 12, b"\xff" * 4, signature=b"PK\x05\x06"), "does not fit"),
    "a part of several": (patched(WHOLE, 4, b"\1\0", signature=b"PK\x05\x06"), "several files"),
    "bytes missing": (WHOLE[:500] + WHOLE[600:], "100 bytes before its directory are missing"),
    "a damaged entry": (patched(WHOLE, 0, b"XX", number=1), "no entry of its directory"),
    "a name that does not end": (patched(WHOLE, 28, b"\xff\xff", number=1), "does not end"),
    "zip64 nowhere": (
        WHOLE[:-22] + struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**60, 1) + WHOLE[-22:],
        "zip64 end record is not where",
    ),
}


@pytest.mark.parametrize(("data", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_wrong_with_a_directory_is_told_after_what_it_lists(data: bytes, reason: str) -> None:
    found, wrong = read(data)
    assert reason in wrong
    assert set(found) <= {"a.jpg", "b.jpg"}
    for name, content in found.items():
        assert isinstance(content, str) or content == name[:1].encode() * 1000


@pytest.mark.parametrize("name", ["", "nul\0.jpg", "/etc/passwd.jpg", "..\\..\\a.jpg", "\udcff.jpg"])
def test_odd_names(name: str) -> None:
    stored = name.encode("utf-8", "surrogateescape")
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0x800, 0, 0, 0, zlib.crc32(b"x"), 1, 1, len(stored), 0)
    local += stored + b"x"
    fields = (20, 20, 0x800, 0, 0, 0, zlib.crc32(b"x"), 1, 1, len(stored), 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + stored
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    assert read(local + entry + end) == ({name: b"x"}, "")
