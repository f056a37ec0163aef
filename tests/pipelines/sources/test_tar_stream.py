"""Members of tars: what they are called, and their own bytes or the reason why those cannot be told."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from beamscribe.pipelines.sources.damage import DamagedArchiveError
from beamscribe.pipelines.sources.tar_source import PiecesSource, SeekableSource
from beamscribe.pipelines.sources.tar_stream import (
    DIRECTORY,
    FILE,
    MAX_HEADER_BYTES,
    MAX_ZERO_BYTES,
    TarEntry,
    content,
    walk,
)
from tests.pipelines.sources.made_tars import END, by_tarfile, header, member, octal, padded, pax

A, B = b"a" * 700, b"b" * 1024


def read(data: bytes) -> tuple[list[tuple[str, bytes | str]], str]:
    """Names and bytes of the files (or why there are none), and what is wrong with the archive."""
    found: list[tuple[str, bytes | str]] = []
    try:
        for entry in walk(SeekableSource(io.BytesIO(data), len(data))):
            if entry.kind == FILE:
                found.append((entry.name, bytes_of(entry, data)))
    except DamagedArchiveError as error:
        return found, str(error)
    return found, ""


def bytes_of(entry: TarEntry, data: bytes) -> bytes | str:
    try:
        return content(entry, data[entry.start : entry.start + entry.size])
    except DamagedArchiveError as error:
        return str(error)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_length_in_every_format(format: int) -> None:
    names = ["a.jpg", "f/" * 40 + "b" * 70 + ".jpg", "é" * 40 + ".jpg", "caf\udce9.jpg"]
    names += [] if format == tarfile.USTAR_FORMAT else ["x" * 3000 + ".jpg"]
    files = [(name, name.encode("utf-8", "surrogateescape")) for name in names]
    assert read(by_tarfile(files, format)) == (files, "")


def test_a_stream_of_pieces_is_read_as_a_file_is() -> None:
    data = by_tarfile([("a", A), ("b", B), ("c", b"")])
    for size in (1, 7, 512, 10_000):
        source = PiecesSource(data[start : start + size] for start in range(0, len(data), size))
        found = []
        for entry in walk(source):
            # Bytes may be read on the way, or not.
            found.append((entry.name, source.read(entry.size) if entry.name != "b" else b""))
        assert found == [("a", A), ("b", b""), ("c", b"")]


def test_archives_one_behind_the_other() -> None:
    data = by_tarfile([("a", A)]) + by_tarfile([("b", B)]) + padded(member(b"c", A)) + END
    assert read(data) == ([("a", A), ("b", B), ("c", A)], "")


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
def test_what_gnu_tar_concatenates_and_makes_sparse(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(A)
    holes = b"x" * 4096 + bytes(2**20) + b"y" * 5000
    with (tmp_path / "holes").open("wb") as file:
        file.write(b"x" * 4096)
        file.seek(2**20, 1)
        file.write(b"y" * 5000)
    subprocess.run(["tar", "-cf", "one.tar", "a"], cwd=tmp_path, check=True)
    for number, flags in enumerate((["--format=gnu"], *[["--format=pax", f"--sparse-version={v}"] for v in SPARSE])):
        two = f"two{number}.tar"
        subprocess.run(["tar", *flags, "--sparse", "-cf", two, "holes", "a"], cwd=tmp_path, check=True)
        subprocess.run(["tar", "--concatenate", "-f", two, "one.tar"], cwd=tmp_path, check=True)
        data = (tmp_path / two).read_bytes()
        assert len(data) < 2**19
        assert read(data) == ([("holes", holes), ("a", A), ("a", A)], ""), flags


SPARSE = ("0.0", "0.1", "1.0")


def test_many_holes_in_gnus_old_format() -> None:
    parts = [(number * 100, 10) for number in range(60)]
    maps = [octal(offset) + octal(size) for offset, size in parts]
    first = header(b"holes", 600, b"S", magic=b"ustar  \0", at={386: b"".join(maps[:4]), 482: b"\1", 483: octal(6000)})
    more = [b"".join(maps[start : start + 21]) for start in range(4, 60, 21)]
    blocks = [part.ljust(504, b"\0") + (b"\1" if part is not more[-1] else b"\0") for part in more]
    data = first + b"".join(map(padded, blocks)) + padded(b"0123456789" * 60) + member(b"a", A) + END
    whole = bytearray(6000)
    for offset, size in parts:
        whole[offset : offset + size] = b"0123456789"
    assert read(data) == ([("holes", bytes(whole)), ("a", A)], "")


SPARSE_1 = [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"s")]
WRONG_MAPS = {
    "of more than is stored": [("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"0,1024,1500,500")],
    "of less than is stored": [("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"0,700")],
    "backwards": [("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"1000,500,0,524")],
    "beyond its size": [("GNU.sparse.size", b"1000"), ("GNU.sparse.map", b"0,1024")],
    "missing": [*SPARSE_1, ("GNU.sparse.realsize", b"3000")],
    "as star has it": [("SCHILY.realsize", b"3000")],
}


@pytest.mark.parametrize("records", WRONG_MAPS.values(), ids=WRONG_MAPS)
def test_a_sparse_file_whose_map_is_wrong_is_named_sparse(records: list[tuple[str, bytes]]) -> None:
    data = pax(records) + member(b"s", B) + member(b"a", A) + END
    [(name, reason), after], wrong = read(data)
    assert (name, after, wrong) == ("s", ("a", A), "")
    assert isinstance(reason, str)
    assert "sparse" in reason


def test_sizes_of_extended_headers_and_in_binary() -> None:
    binary = b"\x80" + (700).to_bytes(11, "big")
    data = (
        pax([("size", b"700"), ("path", b"p\xff")]) + header(b"x", 0) + padded(A) + member(b"b", A, size=binary) + END
    )
    assert read(data) == ([("p\udcff", A), ("b", A)], "")


def test_members_that_are_no_files() -> None:
    data = b"".join(header(b"n", 512, type) for type in (b"2", b"3", b"4", b"5", b"6"))
    data += header(b"old/", 0, b"\0") + member(b"dump/", A, type=b"D") + member(b"cut", A, type=b"M")
    data += member(b"new", A, type=b"Z") + member(b"a", A) + END
    found, wrong = read(data)
    assert [name for name, _ in found] == ["cut", "new", "a"]
    assert "another archive" in str(found[0][1])
    assert "unknown type b'Z'" in str(found[1][1])
    assert (found[2][1], wrong) == (A, "")
    kinds = {entry.name: entry.kind for entry in walk(SeekableSource(io.BytesIO(data), len(data)))}
    assert kinds["old/"] == kinds["dump/"] == DIRECTORY


def test_a_hard_link_with_or_without_its_bytes() -> None:
    without = header(b"l", 700, b"1", b"a")
    data = member(b"a", A) + without + member(b"b", B) + without + padded(A) + member(b"c", A) + without + END
    assert read(data) == ([("a", A), ("b", B), ("c", A)], "")


LIES = {
    "negative": (member(b"n", A, size=b"\xff" * 11 + b"\0"), "size that cannot be"),
    "beyond": (member(b"n", A, size=b"\x80" + b"\x40" + bytes(10)), "size that cannot be"),
    "no number": (member(b"n", A, size=b"12_4\0"), "no number"),
    "words for a size": (pax([("size", b"many")]) + member(b"n", A), "no size where one must be"),
    "negative in pax": (pax([("size", b"-512")]) + member(b"n", A), "no size where one must be"),
    "a list that is none": (member(b"p", b"99 path=x\n", type=b"x") + member(b"n", A), "no list of records"),
    "a name for all": (pax([("path", b"x.jpg")], b"g") + member(b"n", A), "gives all members one name"),
    "endless headers": (header(b"p", 2**40, b"x") + member(b"n", A), f"more than {MAX_HEADER_BYTES}"),
    "headers of headers": (member(b"l", b"n" * 1000, type=b"L") * 700, f"more than {MAX_HEADER_BYTES}"),
    "endless zeros": (bytes(MAX_ZERO_BYTES + 512) + member(b"n", A), "bytes of zeros"),
    "rubbish": (b"rubbish!" * 64 + member(b"n", A), "no header at byte 1536"),
    "a piece of a block": (b"rubbish", "no header at byte 1536"),
    "cut off": (b"", "without the zeros that end an archive"),
}


@pytest.mark.parametrize(("data", "reason"), LIES.values(), ids=LIES)
def test_a_lie_ends_the_archive_after_what_comes_before(data: bytes, reason: str) -> None:
    end = b"" if len(data) < 512 else END
    found, wrong = read(member(b"a", A) + data + end)
    assert found == [("a", A)]
    assert reason in wrong


def test_cut_at_every_block() -> None:
    files = [("a", A), ("l" * 200, B), ("c", A)]
    whole = by_tarfile(files)
    used = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for size in range(0, used + 1, 256):
        found, wrong = read(whole[:size])
        assert wrong, size
        complete = [item for item in found if isinstance(item[1], bytes)]
        assert complete == files[: len(complete)]
        assert len(found) - len(complete) <= 1
    assert read(whole[: used + 512]) == (files, "")
