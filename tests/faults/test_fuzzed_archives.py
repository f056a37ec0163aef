"""Archives of every kind, whole and mutated, against what Python's own readers find in them.

`BEAMSCRIBE_EXAMPLES=5000` tries so many of each.
"""

import contextlib
import hashlib
import io
import os
import random
import tarfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources.archives import kind_of, list_archive
from beamscribe.pipelines.sources.corpus import Skipped
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.work.work_item import UNREADABLE, WorkItem
from tests.pipelines.sources.made_tars import COMPRESS

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))

SLOWEST_SECONDS = 10

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NAMES = (
    "a.jpg",
    "b.PNG",
    "deep/c.jpg",
    "é.webp",
    "caf\udce9.jpg",
    "notes.txt",
    "._a.jpg",
    "x" * 90 + ".jpg",
    "a.jpg#2",
)
LONG = "long/" * 40 + "d.jpg"
TYPES = {
    "file": tarfile.REGTYPE,
    "hard": tarfile.LNKTYPE,
    "symbolic": tarfile.SYMTYPE,
    "folder": tarfile.DIRTYPE,
    "device": tarfile.CHRTYPE,
}

MEMBERS = st.lists(
    st.tuples(
        st.sampled_from((*NAMES, LONG)),
        st.sampled_from(("file",) * 6 + tuple(TYPES)[1:]),
        st.binary(max_size=1500) | st.integers(0, 3000).map(bytes),
        st.sampled_from((*NAMES, "../a.jpg", "/etc/passwd", "deep", "nowhere.jpg")),
    ),
    max_size=12,
)
WHOLE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Items = list[WorkItem]


