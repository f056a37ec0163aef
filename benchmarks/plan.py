"""How long a job takes to plan, and how much memory: listing, storing, anti-join and cutting, and nothing processed.

    python benchmarks/plan.py 10000 100000 1000000

prints one JSON line a size; `--plot FILE` draws them. Each runs in a process of its own, which reads a Parquet manifest
of so many URIs, a row group at a time; half of them are committed already, so that the anti-join has something to do.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam import PCollection

from beamscribe.flag_parser import FlagParser
from beamscribe.pipelines.caption import CaptionJob
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.commits.pending import Job
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.runtime import launcher as launch
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.options import parse
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.receipt import Receipt, stamp
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.output_reader import MANIFEST
from beamscribe.storage.storage import Storage

SHARD = 256
ROW_GROUP = 100_000
MANIFEST_FILE = "manifest.parquet"
STARTED = "2026-01-01T00:00:00+00:00"
FINGERPRINT = Fingerprint({"made": "for a benchmark"})


@dataclass
class CountShards(beam.PTransform):
    """Stands for `CommitShards`: shards in, how much each has to do out."""

    job: Job
    run: Run

    def expand(self, shards: PCollection[Shard]) -> PCollection[None]:
        """Builds the transform."""
        return shards | "Count" >> beam.Map(note, self.run.output.path(NOTES))


NOTES = "noted.txt"


def note(shard: Shard, path: str) -> None:
    """One line a shard: Beam may run this in a copy of this module."""
    with open(path, "a") as file:
        file.write(f"{len(shard.todo)}\n")


def uri(number: int) -> str:
    return f"s3://photographs/{number // 1000:06d}/{number:09d}.jpg"


def write_manifest(path: str, references: int) -> None:
    schema = pa.schema([("uri", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, references, ROW_GROUP):
            uris = [uri(number) for number in range(start, min(references, start + ROW_GROUP))]
            writer.write_table(pa.table({"uri": uris}, schema))


def commit_half(output: Storage, references: int) -> None:
    """Receipts as a run leaves them that did every other reference."""
    ids = [uri(number) for number in range(0, references, 2)]
    for start in range(0, len(ids), SHARD):
        name = f"{CAPTIONS.folder}/{start // SHARD:05d}.parquet"
        rows = stamp(name, b"x", ids[start : start + SHARD])
        receipt = Receipt(f"{start // SHARD:05d}", FINGERPRINT.digest, "", 1.0, rows, None)
        for path, data in ((name, b"x"), (receipt.name, receipt.to_json())):
            os.makedirs(os.path.dirname(output.path(path)), exist_ok=True)
            with open(output.path(path), "wb") as file:  # without the fsync of a commit
                file.write(data)
    manifest = Manifest("caption", FINGERPRINT, [FINGERPRINT.digest], {}, references, 0, {}, references, 1, STARTED)
    output.write(MANIFEST, manifest.to_json().encode())


def plan(manifest: str, output: Storage) -> None:
    """What `beamscribe caption --manifest` does, but for the captions."""
    launch.CommitShards = CountShards  # type: ignore[misc]
    launch.launch(
        launch.Request(
            job=CaptionJob(BundleSource("", 1, 1, 1), Reading({})),
            corpus=read_manifests([manifest], Columns(), {}),
            output=output,
            fingerprint=FINGERPRINT,
            details={},
            flags=JobFlags(SHARD, None, False, "keep", {}),
            options=parse(FlagParser(prog="plan"), [])[1],
        )
    )


def measure(references: int, folder: str) -> dict[str, float]:
    manifest, output = os.path.join(folder, MANIFEST_FILE), Storage(os.path.join(folder, "output"))
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        plan(manifest, output)
    seconds = time.monotonic() - began
    todo = [int(line) for line in output.read(NOTES).split()]
    assert sum(todo) == references // 2, f"{sum(todo)} references were handed out"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"references": references, "shards": len(todo), "seconds": round(seconds, 1), "gibibytes": round(peak, 2)}


def measured(references: int) -> dict[str, float]:
    """One size, prepared and measured in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(os.path.join(folder, MANIFEST_FILE), references)
        subprocess.run([sys.executable, __file__, "prepare", str(references), folder], check=True)
        done = subprocess.run(
            [sys.executable, __file__, "measure", str(references), folder], check=True, stdout=subprocess.PIPE
        )
    print(done.stdout.decode().strip(), flush=True)
    return json.loads(done.stdout)


def plot(rows: list[dict[str, float]], path: str) -> None:
    """Time and memory over the number of references, with the bounds for a million."""
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    for axes, name, bound in zip(figure.subplots(1, 2), ("seconds", "gibibytes"), (60, 1.5), strict=True):
        axes.loglog([row["references"] for row in rows], [row[name] for row in rows], "o-")
        axes.loglog([1_000_000], [bound], "v", color="tab:red", label=f"bound for a million: {bound}")
        axes.set(xlabel="references", ylabel=name)
        axes.grid(which="both", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def main(argv: list[str]) -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("sizes", nargs="+", type=int, metavar="REFERENCES")
    flags.add_argument("--plot", metavar="FILE", help="draw the sizes that were measured")
    args = flags.parse_args(argv)
    rows = [measured(size) for size in args.sizes]
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        commit_half(Storage(os.path.join(sys.argv[3], "output")), int(sys.argv[2]))
    elif sys.argv[1] == "measure":
        print(json.dumps(measure(int(sys.argv[2]), sys.argv[3])), flush=True)
    else:
        main(sys.argv[1:])
