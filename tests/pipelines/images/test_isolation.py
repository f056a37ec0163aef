"""Images that kill or hang their decoder, in a process that only they can harm."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.pipelines.images.isolation import load_images_apart
from beamscribe.pipelines.images.reading import LoadedImage, Reading
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.pipelines.work.work_item import WorkItem
from tests.faults.poison import ALLOCATES, KILLS, SLEEPS, poisoned_python_path
from tests.pipelines.fake_job import START
from tests.pipelines.made_corpora import write_archive

pytestmark = pytest.mark.slow

SPEC = BackboneSpec("tiny", (4, 6), (1, 1, 1))


def image(folder: Path, name: str, size: tuple[int, int]) -> PendingItem:
    path = folder / name
    Image.new("RGB", size, (10, 20, 30)).save(path)
    return PendingItem(WorkItem(name, str(path)))


def test_the_guilty_fail_and_the_others_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", poisoned_python_path())
    sizes = {"1": (12, 8), "2": KILLS, "3": (9, 9), "4": SLEEPS, "5": (5, 5), "7": ALLOCATES, "8": (5, 5)}
    todo = [image(tmp_path, f"{name}.png", size) for name, size in sizes.items()]
    todo.append(PendingItem(WorkItem("6", str(tmp_path / "missing.png"))))
    began = time.monotonic()
    reading = Reading({}, max_pixels=10_000, keep_files=True)
    found = list(load_images_apart(todo, SPEC, reading, START, limit_seconds=2))
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
        ("7.png", "DecodeFailed"),
        ("8.png", ""),
        ("6", "FileNotFoundError"),
    ]
    assert signal.Signals.SIGSEGV.name in found[1].message
    assert found[1].attempts == 1
    assert "MemoryError" in found[5].message
    assert np.array_equal(found[0].image.pixels[0, 0], (10, 20, 30))
    # What is written beside rows comes back from that process too.
    assert found[0].file == ("png", (tmp_path / "1.png").read_bytes())


def test_no_process_is_left(tmp_path: Path) -> None:
    loaded = load_images_apart([image(tmp_path, "a.png", (5, 5))] * 2, SPEC, Reading({}), START, limit_seconds=60)
    next(loaded)
    children = set(_children(os.getpid()))
    assert isinstance(loaded, Generator)
    loaded.close()
    assert not children & set(_children(os.getpid()))


def _children(parent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(parent).children() if "spawn_main" in " ".join(child.cmdline())]


def test_members_of_archives_are_read_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", poisoned_python_path())
    files = {}
    for name, size in {"1.png": (12, 8), "2.png": KILLS, "3.png": (9, 9)}.items():
        image(tmp_path, name, size)
        files[name] = (tmp_path / name).read_bytes()
    references = list_images([write_archive(tmp_path / "deflated.zip", files)], {}).references
    found = list(
        load_images_apart([PendingItem(item) for item in references], SPEC, Reading({}), START, limit_seconds=20)
    )
    assert [type(item).__name__ for item in found] == ["LoadedImage", "FailureRow", "LoadedImage"]


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    todo = image(tmp_path, "1.png", SLEEPS)
    script = tmp_path / "parent.py"
    script.write_text(
        "from tests.pipelines.images.test_isolation import *\n"
        "if __name__ == '__main__':\n"
        f"    todo = [PendingItem(WorkItem('1', {todo.reference.uri!r}))]\n"
        "    list(load_images_apart(todo, SPEC, Reading({}), START, limit_seconds=3600))\n"
    )
    path = os.pathsep.join((poisoned_python_path(), os.getcwd()))
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": path})
    try:
        child = wait_for(lambda: next(iter(_children(parent.pid)), None))
        # It is in the middle of the image, not on its way there.
        wait_for(lambda: child.cpu_times().user > 0 and "sleep" in child.status() and child.num_threads() > 2)
        time.sleep(2)
        assert child.is_running()
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def wait_for(found: Callable[[], Any], seconds: float = 90) -> Any:
    ends = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return value


def test_a_compressed_archive_may_take_longer_than_an_image_as_long_as_bytes_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = image(tmp_path, "1.png", (5, 5))
    path = write_archive(
        tmp_path / "slow.tar.gz", {"a.txt": os.urandom(400_000), "1.png": Path(photo.reference.uri).read_bytes()}
    )
    references = list_images([path], {}).references
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        "import beamscribe.pipelines.sources.inflating as inflating, time\n"
        "read = inflating._read\n"
        "def slowly(file, consumed):\n"
        "    time.sleep(0.7)\n"
        "    return read(file, consumed)\n"
        "inflating._read = slowly\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(slow), os.getcwd())))
    # Six reads of 0.7 s each.
    [found] = load_images_apart([PendingItem(references[0])], SPEC, Reading({}), START, limit_seconds=3)
    assert isinstance(found, LoadedImage), found