def make_tar(members: list[tuple[str, str, bytes, str]], format: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[format]) as tar:
        for name, kind, data, target in members:
            info = tarfile.TarInfo(name[-30:] if format == "ustar" else name)
            info.type = TYPES[kind]
            info.linkname = target if kind in ("hard", "symbolic") else ""
            info.size = len(data) if kind == "file" else 0
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def make_zip(members: list[tuple[str, str, bytes, str]], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, kind, data, _ in members:
            stored = name.encode("utf-8", "replace").decode()
            archive.writestr(f"{stored}/" if kind == "folder" else stored, b"" if kind == "folder" else data)
    return file.getvalue()


def found_in(path: Path) -> tuple[Items, Counter[str]]:
    """References and what was skipped."""
    kind = kind_of(str(path))
    assert kind
    references: Items = []
    skipped: Counter[str] = Counter()
    for one in list_archive(f"file://{path}", kind, "", {}):
        if isinstance(one, Skipped):
            skipped[one.reason] += one.count
        else:
            references.append(one)
    return references, skipped


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
@WHOLE
@given(MEMBERS, st.sampled_from(tuple(FORMATS)), st.sampled_from(tuple(COMPRESS)))
def test_items_and_skipped_are_what_a_tar_names(
    tmp_path: Path, members: list[tuple[str, str, bytes, str]], format: str, suffix: str
) -> None:
    data = make_tar(members, format)
    path = tmp_path / f"made{suffix}"
    path.write_bytes(COMPRESS[suffix](data))
    references, skipped = found_in(path)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        named = [member for member in tar if not member.isdir()]
        own = {}
        names: Counter[str] = Counter()
        for member in named:
            names[member.name] += 1
            if member.isfile():
                own[member.name, names[member.name]] = tar.extractfile(member).read()  # type: ignore[union-attr]
    assert len(references) + skipped.total() == len(named)
    assert len({reference.id for reference in references}) == len(references)
    bytes_of = {reference.id.partition("::")[2]: read_reference(reference, {}) for reference in references}
    for (name, number), content in own.items():
        stored = name.encode("utf-8", "backslashreplace").decode()
        # The name that was stored as such makes the next number free.
        ids = [stored if number == 1 else f"{stored}#{number}", f"{stored}#{number + 1}", f"{stored}#2#2"]
        image = name.lower().endswith((".jpg", ".png", ".webp")) and not name.rpartition("/")[2].startswith("._")
        assert any(bytes_of.get(id) == content for id in ids) == image or content in bytes_of.values()
    every = set(own.values())
    assert all(content in every for content in bytes_of.values())


@pytest.mark.slow
@WHOLE
@given(MEMBERS, st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
def test_items_and_skipped_are_what_a_zip_names(
    tmp_path: Path, members: list[tuple[str, str, bytes, str]], method: int
) -> None:
    path = tmp_path / "made.zip"
    path.write_bytes(make_zip(members, method))
    references, skipped = found_in(path)
    with zipfile.ZipFile(path) as archive:
        named = [info for info in archive.infolist() if not info.is_dir()]
        every = Counter(
            digest(archive.read(info))
            for info in named
            if info.filename.lower().endswith((".jpg", ".png", ".webp")) and "._" not in info.filename
        )
    assert len(references) + skipped.total() == len(named)
    assert Counter(digest(read_reference(reference, {})) for reference in references) == every


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or cut off; in half of the cases where headers are."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        if chance.random() < 0.5:
            at = at // 512 * 512 + chance.choice((0, 100, 124, 130, 148, 156, 157, 257, 345, 386, 482))
        size = chance.choice((1, 1, 2, 8, 512, chance.randint(1, 3000)))
        action = chance.randrange(6)
        if action == 0:
            changed[at : at + size] = chance.randbytes(min(size, max(0, len(changed) - at)))
        elif action == 1:
            del changed[at : at + size]
        elif action == 2:
            changed[at:at] = changed[at : at + size]
        elif action == 3 and at < len(changed):
            changed[at] = chance.choice((0, 0x80, 0xFF, ord("S"), ord("1"), ord("x"), ord("L")))
        elif action == 4:
            del changed[len(changed) - chance.randrange(len(changed) // 4 + 1) :]
        else:
            number = chance.choice((b"\xff" * 8, b"\x80" + bytes(10) + b"\1", b"77777777777", bytes(8)))
            changed[at : at + len(number)] = number
    return bytes(changed)


def with_checksums(data: bytes) -> bytes:
    """A tar whose damaged headers are believed."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b"%06o\0 " % (
                sum(fixed[at : at + 512]) + 256 - sum(fixed[at + 148 : at + 156])
            )
    return bytes(fixed)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*COMPRESS, ".zip"])
def test_mutated_archives_give_true_members_or_reasons(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(f"{suffix}{os.environ.get('BEAMSCRIBE_SEED', '')}")
    content = {f"{number}/{'n' * chance.choice((3, 150))}.jpg": chance.randbytes(700 * number) for number in range(8)}
    links = [("link.jpg", "hard", b"", "1/nnn.jpg"), ("sym.jpg", "symbolic", b"", "2/nnn.jpg")]
    members = [(name, "file", data, "") for name, data in content.items()]
    true = {digest(data) for data in content.values()}
    for number in range(EXAMPLES // 4 or 1):
        if suffix == ".zip":
            data = mutated(make_zip(members, chance.choice((0, 8, 12, 14))), chance)
        else:
            tar = make_tar([*members, *links], chance.choice(tuple(FORMATS)))
            if chance.random() < 0.7:
                tar = with_checksums(mutated(tar, chance))
                data = COMPRESS[suffix](tar)
            else:
                data = mutated(COMPRESS[suffix](tar), chance)
        check(tmp_path / f"{number}{suffix}", data, true if suffix in CHECKED else None)


CHECKED = (".zip",)
"""Kinds that check what they hold; of a tar, checksums of headers are made to fit here."""


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_header_never_gives_the_bytes_of_another_member(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(f"headers {suffix}{os.environ.get('BEAMSCRIBE_SEED', '')}")
    content = {f"{number}/{'n' * chance.choice((3, 150))}.jpg": chance.randbytes(300 * number) for number in range(9)}
    members = [(name, "file", data, "") for name, data in content.items()]
    true = {digest(data) for data in content.values()}
    for number in range(EXAMPLES // 4 or 1):
        data = bytearray(make_tar(members, chance.choice(tuple(FORMATS))))
        headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
        for at in chance.sample(headers, chance.randint(1, 3)):
            data[at + chance.choice((0, 99, 124, 128, 134, 135, 156, 257, 263, 345))] ^= 1 << chance.randrange(8)
        check(tmp_path / f"{number}{suffix}", COMPRESS[suffix](bytes(data)), true)


def check(path: Path, data: bytes, true: set[str] | None) -> None:
    """Lists and reads an archive.

    Args:
        path: of it.
        data: what it is.
        true: digests of its members; None: others may be read too.
    """
    path.write_bytes(data)
    began = time.monotonic()
    references, _ = found_in(path)
    assert references or len(data) < 1024
    for reference in references:
        with contextlib.suppress(OSError):
            content = read_reference(reference, {})
            assert true is None or digest(content) in true, reference
            assert reference.member is not None
            assert reference.member.kind != UNREADABLE
    assert time.monotonic() - began < SLOWEST_SECONDS
    path.unlink()
