"""How long a job takes to plan, and how much memory: listing, storing, anti-join and cutting, and nothing processed.

    python benchmarks/plan.py 10000 100000 1000000

prints one JSON line a size; `--plot FILE` draws them. Each runs in a process of its own, which reads a Parquet manifest
of so many URIs, a row group at a time; half of them are committed already, so that the anti-join has something to do.
Of more than ten million the job is in parts: half of the parts are done, and of the next one half. It ends when that is
cut, since nothing is committed.
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
from beamscribe.pipelines.runtime.parts import PartedJob
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.manifest_parts import MOST_LISTED, divided
from beamscribe.pipelines.sources.manifests import read_manifests, read_pieces
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import Shard
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.output_parts import DonePart, OutputPart
from beamscribe.schemas.receipt import Receipt, stamp
from beamscribe.schemas.rows import CAPTIONS
from beamscribe.storage.output_reader import MANIFEST, digest_of_files, read_parts
from beamscribe.storage.storage import Storage

SHARD = 256
ROW_GROUP = 100_000
MANIFEST_FILE = "manifest.parquet"
STARTED = "2026-01-01T00:00:00+00:00"
FINGERPRINT = Fingerprint({"made": "for a benchmark"})
FLAGS = JobFlags(SHARD, None, False, "keep", {})


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


def commit_half(output: Storage, numbers: range) -> None:
    """Receipts as a run leaves them that did every other reference."""
    references = len(numbers)
    ids = [uri(number) for number in numbers[::2]]
    for start in range(0, len(ids), SHARD):
        name = f"{CAPTIONS.folder}/{start // SHARD:05d}.parquet"
        rows = stamp(name, b"x", ids[start : start + SHARD])
        receipt = Receipt(f"{start // SHARD:05d}", FINGERPRINT.digest, "", 1.0, rows, None)
        for path, data in ((name, b"x"), (receipt.name, receipt.to_json())):
            os.makedirs(os.path.dirname(output.path(path)), exist_ok=True)
            with open(output.path(path), "wb") as file:  # without the fsync of a commit
                file.write(data)
    write_output_manifest(output, references)


def write_output_manifest(output: Storage, references: int) -> None:
    """What an output says of itself."""
    manifest = Manifest("caption", FINGERPRINT, [FINGERPRINT.digest], {}, references, 0, {}, references, 1, STARTED)
    output.write(MANIFEST, manifest.to_json().encode())


def finish_half(output: Storage, manifest: str) -> None:
    """An output in parts, of which half are done, and of the next one half of its rows."""
    parts = divided({manifest: None}, {})
    job = parted(manifest, output, parts)
    half = len(parts) // 2
    for part in parts[:half]:
        below = output.below(part.name)
        os.makedirs(below.path(CAPTIONS.folder))
        for number in range(part.rows // SHARD):
            with open(below.path(f"{CAPTIONS.folder}/{number:05d}.parquet"), "wb") as file:
                file.write(b"x")
        write_output_manifest(below, part.rows)
        record = DonePart(job.digest_of(part), digest_of_files(below, CAPTIONS), part.rows, 0, 0)
        output.write(part.record, record.to_json())
    begins = sum(part.rows for part in parts[:half])
    commit_half(output.below(parts[half].name), range(begins, begins + parts[half].rows))


def prepare(references: int, folder: str) -> None:
    """What `measure` finds."""
    output = Storage(os.path.join(folder, "output"))
    if references > MOST_LISTED:
        finish_half(output, os.path.join(folder, MANIFEST_FILE))
    else:
        commit_half(output, range(references))


def request(output: Storage, corpus: Corpus) -> launch.Request:
    """What `beamscribe caption --manifest` asks for."""
    return launch.Request(
        job=CaptionJob(BundleSource("", 1, 1, 1), Reading({})),
        corpus=corpus,
        output=output,
        fingerprint=FINGERPRINT,
        details={},
        flags=FLAGS,
        options=parse(FlagParser(prog="plan"), [])[1],
    )


def parted(manifest: str, output: Storage, parts: list[OutputPart]) -> PartedJob:
    """As the command makes it of a manifest that is too large to be listed at once."""

    def part_request(part: OutputPart, most: int | None) -> launch.Request:
        return request(output.below(part.name), read_pieces(part.wanted, Columns(), {}, most=most))

    return PartedJob("caption", output, parts, read_parts(output), CAPTIONS, {}, part_request, FLAGS, {})


def plan(manifest: str, output: Storage) -> None:
    """What `beamscribe caption --manifest` does, but for the captions."""
    launch.CommitShards = CountShards  # type: ignore[misc]
    if parts := divided({manifest: None}, {}, read_parts(output)):
        parted(manifest, output, parts).launch()
    else:
        launch.launch(request(output, read_manifests([manifest], Columns(), {})))


def measure(references: int, folder: str) -> dict[str, float]:
    manifest, output = os.path.join(folder, MANIFEST_FILE), Storage(os.path.join(folder, "output"))
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        plan(manifest, output)
    seconds = time.monotonic() - began
    parts = read_parts(output)
    listed, place = (
        (parts[len(parts) // 2].rows, output.below(parts[len(parts) // 2].name)) if parts else (references, output)
    )
    todo = [int(line) for line in place.read(NOTES).split()]
    assert sum(todo) == listed // 2, f"{sum(todo)} references were handed out"
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
    """Time and memory over the number of references, with the bounds for a million and for a hundred million."""
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    for axes, name, bounds in zip(figure.subplots(1, 2), ("seconds", "gibibytes"), ((60, 120), (1.5, 1)), strict=True):
        axes.loglog([row["references"] for row in rows], [row[name] for row in rows], "o-")
        for size, color, bound in zip((1_000_000, 100_000_000), ("tab:red", "tab:orange"), bounds, strict=True):
            axes.loglog([size], [bound], "v", color=color, label=f"bound for {size // 1_000_000} million: {bound}")
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
        prepare(int(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "measure":
        print(json.dumps(measure(int(sys.argv[2]), sys.argv[3])), flush=True)
    else:
        main(sys.argv[1:])
