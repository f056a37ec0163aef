"""`python -m benchmarks.delay`: the embedded captioner on storage that answers late, from loose objects and from tars.

Each line is the whole command, `beamscribe caption`, on the same photographs; the ratios are those of one run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.containers import write_archives
from benchmarks.reading import delayed_store, photographs

TARS = 4


def caption(source: str, output: Path, address: str, count: int) -> float:
    """Seconds that the command takes.

    Raises:
        SystemExit: if it fails, or leaves a photograph out.
    """
    shutil.rmtree(output, ignore_errors=True)
    storage = json.dumps({"endpoint_url": address, "key": "k", "secret": "s"})
    command = [sys.executable, "-m", "beamscribe", "caption", "--images", source, "--output", str(output)]
    begun = time.monotonic()
    ended = subprocess.run([*command, "--storage-options", storage], stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - begun
    if ended.returncode or f"{count} done, 0 failed" not in ended.stdout:
        raise SystemExit(f"captioning {source} ended with {ended.returncode}:\n{ended.stdout}")
    return seconds


def main() -> int:
    os.environ.pop("AWS_PROFILE", None)
    described = argparse.ArgumentParser(prog="python -m benchmarks.delay", description=__doc__)
    described.add_argument("--images", required=True, help="folder of photographs")
    described.add_argument("--work", default="benchmark-output/delay", help="folder for archives and outputs")
    described.add_argument("--count", type=int, default=2000, help="photographs of a job, a multiple of four")
    described.add_argument(
        "--delays", type=float, nargs="+", default=[0.0, 300.0], help="milliseconds; first: reference"
    )
    args = described.parse_args()
    work = Path(args.work).resolve()
    loose = photographs(args.images, work, args.count)
    shutil.rmtree(work / "tars", ignore_errors=True)
    originals = [link.resolve() for link in sorted(loose.iterdir())]
    write_archives(originals, work / "tars", "tar", TARS, args.count // TARS)
    print("| photographs | delay, ms | seconds | images a second | ÷ no delay |\n|---|---|---|---|---|")
    for name, folder, source in (("loose", loose, "s3://bucket/"), ("in tars", work / "tars", "s3://bucket/*.tar")):
        reference = 0.0
        for delay in args.delays:
            with delayed_store(folder, delay, 0.0) as address:
                seconds = caption(source, work / "output", address, args.count)
            reference = reference or seconds
            told = f"{seconds:.0f} | {args.count / seconds:.1f} | {reference / seconds:.2f}"
            print(f"| {name} | {delay:g} | {told} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
