"""`python -m benchmarks.decoding`: how much of the cores a job leaves to decoding, with a model that does nothing.

A loop around Pillow on one core, such loops in as many processes as there are cores, and jobs on the same photographs,
as files and in a tar, in turn; the ratios are those of one run. The loops side by side tell what cores have left when
all of them are busy.
"""

import argparse
import multiprocessing
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


def pillow_on(paths: list[Path], cores: int) -> float:
    """Photographs a second of a loop in each of so many processes, which have begun before the clock does."""
    with multiprocessing.Pool(cores) as pool:
        pool.map(pillow_alone, [paths[:10]] * cores, chunksize=1)
        begun = time.monotonic()
        pool.map(pillow_alone, [paths] * cores, chunksize=1)
        return cores * len(paths) / (time.monotonic() - begun)


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
    every = f"Pillow alone, {cores} processes"
    found: dict[str, list[float]] = {"Pillow alone, one core": [], every: [], "files": [], "a tar": []}
    for _ in range(args.repeats):
        found["Pillow alone, one core"].append(pillow_alone(paths[:1000]))
        found[every].append(pillow_on(paths[:1000], cores))
        for name, source in (("files", folder), ("a tar", archive)):
            found[name].append(measure(name, str(source), work, {}, None, args.count, SPEC).a_second)
    alone = statistics.median(found["Pillow alone, one core"])
    busy = statistics.median(found[every])
    print(f"| what | images a second, median | ÷ cores × one core | ÷ {cores} processes |\n|---|---|---|---|")
    for name, speeds in found.items():
        speed = statistics.median(speeds)
        print(f"| {name} | {speed:.0f} | {speed / (cores * alone):.2f} | {speed / busy:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
