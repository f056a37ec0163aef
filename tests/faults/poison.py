"""A decoder that dies, hangs or asks for memory on some images, in whatever process has this in its PYTHONPATH."""

import os
import tempfile
from pathlib import Path

KILLS, SLEEPS, ALLOCATES = (13, 17), (17, 13), (19, 13)
"""Widths and heights."""

_SITE = f"""
import os, signal, sys, time
from PIL import ImageFile

whole = ImageFile.ImageFile.load

def load(image):
    if image.size == {KILLS}:
        os.kill(os.getpid(), signal.SIGSEGV)
    if image.size == {SLEEPS}:
        time.sleep(3600)
    if image.size == {ALLOCATES}:
        bytearray(3 * 2**30)
    return whole(image)

ImageFile.ImageFile.load = load
"""


def poisoned_python_path() -> str:
    """A PYTHONPATH whose processes have such a decoder."""
    folder = Path(tempfile.mkdtemp(prefix="poison"))
    (folder / "sitecustomize.py").write_text(_SITE)
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
