"""Archives as corpora: listed, read, damaged; nothing is ever unpacked."""

import os
import warnings
import zipfile
from pathlib import Path

import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.archives import kind_of, split_chained
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.pipelines.sources.members import UnreadableMemberError, read_reference
from beamscribe.pipelines.sources.versions import ReplacedError
from beamscribe.pipelines.work.work_item import (
    INFLATED_TAR,
    OLD_INFLATED_TAR,
    OLD_TAR,
    OLD_ZIP,
    UNREADABLE,
    Member,
    WorkItem,
)
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import FileTooLargeError
from tests.pipelines.made_corpora import (
    KINDS,
    image_table,
    write_archive,
    write_arrow,
    write_image_parquet,
    write_webdataset,
)
from tests.pipelines.sources.made_tars import COMPRESS, END, by_tarfile, header, member, pax

FILES = {f"deep/{name}": name.encode() * 1000 for name in ("c.jpg", "a.PNG", "b.webp")}
OTHERS = {"notes.txt": b"x", "__MACOSX/deep/._c.jpg": b"x"}


def listed(*sources: str) -> list[WorkItem]:
    return list(list_images(sources, {}).references)


def names(references: list[WorkItem]) -> list[str]:
    return [reference.id.partition("::")[2] for reference in references]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_listed_in_their_order_and_read_in_any(tmp_path: Path, kind: str) -> None:
    path = write_archive(tmp_path / kind, FILES | OTHERS)
    corpus = list_images([path], {})
    assert names(list(corpus.references)) == list(FILES)
    assert corpus.references[0].uri == f"file://{path}::deep/c.jpg"
    assert corpus.skipped == {"no image suffix": 1, "metadata of macOS": 1}
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
    assert kind_of("photos/A.TAR.GZ") == INFLATED_TAR
    assert kind_of("https://host/a.tgz?signature=b.zip") == INFLATED_TAR
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


def test_a_zip_that_promises_too_much_is_not_inflated(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "deflated.zip", FILES)
    with pytest.raises(FileTooLargeError, match="more than 4000"):
        read_reference(listed(path)[0], {}, max_bytes=4000)


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
    with pytest.raises(
        RefusedError, match="names no image; 1 file there: metadata of macOS; 1 file there: no image suffix"
    ):
        listed(path)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 2


TARS = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def write_tar(folder: Path, suffix: str, *parts: bytes) -> str:
    """Each part is compressed on its own."""
    path = folder / f"made{suffix}"
    path.write_bytes(b"".join(map(COMPRESS[suffix], parts)))
    return str(path)


def contents(references: list[WorkItem]) -> dict[str, bytes]:
    return dict(zip(names(references), [read_reference(reference, {}) for reference in references], strict=True))


@pytest.mark.parametrize("suffix", TARS)
def test_links_are_the_files_that_they_name_and_nothing_outside(tmp_path: Path, suffix: str) -> None:
    data = b"".join(
        [
            member(b"deep/one.jpg", b"one"),
            header(b"hard.jpg", 3, b"1", b"deep/one.jpg"),
            header(b"hard/hard.jpg", 0, b"1", b"hard.jpg"),
            header(b"deep/sym.jpg", 0, b"2", b"../later.jpg"),
            header(b"chain.jpg", 0, b"2", b"./deep//sym.jpg"),
            header(b"folder", 0, b"2", b"deep/../deep"),
            header(b"through.jpg", 0, b"2", b"folder/one.jpg"),
            header(b"blob.jpg", 0, b"2", b"blobs/0a1b"),
            header(b"to-sym.jpg", 0, b"1", b"deep/sym.jpg"),
            member(b"blobs/0a1b", b"blob"),
            member(b"later.jpg", b"later"),
            # What is none:
            header(b"dangling.jpg", 0, b"2", b"nowhere.jpg"),
            header(b"loop1.jpg", 0, b"2", b"loop2.jpg"),
            header(b"loop2.jpg", 0, b"2", b"loop1.jpg"),
            header(b"self.jpg", 0, b"2", b"self.jpg/self.jpg"),
            header(b"root.jpg", 0, b"2", b"/etc/passwd"),
            header(b"out.jpg", 0, b"2", b"../etc/passwd.jpg"),
            header(b"deep/out.jpg", 0, b"2", b"../../../made.jpg"),
            header(b"all.jpg", 0, b"2", b"deep"),
            header(b"device.jpg", 0, b"3"),
            member(b"deep/._one.jpg", b"macOS"),
            END,
        ]
    )
    corpus = list_images([write_tar(tmp_path, suffix, data)], {})
    assert contents(list(corpus.references)) == {
        "deep/one.jpg": b"one",
        "hard.jpg": b"one",
        "hard/hard.jpg": b"one",
        "later.jpg": b"later",
        "deep/sym.jpg": b"later",
        "chain.jpg": b"later",
        "to-sym.jpg": b"later",
        "through.jpg": b"one",
        "blob.jpg": b"blob",
    }
    assert corpus.skipped == {
        "no image suffix": 2,
        "link to nothing in its archive": 1,
        "link in a loop": 3,
        "link out of its archive": 3,
        "link to a folder": 1,
        "device, pipe or label": 1,
        "metadata of macOS": 1,
    }
    assert corpus.listed == 21


