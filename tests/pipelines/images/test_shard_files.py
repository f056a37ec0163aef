import bz2
import gzip
import io
import os
import tarfile
import zipfile

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from beamscribe.pipelines.images import shard_files
from beamscribe.pipelines.images.reading import ReadFile, Reading, read_image
from beamscribe.pipelines.images.shard_files import read_shard
from beamscribe.pipelines.sources import tar_parts
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.tar_parts import LARGEST_GAP, PIECE_BYTES, Piece, pieces_of
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import TAR, Member
from tests.pipelines.fake_job import START

BOUND = 40_000


def member(start, size):
    return Member(TAR, 0, start, size)


@pytest.mark.parametrize(
    ("members", "pieces"),
    [
        ([], []),
        ([(0, 10), (10, 5)], [(0, 15, (0, 1))]),
        ([(20, 5), (0, 10)], [(0, 25, (1, 0))]),
        ([(0, 10), (0, 10), (10, 1)], [(0, 11, (0, 1, 2))]),
        ([(0, 10), (11 + LARGEST_GAP, 5)], [(0, 10, (0,)), (11 + LARGEST_GAP, 5, (1,))]),
        ([(0, 9), (9, PIECE_BYTES + 7), (PIECE_BYTES + 16, 5)], None),
        ([(0, 100), (10, 5), (100, 5)], [(0, 105, (0, 1, 2))]),
    ],
)
def test_members_in_pieces(members, pieces):
    found = list(pieces_of([member(*one) for one in members]))
    if pieces is None:
        assert [one.members for one in found] == [(0,), (1,), (2,)]
        assert found[1][:2] == members[1]
    else:
        assert found == [Piece(*one) for one in pieces]


