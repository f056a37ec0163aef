"""Archives as corpora: listed, read, damaged; nothing is ever unpacked."""

import os
import zipfile
from pathlib import Path

import pytest

from model.storage import Storage
from pipelines.corpora.archives import kind_of, split_chained
from pipelines.corpora.listing import list_images
from pipelines.corpora.members import MAX_MEMBER_BYTES, UnreadableMemberError, read_reference
from pipelines.corpora.reference import UNREADABLE, Reference
from schemas.command import RefusedError
from tests.pipelines.made_corpora import KINDS, write_archive, write_webdataset

FILES = {f"deep/{name}": name.encode() * 1000 for name in ("c.jpg", "a.PNG", "b.webp")}
OTHERS = {"notes.txt": b"x", "__MACOSX/deep/._c.jpg": b"x"}


def listed(*sources: str) -> list[Reference]:
    return list(list_images(sources, {}).references)


def names(references: list[Reference]) -> list[str]:
    return [reference.id.partition("::")[2] for reference in references]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_listed_in_their_order_and_read_in_any(tmp_path: Path, kind: str) -> None:
    path = write_archive(tmp_path / kind, FILES | OTHERS)
    corpus = list_images([path], {})
    assert names(list(corpus.references)) == list(FILES)
    assert corpus.references[0].uri == f"file://{path}::deep/c.jpg"
    assert corpus.skipped == {"no image suffix": len(OTHERS)}
    for reference in corpus.references[::-1]:
        assert read_reference(reference, {}) == FILES[reference.id.partition("::")[2]]
    assert os.listdir(tmp_path) == [kind]


@pytest.mark.parametrize("kind", ["plain.tar", "small.tar.gz", "deflated.zip"])
def test_remote_archives(tmp_path: Path, memory: Storage, kind: str) -> None:
    memory.write(kind, Path(write_archive(tmp_path / kind, FILES)).read_bytes())
    references = listed(memory.uri(kind))
    assert [read_reference(reference, {}) for reference in references] == list(FILES.values())


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("", ["deep/c.jpg", "deep/a.PNG", "deep/b.webp"]),
        ("deep/*.jpg", ["deep/c.jpg"]),
        ("deep", ["deep/c.jpg", "deep/a.PNG", "deep/b.webp"]),
        ("/deep/", ["deep/c.jpg", "deep/a.PNG", "deep/b.webp"]),
        ("notes.txt", ["notes.txt"]),
        ("*", ["deep/c.jpg", "deep/a.PNG", "deep/b.webp", "notes.txt"]),
    ],
)
@pytest.mark.parametrize("protocol", ["zip", "tar"])
def test_chained_urls(tmp_path: Path, protocol: str, inside: str, expected: list[str]) -> None:
    path = write_archive(tmp_path / f"stored.{protocol}", FILES | OTHERS)
    assert names(listed(f"{protocol}://{inside}::{path}")) == expected


def test_webdataset_tars_by_a_glob(tmp_path: Path) -> None:
    for number, name in enumerate(FILES):
        write_webdataset(tmp_path / f"shard-{number:03d}.tar", {name: FILES[name]})
    corpus = list_images([f"{tmp_path}/shard-*.tar"], {})
    assert names(list(corpus.references)) == list(FILES)
    assert corpus.skipped == {"no image suffix": 3}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.jpg", "/etc/shadow.jpg", "caf\udce9.jpg", "a::b.jpg", "x" * 300 + ".jpg"]
)
def test_odd_names_are_names_and_no_paths(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / "plain.tar", {name: b"data"})
    [reference] = listed(path)
    assert read_reference(reference, {}) == b"data"
    assert reference.id.encode() == f"file://{path}::{name}".encode("utf-8", "backslashreplace")
    assert os.listdir(tmp_path) == ["plain.tar"]


def test_what_is_no_archive() -> None:
    assert kind_of("photos/a.jpg") is None
    assert kind_of("photos/A.TAR.GZ") == "inflated tar"
    assert split_chained("a::b.zip") == ("", "a::b.zip")


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("plain.tar", 2560 * 8 + 1000),
        ("plain.tar", 2560 * 19 + 1000),
        ("small.tar.gz", 20_000),
        ("small.tar.gz", 40_000),
    ],
)
def test_a_tar_that_ends_early_costs_only_what_is_gone(tmp_path: Path, kind: str, size: int) -> None:
    files = {f"{number}.jpg": os.urandom(2000) for number in range(20)}
    path = Path(write_archive(tmp_path / kind, files))
    path.write_bytes(path.read_bytes()[:size])
    *references, damage = listed(str(path))
    assert len(references) >= 8
    for reference in references[:-1]:
        assert read_reference(reference, {}) == files[reference.id.partition("::")[2]]
    with pytest.raises(UnreadableMemberError, match="the archive ends after"):
        read_reference(references[-1], {})
    assert damage.id == f"file://{path}"
    assert damage.member is not None
    assert damage.member.kind == UNREADABLE
    with pytest.raises(UnreadableMemberError, match=f"the archive is damaged; {len(references)} images of it could"):
        read_reference(damage, {})


def test_rubbish_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    files = {f"{number}.jpg": b"x" * 500 for number in range(4)}
    path = Path(write_archive(tmp_path / "plain.tar", files))
    data = bytearray(path.read_bytes())
    data[2048:2560] = os.urandom(512)
    path.write_bytes(data)
    references = listed(str(path))
    assert names(references) == ["0.jpg", "1.jpg", ""]
    with pytest.raises(UnreadableMemberError, match="no header at byte 2048"):
        read_reference(references[-1], {})


def test_a_member_of_a_zip_that_is_damaged_costs_only_itself(tmp_path: Path) -> None:
    path = Path(write_archive(tmp_path / "stored.zip", FILES))
    data = path.read_bytes()
    at = data.index(b"a.PNG" * 10) + 100
    path.write_bytes(data[:at] + b"!" + data[at + 1 :])
    first, second, third = listed(str(path))
    assert read_reference(first, {}) == FILES["deep/c.jpg"]
    with pytest.raises(UnreadableMemberError, match="Bad CRC-32"):
        read_reference(second, {})
    assert read_reference(third, {}) == FILES["deep/b.webp"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_what_only_calls_itself_an_archive_is_one_failure(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is a page that says 404" * 100)
    [reference] = listed(f"{tmp_path}/{name}")
    with pytest.raises(UnreadableMemberError, match="0 images of it could be listed"):
        read_reference(reference, {})


def test_a_zip_that_promises_too_much_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_archive(tmp_path / "deflated.zip", FILES)
    monkeypatch.setattr("pipelines.corpora.members.MAX_MEMBER_BYTES", 4000)
    with pytest.raises(UnreadableMemberError, match="more than 4000"):
        read_reference(listed(path)[0], {})
    assert MAX_MEMBER_BYTES > 10**9


def test_an_encrypted_member_is_a_failure(tmp_path: Path) -> None:
    path = Path(write_archive(tmp_path / "stored.zip", {"a.jpg": b"data"}))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableMemberError, match="encrypted"):
        read_reference(listed(str(path))[0], {})


def test_an_archive_that_is_gone_since_it_was_listed(tmp_path: Path) -> None:
    for kind in ("plain.tar", "stored.zip"):
        path = write_archive(tmp_path / kind, FILES)
        [first, *_] = listed(path)
        os.unlink(path)
        with pytest.raises(FileNotFoundError):
            read_reference(first, {})


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "stored.zip", OTHERS)
    with pytest.raises(RefusedError, match="names no image; 2 files there: no image suffix"):
        listed(path)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 2
