"""Images that kill or hang their decoder, in a process that only they can harm."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.backbone.spec import BackboneSpec
from pipelines.commits.shards import Todo
from pipelines.corpora.listing import list_images
from pipelines.corpora.reference import Reference
from pipelines.images.isolation import load_images_apart
from pipelines.images.reading import LoadedImage, Reading
from tests.faults.poison import KILLS, SLEEPS, poisoned_python_path
from tests.pipelines.fake_job import START
from tests.pipelines.made_corpora import write_archive

SPEC = BackboneSpec("tiny", (4, 6), (1, 1, 1))


def image(folder: Path, name: str, size: tuple[int, int]) -> Todo:
    path = folder / name
    Image.new("RGB", size, (10, 20, 30)).save(path)
    return Todo(Reference(name, str(path)))


def test_the_guilty_fail_and_the_others_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", poisoned_python_path())
    sizes = {"1": (12, 8), "2": KILLS, "3": (9, 9), "4": SLEEPS, "5": (5, 5)}
    todo = [image(tmp_path, f"{name}.png", size) for name, size in sizes.items()]
    todo.append(Todo(Reference("6", str(tmp_path / "missing.png"))))
    began = time.monotonic()
    found = list(load_images_apart(todo, SPEC, Reading({}), START, limit_seconds=2))
    assert time.monotonic() - began < 60
    told = [
        (item.todo.reference.id, "") if isinstance(item, LoadedImage) else (item.id, item.error_type) for item in found
    ]
    assert told == [
        ("1.png", ""),
        ("2.png", "DecoderDied"),
        ("3.png", ""),
        ("4.png", "DecoderHung"),
        ("5.png", ""),
        ("6", "FileNotFoundError"),
    ]
    assert signal.Signals.SIGSEGV.name in found[1].message
    assert found[1].attempts == 1
    assert np.array_equal(found[0].image.pixels[0, 0], (10, 20, 30))


def test_no_process_is_left(tmp_path: Path) -> None:
    loaded = load_images_apart([image(tmp_path, "a.png", (5, 5))] * 2, SPEC, Reading({}), START, limit_seconds=60)
    next(loaded)
    children = set(_children())
    loaded.close()
    assert not children & set(_children())


def _children() -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(os.getpid()).children() if "spawn_main" in " ".join(child.cmdline())]


def test_members_of_archives_are_read_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", poisoned_python_path())
    files = {}
    for name, size in {"1.png": (12, 8), "2.png": KILLS, "3.png": (9, 9)}.items():
        image(tmp_path, name, size)
        files[name] = (tmp_path / name).read_bytes()
    references = list_images([write_archive(tmp_path / "deflated.zip", files)], {}).references
    found = list(load_images_apart([Todo(item) for item in references], SPEC, Reading({}), START, limit_seconds=20))
    assert [type(item).__name__ for item in found] == ["LoadedImage", "FailureRow", "LoadedImage"]
