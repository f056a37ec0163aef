"""`python -m benchmarks.reading`: whether storage that answers late is visible, with a model that does nothing.

Every line is the same job on the same photographs; the ratios are those of one run.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from beamscribe.model.backbone.spec import BackboneSpec
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.runtime.flags.jobs import job_flags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage
from benchmarks.small import SPEC, NullJob


class Line(NamedTuple):
    """What one job took.

    Attributes:
        name: what was read, and how.
        images: of the job.
        seconds: from the listing to the last line.
        listing_seconds: of these, until the listing was there.
        core_seconds: of this process, which lists, reads, decodes and commits.
        counts: of the store.
    """

    name: str
    images: int
    seconds: float
    listing_seconds: float
    core_seconds: float
    counts: dict[str, int]

    @property
    def a_second(self) -> float:
        """Images, once they are listed."""
        return self.images / (self.seconds - self.listing_seconds)


def photographs(folder: str, work: Path, count: int) -> Path:
    """So many photographs, as links to those of a folder in turn."""
    found = sorted(Path(folder).glob("*.jpg"))
    if not found:
        raise SystemExit(f"{folder} holds no photograph whose name ends with .jpg")
    images = work / f"images-{count}"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        link = images / f"{number:06}.jpg"
        if not link.exists():
            link.symlink_to(found[number % len(found)].resolve())
    return images


@contextlib.contextmanager
def delayed_store(folder: Path, delay_msec: float, failing_percent: float) -> Iterator[str]:
    """The address of a store in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.delayed_store", str(folder), str(delay_msec), str(failing_percent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def measure(
    name: str,
    source: str,
    work: Path,
    storage: dict[str, Any],
    io_threads: int | None,
    limit: int,
    spec: BackboneSpec = SPEC,
) -> Line:
    """One job."""
    output = work / "output"
    shutil.rmtree(output, ignore_errors=True)
    argv = ["--images", source, "--output", str(output), "--model", "null"]
    args, beam_options = options.parse(parser(), argv)
    cores, begun = time.process_time(), time.monotonic()
    corpus = list_images([source], storage, limit)
    listed = time.monotonic() - begun
    code = launch(
        Request(
            job=NullJob(Reading(storage, io_threads=io_threads), spec),
            corpus=corpus,
            output=Storage(str(output), {}),
            fingerprint=Fingerprint({"model": "null"}),
            details={},
            flags=job_flags(args),
            options=beam_options,
        )
    )
    if code:
        raise SystemExit(f"{name}: the job ended with {code}")
    seconds = time.monotonic() - begun
    return Line(name, len(corpus.references), seconds, listed, time.process_time() - cores, {})


def measure_store(work: Path, folder: Path, delay: float, failing: float, threads: int | None, limit: int) -> Line:
    """One job that reads from a store."""
    with delayed_store(folder, delay, failing) as address:
        storage = {"endpoint_url": address, "key": "k", "secret": "s"}
        failures = f", {failing:g} % of answers 503" if failing else ""
        name = f"store, {delay:g} ms{failures}{f', {threads} reads at once' if threads else ''}"
        line = measure(name, "s3://bucket/", work, storage, threads, limit)
        with urllib.request.urlopen(f"{address}/-/counts") as answer:
            return line._replace(counts=json.load(answer))


def table(lines: list[Line]) -> str:
    """For people."""
    reference = next((line for line in lines if line.name == "store, 0 ms"), lines[0])
    told = [
        "| what | images a second | ÷ no delay | core-ms an image | listing, s | requests an image | reads at once |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        asked = sum(line.counts.get(kind, 0) for kind in ("GET", "HEAD", "503")) / line.images
        told.append(
            f"| {line.name} | {line.a_second:.0f} | {line.a_second / reference.a_second:.2f} "
            f"| {1000 * line.core_seconds / line.images:.2f} | {line.listing_seconds:.1f} | {asked:.2f} "
            f"| {line.counts.get('at once', 0)} |"
        )
    return "\n".join(told)


def main() -> int:
    os.environ.pop("AWS_PROFILE", None)
    described = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    described.add_argument("--images", required=True, help="folder of photographs")
    described.add_argument("--work", default="benchmark-output/reading", help="folder for outputs")
    described.add_argument("--count", type=int, default=2000, help="photographs of a job")
    args = described.parse_args()
    work = Path(args.work).resolve()
    folder = photographs(args.images, work, args.count)
    lines = [measure("local files", str(folder), work, {}, None, args.count)]
    for delay, failing, threads, limit in (
        (0.0, 0.0, None, args.count),
        (100.0, 0.0, None, args.count),
        (300.0, 0.0, None, args.count),
        (20.0, 2.0, None, args.count),
        (100.0, 0.0, 4, args.count // 8),
    ):
        lines.append(measure_store(work, folder, delay, failing, threads, limit))
        print(lines[-1], flush=True)
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
