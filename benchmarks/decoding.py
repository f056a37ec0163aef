"""`python -m benchmarks.decoding`: how much of the cores a job leaves to decoding, with a model that does nothing.

A loop around Pillow on one core, and jobs on the same photographs, as files and in a tar, in turn; the ratios are those
of one run.
"""

import argparse
import os
import statistics
import sys
import tarfile
import time
from pathlib import Path

from PIL import Image

from beamscribe.model.backbone.spec import BackboneSpec
from benchmarks.reading import measure, photographs

SPEC = BackboneSpec("null", (299, 299), (1, 1, 1))


def pillow_alone(paths: list[Path]) -> float:
    """Photographs a second that a loop reads, decodes and resizes."""
    begun = time.monotonic()
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB").resize(SPEC.input_size, Image.Resampling.BILINEAR)
    return len(paths) / (time.monotonic() - begun)


def main() -> int:
    described = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    described.add_argument("--images", required=True, help="folder of photographs")
    described.add_argument("--work", default="benchmark-output/decoding", help="folder for archives and outputs")
    described.add_argument("--count", type=int, default=6000, help="photographs of a job")
    described.add_argument("--repeats", type=int, default=3, help="of each measurement")
    args = described.parse_args()
    work = Path(args.work).resolve()
    folder = photographs(args.images, work, args.count)
    paths = sorted(folder.iterdir())
    archive = work / f"images-{args.count}.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in paths:
            tar.add(path, path.name)
    cores = os.cpu_count() or 1
    found: dict[str, list[float]] = {"Pillow alone, one core": [], "files": [], "a tar": []}
    for _ in range(args.repeats):
        found["Pillow alone, one core"].append(pillow_alone(paths[:1000]))
        for name, source in (("files", folder), ("a tar", archive)):
            found[name].append(measure(name, str(source), work, {}, None, args.count, SPEC).a_second)
    alone = statistics.median(found["Pillow alone, one core"])
    print("| what | images a second, median | ÷ cores × Pillow alone |\n|---|---|---|")
    for name, speeds in found.items():
        print(f"| {name} | {statistics.median(speeds):.0f} | {statistics.median(speeds) / (cores * alone):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
