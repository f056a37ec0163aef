"""`python -m benchmarks.listing`: what it takes to list archives in a store, none of which is read."""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from beamscribe.pipelines.sources.listing import list_images
from benchmarks.reading import delayed_store

A_FOLDER = 1000


def main() -> int:
    """Measures."""
    os.environ.pop("AWS_PROFILE", None)
    described = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__)
    described.add_argument("--archives", type=int, default=100_000, help="a thousand in each folder")
    described.add_argument("--delay", type=float, default=20.0, help="milliseconds until the store answers")
    args = described.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.archives):
            path = Path(folder, f"{number // A_FOLDER:04}", f"{number:06}.tar")
            path.parent.mkdir(exist_ok=True)
            path.touch()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with delayed_store(Path(folder), args.delay, 0.0) as address:
            storage = {"endpoint_url": address, "key": "k", "secret": "s"}
            begun = time.monotonic()
            corpus = list_images(["s3://bucket/*/*.tar"], storage, list_members=False)
            seconds = time.monotonic() - begun
            with urllib.request.urlopen(f"{address}/-/counts") as answer:
                counts = json.load(answer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(corpus.containers):,} archives in {seconds:.1f} s; {peak / 2**20:.2f} GiB, {before / 2**20:.2f} of them "
        f"before; {counts['LIST']} requests for lists, {counts['HEAD']} for single objects, {counts['GET']} for bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
