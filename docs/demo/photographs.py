"""Copies the photographs that the scikit-image and scikit-learn wheels carry into a folder, for `make demo`.

Credits, as the packages give them: astronaut.png: NASA, public domain; camera.png: Lav Varshney, CC0; chelsea.png:
Stéfan van der Walt, CC0; coffee.png: Rachel Michetti, CC0; moon.png: no known restrictions; rocket.jpg: SpaceX, CC0;
china.jpg: danielbuechele, CC BY 2.0, flickr.com/photos/danielbuechele; flower.jpg: CC BY 2.0,
flickr.com/photos/vultilion.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

PHOTOGRAPHS = {
    "skimage": ("data", ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "moon.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


def copy_photographs(folder: Path) -> None:
    """Copies the photographs into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, (subfolder, names) in PHOTOGRAPHS.items():
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            sys.exit(f"{package} is not installed: pip install -e '.[demo]'")
        for name in names:
            shutil.copy(Path(found.origin).parent / subfolder / name, folder / name)


if __name__ == "__main__":
    copy_photographs(Path(sys.argv[1]))
