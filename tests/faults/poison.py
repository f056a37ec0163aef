"""A decoder that dies or hangs on images of one size, in whatever process has this in its PYTHONPATH."""

import os
import tempfile
from pathlib import Path

KILLS, SLEEPS = (13, 17), (17, 13)
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
    return whole(image)

ImageFile.ImageFile.load = load
"""


def poisoned_python_path() -> str:
    """A PYTHONPATH whose processes have such a decoder."""
    folder = Path(tempfile.mkdtemp(prefix="poison"))
    (folder / "sitecustomize.py").write_text(_SITE)
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