def test_pieces_hold_all_members_and_are_bounded():
    members = [member(number * 3000, 2900) for number in range(10_000)]
    found = list(pieces_of(members))
    assert sorted(place for one in found for place in one.members) == list(range(10_000))
    assert max(one.size for one in found) <= PIECE_BYTES
    assert len(found) == -(-10_000 // (PIECE_BYTES // 3000)), "as few as that takes"
    for one in found:
        for place in one.members:
            assert one.start <= members[place].start
            assert members[place].start + members[place].size <= one.start + one.size


def archive(damaged=False):
    """A tar of everything that a listing tells apart."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name, data=b"", kind=tarfile.REGTYPE, target=""):
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, target
            tar.addfile(info, io.BytesIO(data))

        add("early.jpg", kind=tarfile.SYMTYPE, target="c.jpg")
        for name in "abcdefgh":
            add(f"{name}.jpg", os.urandom(900 + ord(name)))
            add(f"{name}.txt", b"no image " * 300)
        add("a.jpg", b"another of this name")
        add("hard.jpg", kind=tarfile.LNKTYPE, target="b.jpg")
        add("empty.jpg")
        add("large.jpg", bytes(BOUND + 1))
        add("x" * 200 + "é.jpg", b"a long name")
        add("last.jpg", os.urandom(30_000))
    data = file.getvalue()
    return data[: data.rindex(b"last.jpg") + 9000] if damaged else data


def outcome(file):
    return ("data", file.data) if isinstance(file, ReadFile) else (file.stage, file.error_type, file.message)


def compared(uri, monkeypatch):
    """What a shard of all images of an archive gives, against each image read by itself."""
    reading = Reading({}, max_bytes=BOUND)
    todo = [PendingItem(one) for one in list_images([uri], {}).references]
    alone = {item.reference.id: outcome(read_image(item, reading, START)) for item in todo}
    monkeypatch.setattr(shard_files, "read_image", None)
    todo = [item for item in todo if "::" in item.reference.id]
    files = read_shard(todo, reading, START)
    found = {(file.todo.reference.id if isinstance(file, ReadFile) else file.id): outcome(file) for file in files}
    assert len(found) == len(todo) >= 14
    assert found == {item.reference.id: alone[item.reference.id] for item in todo}
    return todo, found


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "cut off"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2"])
def test_what_is_read_together_is_what_is_read_alone(suffix, damaged, memory, tmp_path, monkeypatch):
    pack = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress}[suffix]
    data = pack(archive(damaged))
    if suffix == ".tar":
        memory.write("photos.tar", data)
        uri = memory.uri("photos.tar")
    else:
        uri = str(tmp_path / f"photos{suffix}")
        (tmp_path / f"photos{suffix}").write_bytes(data)
    monkeypatch.setattr(tar_parts, "PIECE_BYTES", 5000)
    _, found = compared(uri, monkeypatch)
    kinds = {one[0] if one[0] == "data" else one[1] for one in found.values()}
    assert {"data", "FileTooLargeError"} <= kinds


def test_a_remote_tar_costs_few_requests_and_its_bytes_once(memory, monkeypatch):
    data = archive()
    memory.write("photos.tar", data)
    todo = [PendingItem(one) for one in list_images([memory.uri("photos.tar")], {}).references]
    asked = []
    cat_file = MemoryFileSystem.cat_file

    def counting(self, path, start=None, end=None, **options):
        found = cat_file(self, path, start, end, **options)
        asked.append(len(found))
        return found

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    assert len(list(read_shard(todo, Reading({}), START))) == len(todo)
    assert len(asked) == 1
    assert sum(asked) <= len(data)


def test_a_piece_that_cannot_be_read_is_read_one_by_one(memory, monkeypatch):
    memory.write("photos.tar", archive())
    todo = [PendingItem(one) for one in list_images([memory.uri("photos.tar")], {}).references]
    cat_file = MemoryFileSystem.cat_file

    def refusing(self, path, start=None, end=None, **options):
        if end - start > 50_000:
            raise PermissionError("too much")
        return cat_file(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refusing)
    files = list(read_shard(todo, Reading({}, max_bytes=BOUND), START))
    assert sum(isinstance(file, ReadFile) for file in files) == len(todo) - 1, "all but the one that is too large"


def test_a_compressed_tar_that_is_replaced_is_told(tmp_path):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(gzip.compress(archive()))
    todo = [PendingItem(one) for one in list_images([str(path)], {}).references]
    path.write_bytes(gzip.compress(archive()) + b"\0")
    assert {file.error_type for file in read_shard(todo, Reading({}), START)} == {"ReplacedError"}


def test_a_compressed_tar_is_inflated_once_and_nowhere(tmp_path, monkeypatch):
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(gzip.compress(archive()))
    todo = [PendingItem(one) for one in list_images([str(path)], {}).references]
    passes = []
    inflated = tar_parts.inflated
    monkeypatch.setattr(tar_parts, "inflated", lambda *how: passes.append(how) or inflated(*how))
    monkeypatch.setattr("tempfile.TemporaryFile", None)
    files = list(read_shard(list(reversed(todo)), Reading({}), START))
    assert all(isinstance(file, ReadFile) for file in files)
    assert len(passes) == 1


def test_a_remote_zip_costs_few_requests_and_its_bytes_once(memory, monkeypatch):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as found:
        for number in range(40):
            found.writestr(f"{number}.jpg", os.urandom(3000))
            found.writestr(f"{number}.txt", "no image")
        long = zipfile.ZipInfo("long.jpg")
        # Beyond what is read with a member, so that it is asked for by itself.
        long.extra = b"\xfe\xca" + (8000).to_bytes(2, "little") + bytes(8000)
        found.writestr(long, b"a long header")
    data = file.getvalue()
    memory.write("photos.zip", data)
    reading = Reading({})
    todo = [PendingItem(one) for one in list_images([memory.uri("photos.zip")], {}).references]
    alone = [read_image(item, reading, START).data for item in todo]
    asked = []
    cat_file = MemoryFileSystem.cat_file

    def counting(self, path, start=None, end=None, **options):
        found = cat_file(self, path, start, end, **options)
        asked.append(len(found))
        return found

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    assert [one.data for one in read_shard(todo, reading, START)] == alone
    assert len(asked) == 2
    assert asked[0] <= len(data)
