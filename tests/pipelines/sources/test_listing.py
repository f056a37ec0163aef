import os
import re

import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.listing import annotated_images, list_images
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.coco import CocoCaption, CocoImage


def ids(corpus):
    return [reference.id for reference in corpus.references]


@pytest.fixture
def photos(tmp_path):
    """Five images at three depths, and four files that are none."""
    for name in (
        "b.jpg",
        "a.JPG",
        "notes.txt",
        "deep/c.Png",
        "deep/er/d.webp",
        "deep/er/e.tiff",
        "deep/jpg",
        ".nomedia",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "photos" / "f.jpg.part").write_bytes(b"x")
    return tmp_path / "photos"


def test_walks_a_folder(photos):
    corpus = list_images([str(photos)], {})
    expected = [
        f"file://{photos}/{name}" for name in ("a.JPG", "b.jpg", "deep/c.Png", "deep/er/d.webp", "deep/er/e.tiff")
    ]
    assert ids(corpus) == expected
    assert [reference.uri for reference in corpus.references] == expected
    assert (corpus.repeated, corpus.skipped, corpus.listed) == (0, {"no image suffix": 4}, 9)


def test_walks_a_remote_folder(memory):
    for name in ("p/b.jpg", "p/deep/a.PNG", "p/notes.txt"):
        memory.write(name, b"x")
    corpus = list_images([memory.uri("p")], {})
    assert ids(corpus) == [memory.uri("p/b.jpg"), memory.uri("p/deep/a.PNG")]
    assert corpus.skipped == {"no image suffix": 1}


def test_takes_what_a_glob_names_whatever_its_suffix(photos):
    assert ids(list_images([f"{photos}/*.jp*"], {})) == [f"file://{photos}/b.jpg", f"file://{photos}/f.jpg.part"]
    assert ids(list_images([f"{photos}/**/*.[Pw]*"], {})) == [
        f"file://{photos}/deep/c.Png",
        f"file://{photos}/deep/er/d.webp",
    ]
    assert ids(list_images([f"{photos}/deep/*"], {})) == [
        f"file://{photos}/deep/c.Png",
        f"file://{photos}/deep/jpg",
    ]


def test_takes_a_single_file_whatever_its_suffix(photos):
    (photos / "notes.txt").write_bytes(b"\xff\xd8\xff\xe0")
    corpus = list_images([str(photos / "notes.txt")], {})
    assert ids(corpus) == [f"file://{photos}/notes.txt"]
    assert corpus.skipped == {}


def test_counts_repeats_across_sources_once(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    sources = ["photos", str(photos / "b.jpg"), f"{photos}/deep/**/*.tiff", "./photos/a.JPG", "photos/deep/"]
    corpus = list_images(sources, {})
    assert len(corpus.references) == 5
    assert corpus.repeated == 1 + 1 + 1 + 3


def test_limit_reaches_the_listing(photos):
    assert ids(list_images([str(photos)], {}, limit=2)) == [f"file://{photos}/a.JPG", f"file://{photos}/b.jpg"]


@pytest.mark.parametrize("source", ["missing", "missing/*.jpg", "nosuch://bucket/photos"])
def test_refuses_a_source_that_is_not_there(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=re.escape(source)):
        list_images([source], {})


def test_refuses_a_folder_without_images_and_says_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"x")
    with pytest.raises(RefusedError, match="1 file there: no image suffix"):
        list_images([str(tmp_path)], {})


def test_refuses_when_one_of_two_sources_is_missing(photos):
    with pytest.raises(RefusedError, match="missing"):
        list_images([str(photos), str(photos / "missing")], {})


def test_a_name_that_is_not_utf8_is_listed(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb"):
        pass
    [uri] = ids(list_images([str(tmp_path)], {}))
    assert uri == f"file://{tmp_path}/caf\\udce9.jpg"


@pytest.mark.parametrize("source", ["photos [2020]", "photos [2020]/IMG[1].jpg"])
def test_brackets_in_an_existing_path_are_no_glob(tmp_path, source):
    (tmp_path / "photos [2020]").mkdir()
    (tmp_path / "photos [2020]" / "IMG[1].jpg").write_bytes(b"x")
    assert ids(list_images([str(tmp_path / source)], {})) == [f"file://{tmp_path}/photos [2020]/IMG[1].jpg"]


def test_a_folder_that_cannot_be_read_is_refused(photos, monkeypatch):
    scandir = os.scandir

    def closed(path):  # the tests may run as root, whom no permission stops
        if os.fspath(path).endswith("/deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(RefusedError, match="deep"):
        list_images([str(photos)], {})


CAPTIONS = (CocoCaption(11, "A cat."), CocoCaption(12, "Two cats."))
IMAGES = [CocoImage(7, "a.jpg", 640, 480, CAPTIONS), CocoImage(-8, "train/b.jpg", None, None, ())]


@pytest.mark.parametrize("slash", ["", "/"])
def test_annotated_images_lie_below_their_folder(tmp_path, slash):
    assert list(annotated_images(IMAGES, f"{tmp_path}{slash}", {})) == [
        WorkItem("7", f"file://{tmp_path}/a.jpg", "a.jpg", CAPTIONS),
        WorkItem("-8", f"file://{tmp_path}/train/b.jpg", "train/b.jpg", ()),
    ]


def test_annotated_images_below_the_root():
    assert [item.uri for item in annotated_images(IMAGES, "/", {})] == ["file:///a.jpg", "file:///train/b.jpg"]


def test_annotated_images_need_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for root in (tmp_path / "missing", tmp_path / "file", "nosuch://bucket"):
        with pytest.raises(RefusedError):
            list(annotated_images(IMAGES, str(root), {}))
