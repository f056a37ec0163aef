"""A listed file is read under exactly its name, wherever it is."""

import hashlib
from pathlib import Path

import pytest

from beamscribe.pipelines.images.reading import LoadedImage, Reading, load_image
from beamscribe.pipelines.sources.listing import annotated_images, list_images
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.schemas.coco import CocoImage
from tests.object_stores import ObjectStore
from tests.pipelines.fake_job import START
from tests.pipelines.images.test_reading import SPEC, png

NAMES = (
    "cat::1.jpg",
    "cat.jpg",
    "a#1.jpg",
    "b?x=1.jpg",
    "%41.jpg",
    "A.jpg",
    "c [1].jpg",
    "zip::d.jpg",
    "e:f@g.jpg",
    "~.jpg",
)
PHOTOGRAPHS = {name: png((number, 20, 30)) for number, name in enumerate(NAMES)}
DECOYS = ("cat", "zip", "a", "b")
"""What these names would be, were parts of them syntax."""


def digests(references: object, options: dict[str, object]) -> dict[str, str]:
    """Base name → digest of what is read for it."""
    found = {}
    for reference in references:  # type: ignore[attr-defined]
        loaded = load_image(PendingItem(reference), SPEC, Reading(options), START)
        assert isinstance(loaded, LoadedImage)
        found[reference.uri.rpartition("/")[2]] = loaded.sha256
    return found


EXPECTED = {name: hashlib.sha256(data).hexdigest() for name, data in PHOTOGRAPHS.items()}


@pytest.mark.parametrize("folder", ["two::parts", "a#b [1]?%41"])
def test_on_this_machine(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    for name, data in {**PHOTOGRAPHS, **dict.fromkeys(DECOYS, png((200, 0, 0)))}.items():
        (tmp_path / folder / name).write_bytes(data)
    for named in (folder, f"./{folder}/", f"file://{tmp_path}/{folder}"):
        assert digests(list_images([named], {}).references, {}) == EXPECTED
    images = [CocoImage(number, name, 0, 0, ()) for number, name in enumerate(NAMES)]
    assert digests(annotated_images(images, folder, {}), {}) == EXPECTED
    (tmp_path / folder / "list.txt").write_text("\n".join(NAMES))
    assert digests(read_manifests([f"{folder}/list.txt"], Columns(), {}).references, {}) == EXPECTED
    assert digests(list_images([f"{folder}/cat::1.jpg"], {}).references, {}) == {"cat::1.jpg": EXPECTED["cat::1.jpg"]}


def test_on_object_stores(object_store: ObjectStore) -> None:
    for name, data in PHOTOGRAPHS.items():
        object_store.put(f"two::parts/{name}", data)
    object_store.put("two::parts/list.txt", "\n".join(NAMES).encode())
    folder, options = f"{object_store.root}/two::parts", object_store.options
    assert digests(list_images([folder], options).references, options) == EXPECTED
    assert digests(read_manifests([f"{folder}/list.txt"], Columns(), options).references, options) == EXPECTED