def test_a_hard_link_is_the_file_that_had_the_name_before_it(tmp_path: Path) -> None:
    again = header(b"link.jpg", 0, b"1", b"a.jpg") + member(b"a.jpg", b"second") + header(b"s.jpg", 0, b"2", b"a.jpg")
    path = write_tar(tmp_path, ".tar", member(b"a.jpg", b"first") + again + END)
    expected = {"a.jpg": b"first", "link.jpg": b"first", "a.jpg#2": b"second", "s.jpg": b"second"}
    assert contents(listed(path)) == expected


def test_symbolic_links_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, target in (("deep/link.jpg", "../a.jpg"), ("out.jpg", "/etc/passwd"), ("long.jpg", "x" * 5000)):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
        archive.writestr("a.jpg", b"data")
    corpus = list_images([str(path)], {})
    long, real, link = corpus.references
    assert read_reference(real, {}) == read_reference(link, {}) == b"data"
    assert names([real, link]) == ["a.jpg", "deep/link.jpg"]
    assert corpus.skipped == {"link out of its archive": 1}
    with pytest.raises(UnreadableMemberError, match="symbolic link that cannot be read"):
        read_reference(long, {})


@pytest.mark.parametrize("suffix", TARS)
def test_archives_one_behind_the_other_and_names_that_come_again(tmp_path: Path, suffix: str) -> None:
    first = by_tarfile([("a.jpg", b"1"), ("b.jpg", b"2"), ("a.jpg#2", b"named so")])
    second = by_tarfile([("a.jpg", b"3"), ("b.txt", b"4")]) + by_tarfile([("a.jpg", b"5"), ("b.jpg", b"6")])
    path = write_tar(tmp_path, suffix, first, second)
    expected = {"a.jpg": b"1", "b.jpg": b"2", "a.jpg#3": b"3", "a.jpg#4": b"5", "b.jpg#2": b"6"}
    corpus = list_images([path], {})
    assert contents(list(corpus.references)) == expected
    assert (corpus.skipped, corpus.repeated, corpus.listed) == ({"no image suffix": 2}, 0, 7)
    # What is asked for inside does not change what members are called.
    only = f"tar://a*::{path}" if suffix == ".tar" else ""
    if only:
        assert names(listed(only)) == ["a.jpg", "a.jpg#2", "a.jpg#3", "a.jpg#4"]
        assert read_reference(listed(only)[1], {}) == b"named so"


