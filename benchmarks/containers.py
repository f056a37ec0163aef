"""`python -m benchmarks.containers`: how often the bytes of archives are read, also by jobs that are killed.

The photographs of a folder, as tars, compressed tars, zips and Parquet, in a store that counts what it is asked for; a
model that does nothing. The ratios are those of one run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.chosen_captioner import CAPTIONS
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.runtime.flags.jobs import job_flags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import manifest_files
from beamscribe.pipelines.sources.table_containers import table_containers
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.storage.storage import Storage
from benchmarks.reading import delayed_store
from benchmarks.small import NullJob

KINDS = ("tar", "tar.gz", "zip", "parquet")
BUCKET = "s3://bucket"


class Line(NamedTuple):
    """What one kind of archives took.

    Attributes:
        kind: suffix of their names.
        images: of all of them.
        size: bytes of all of them.
        seconds: of the command, without loading Python; of a job that is killed, of all commands.
        first: seconds until the first commit.
        counts: of the store.
        kills: of the job.
        equal: whether its rows are those of a job that is left alone.
    """

    kind: str
    images: int
    size: int
    seconds: float
    first: float
    counts: dict[str, int]
    kills: int = 0
    equal: bool = True


def write_archives(
    photographs: list[Path], folder: Path, kind: str, archives: int, each: int, group_rows: int = 100
) -> int:
    """Archives of photographs, which come again if there are too few; gives their size in bytes."""
    folder.mkdir(parents=True)
    for number in range(archives):
        path = folder / f"{number:04}.{kind}"
        files = [(f"{place:06}.jpg", photographs[(number * each + place) % len(photographs)]) for place in range(each)]
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as found:
                for name, photograph in files:
                    found.write(photograph, name)
        elif kind == "parquet":
            images = [{"bytes": photograph.read_bytes(), "path": name} for name, photograph in files]
            pq.write_table(pa.table({"image": images}), path, row_group_size=group_rows)
        else:
            with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w", **_fast(kind)) as tar:
                for name, photograph in files:
                    tar.add(photograph, name)
    return sum(path.stat().st_size for path in folder.iterdir())


def _fast(kind: str) -> dict[str, Any]:
    return {"compresslevel": 1} if kind == "tar.gz" else {}


def job(source: str, output: str, storage: dict[str, Any], shard_size: int) -> int:
    """One command."""
    argv = ["--images", source, "--output", output, "--model", "null", f"--shard-size={shard_size}"]
    args, beam_options = options.parse(parser(), argv)
    if source.endswith(".parquet"):
        tables = table_containers(manifest_files([source], storage), Columns(), storage)
        assert tables is not None
        corpus = tables
    else:
        corpus = list_images([source], storage, list_members=False)
    return launch(
        Request(
            job=NullJob(Reading(storage)),
            corpus=corpus,
            output=Storage(output, {}),
            fingerprint=Fingerprint({"model": "null"}),
            details={},
            flags=job_flags(args),
            options=beam_options,
        )
    )


def rows_of(output: Path) -> list[tuple[str, str]]:
    """Ids and digests of all rows."""
    rows: list[tuple[str, str]] = []
    for path in sorted((output / CAPTIONS.folder).glob("*.parquet")):
        table = pq.read_table(path, columns=["id", "sha256"])
        rows += zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    return sorted(rows)


def run(kind: str, work: Path, address: str, size: int, kills: int, shard_size: int) -> Line:
    """A job in a process of its own, which is killed so many times in the middle of its work."""
    output = work / "output"
    shutil.rmtree(output, ignore_errors=True)
    storage = json.dumps({"endpoint_url": address, "key": "k", "secret": "s"})
    command = [sys.executable, "-m", "benchmarks.containers", "--job", f"{BUCKET}/*.{kind}", str(output), storage]
    command.append(str(shard_size))
    begun, first, left = time.monotonic(), 0.0, kills
    while True:
        before = _commits(output)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        process.stdout.readline()  # It is loaded.
        begun = begun if first or left < kills else time.monotonic()
        while process.poll() is None:
            now = _commits(output)
            first = first or (time.monotonic() - begun if now else 0.0)
            # After a commit, in the middle of what follows it.
            if left and now > before:
                time.sleep(0.05 * (left % 3))
                process.kill()
                left -= 1
            time.sleep(0.01)
        process.stdout.close()
        if process.wait() == 0:
            break
        if process.returncode > 0:
            raise SystemExit(f"{kind}: the job ended with {process.returncode}")
        (output / "_beamscribe" / "lease.json").unlink(missing_ok=True)
    with urllib.request.urlopen(f"{address}/-/counts") as answer:
        counts = json.load(answer)
    return Line(kind, len(rows_of(output)), size, time.monotonic() - begun, first, counts, kills - left)


def _commits(output: Path) -> int:
    folder = output / RECEIPTS
    return len(list(folder.iterdir())) if folder.exists() else 0


def measure(kind: str, photographs: list[Path], work: Path, args: argparse.Namespace) -> list[Line]:
    """A job on many archives, and jobs on one that are left alone and killed."""
    lines = []
    for archives, each, kills in ((args.archives, args.each, 0), (1, args.large, args.kills)):
        folder = work / kind
        shutil.rmtree(folder, ignore_errors=True)
        size = write_archives(photographs, folder, kind, archives, each, args.group_rows)
        expected: list[tuple[str, str]] = []
        for times in dict.fromkeys((0, kills)):
            with delayed_store(folder, args.delay, 0.0) as address:
                line = run(kind, work, address, size, times, args.shard_size)
            rows = rows_of(work / "output")
            expected = expected or rows
            lines.append(line._replace(equal=rows == expected and len(rows) == archives * each))
            print(lines[-1], flush=True)
        shutil.rmtree(folder)
    return lines


def table(lines: list[Line]) -> str:
    """For people."""
    told = [
        "| archives | images | kills | bytes read ÷ size | GET | HEAD | LIST | first commit, s | a second | rows |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        counts = line.counts
        told.append(
            f"| {line.kind} | {line.images:,} | {line.kills} | {counts['bytes'] / line.size:.2f} | {counts['GET']} "
            f"| {counts['HEAD']} | {counts['LIST']} | {line.first:.1f} | {line.images / line.seconds:.0f} "
            f"| {'equal' if line.equal else 'OTHERS'} |"
        )
    return "\n".join(told)


def main() -> int:
    """Measures, or is the job of a measurement."""
    os.environ.pop("AWS_PROFILE", None)
    if sys.argv[1:2] == ["--job"]:
        _, _, source, output, storage, shard_size = sys.argv
        print("loaded", flush=True)
        return job(source, output, json.loads(storage), int(shard_size))
    described = argparse.ArgumentParser(prog="python -m benchmarks.containers", description=__doc__)
    described.add_argument("--images", required=True, help="folder of photographs")
    described.add_argument("--work", default="benchmark-output/containers", help="folder for archives and outputs")
    described.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of archives")
    described.add_argument("--archives", type=int, default=16, help="of a kind")
    described.add_argument("--each", type=int, default=100, help="photographs in each of them")
    described.add_argument("--large", type=int, default=2000, help="photographs in the one that is killed")
    described.add_argument("--kills", type=int, default=5, help="of the job on the large one")
    described.add_argument("--group-rows", type=int, default=100, help="rows of a row group of a Parquet file")
    described.add_argument("--delay", type=float, default=20.0, help="milliseconds until the store answers")
    described.add_argument("--shard-size", type=int, default=64, help="images that are committed together")
    args = described.parse_args()
    photographs = sorted(Path(args.images).glob("*.jpg"))
    if not photographs:
        raise SystemExit(f"{args.images} holds no photograph whose name ends with .jpg")
    work = Path(args.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    lines = [line for kind in args.kinds for line in measure(kind, photographs, work, args)]
    print(table(lines))
    return 0 if all(line.equal for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