def test_names_that_come_again_in_a_zip_and_names_that_only_look_the_same(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in (b"1", b"2"):
            archive.writestr("a.jpg", data)
    assert contents(listed(str(path))) == {"a.jpg": b"1", "a.jpg#2": b"2"}
    tar = write_tar(tmp_path, ".tar", member(b"\xff.jpg", b"3") + member(b"\\udcff.jpg", b"4") + END)
    assert contents(listed(tar)) == {"\\udcff.jpg": b"3", "\\udcff.jpg#2": b"4"}


@pytest.mark.parametrize("suffix", [*TARS, ".zip"])
@pytest.mark.parametrize("same_headers", [False, True], ids=["other headers", "the same headers"])
def test_an_archive_that_was_replaced_after_it_was_listed(tmp_path: Path, suffix: str, same_headers: bool) -> None:
    path = tmp_path / f"made{suffix}"
    old = {f"{number}.jpg": os.urandom(500) for number in range(4)}
    new = {name if same_headers else f"new-{name}": os.urandom(500) for name in old}

    def write(files: dict[str, bytes]) -> None:
        if suffix == ".zip":
            write_archive(path, files)
        else:
            write_tar(tmp_path, suffix, by_tarfile(list(files.items())))

    write(old)
    references = listed(str(path))
    assert read_reference(references[0], {}) == old["0.jpg"]
    write(new)
    for reference in references:
        with pytest.raises(ReplacedError, match="run again with --retry-failed"):
            read_reference(reference, {})
    assert contents(listed(str(path))) == new


def test_a_member_is_not_taken_for_another_even_where_no_version_tells(tmp_path: Path) -> None:
    for kind in ("plain.tar", "small.tar.gz", "stored.zip"):
        path = Path(write_archive(tmp_path / kind, {"a.jpg": b"1" * 500, "b.jpg": b"2" * 500}))
        references = [with_version(reference, "") for reference in listed(str(path))]
        write_archive(path, {"b.jpg": b"2" * 500, "a.jpg": b"1" * 500})
        for reference in references:
            with pytest.raises(UnreadableMemberError, match="replaced|another member"):
                read_reference(reference, {})


@pytest.mark.slow
def test_a_table_that_was_replaced_after_it_was_listed(tmp_path: Path) -> None:
    for path in (tmp_path / "a.parquet", tmp_path / "a.arrow"):

        def write(first: bytes, path: Path = path) -> None:
            files = {"a.jpg": first, "b.jpg": b"2" * 500}
            if path.suffix == ".parquet":
                write_image_parquet(path, files)
            else:
                write_arrow(path, image_table(files), stream=False)

        write(b"1" * 500)
        references = list(read_manifests([str(path)], Columns(), {}).references)
        assert read_reference(references[0], {}) == b"1" * 500
        write(b"3" * 501)
        for reference in references:
            with pytest.raises(ReplacedError):
                read_reference(reference, {})


def with_version(reference: WorkItem, version: str) -> WorkItem:
    assert reference.member is not None
    return reference._replace(member=reference.member._replace(version=version))


def test_versions_of_remote_archives(tmp_path: Path, memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamscribe.pipelines.sources.versions.VALID_SECONDS", 0.0)
    for kind in ("plain.tar", "stored.zip"):
        memory.write(kind, Path(write_archive(tmp_path / kind, {"a.jpg": b"1"})).read_bytes())
        [reference] = listed(memory.uri(kind))
        assert read_reference(reference, {}) == b"1"
        memory.write(kind, Path(write_archive(tmp_path / kind, {"a.jpg": b"2"})).read_bytes())
        with pytest.raises(ReplacedError):
            read_reference(with_version(reference, reference.member.version), {})  # type: ignore[union-attr]


def test_no_image_has_more_bytes_than_are_read(tmp_path: Path) -> None:
    holes = pax([("GNU.sparse.size", b"99999999"), ("GNU.sparse.map", b"0,10")]) + member(b"holes.jpg", b"x" * 10)
    data = member(b"large.jpg", bytes(5000)) + holes + member(b"a.jpg", b"data") + END
    for suffix in TARS:
        large, sparse, small = listed(write_tar(tmp_path, suffix, data))
        for reference in (large, sparse):
            with pytest.raises(FileTooLargeError, match="more than 4999; --max-bytes"):
                read_reference(reference, {}, max_bytes=4999)
        assert read_reference(small, {}, max_bytes=4999) == b"data"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", TARS[1:])
def test_what_inflates_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr("beamscribe.pipelines.sources.inflating.ALLOWANCE", 2**20)
    data = member(b"a.jpg", b"data") + member(b"video.mp4", bytes(2**25)) + member(b"b.jpg", b"data") + END
    first, damage = listed(write_tar(tmp_path, suffix, data))
    assert read_reference(first, {}) == b"data"
    with pytest.raises(UnreadableMemberError, match="1 image of it .* inflates to more than 100"):
        read_reference(damage, {})


@pytest.mark.parametrize("suffix", TARS[1:])
def test_garbage_behind_what_is_compressed(tmp_path: Path, suffix: str) -> None:
    path = Path(write_tar(tmp_path, suffix, by_tarfile([("a.jpg", b"data")])))
    path.write_bytes(path.read_bytes() + b"garbage" * 3)
    first, damage = listed(str(path))
    assert read_reference(first, {}) == b"data"
    with pytest.raises(UnreadableMemberError, match="1 image of it could be listed"):
        read_reference(damage, {})


def test_references_of_version_0_1_are_still_read(tmp_path: Path) -> None:
    for kind in ("plain.tar", "small.tar.gz", "stored.zip"):
        path = write_archive(tmp_path / kind, FILES)
        old_kind = {"plain.tar": OLD_TAR, "small.tar.gz": OLD_INFLATED_TAR, "stored.zip": OLD_ZIP}[kind]
        start = 1 if kind == "stored.zip" else 512 + 5120 + 512
        old = WorkItem("id", "id", container=f"file://{path}", member=Member(old_kind, 1, start, 5000))
        assert read_reference(old, {}) == FILES["deep/a.PNG"]
