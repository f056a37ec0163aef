"""Measures one thing at a time, each in a fresh process."""

import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """One measurement; 0 where a field has no meaning.

    Attributes:
        name: of what.
        images_a_second: of a job from the first image read to the last commit; of a bare CNN over all its batches.
        core_msec: time of one core an image; of a job with its start-up.
        startup_seconds: before the first image.
        seconds: from the first to the last moment of the process.
        peak_megabytes: of resident memory.
    """

    name: str
    images_a_second: float
    core_msec: float
    startup_seconds: float
    seconds: float
    peak_megabytes: float


def finish(command: list[str]) -> tuple[float, float, float, str]:
    """Runs a command; gives seconds, seconds of all cores, peak megabytes and what it printed."""
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{printed}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed


def job(name: str, command: str, output: str, flags: list[str], fresh: bool = True) -> Measured:
    """A whole job; its receipts tell when the first shard began and the last was committed."""
    if fresh:
        shutil.rmtree(output, ignore_errors=True)
    launched = datetime.datetime.now(datetime.UTC)
    seconds, cores, peak, _ = finish([sys.executable, "-m", "beamscribe", command, "--output", output, *flags])
    if not fresh:
        return Measured(name, 0.0, 0.0, 0.0, seconds, peak)
    receipts = [json.loads(path.read_bytes()) for path in Path(output, "_beamscribe", "shards").glob("*.json")]
    images = sum(len(receipt["rows"]["ids"]) for receipt in receipts if receipt["rows"])
    commits = [datetime.datetime.fromisoformat(receipt["committed_at"]) for receipt in receipts]
    begins = [
        commit - datetime.timedelta(seconds=receipt["seconds"], milliseconds=receipt["spent"]["write_msec"])
        for commit, receipt in zip(commits, receipts, strict=True)
    ]
    rate = images / (max(commits) - min(begins)).total_seconds()
    return Measured(name, rate, 1000 * cores / images, (min(begins) - launched).total_seconds(), seconds, peak)


def bare(model: str, engine: str, precision: str) -> Measured:
    """A backbone alone, on batches that are there already, as many side by side as in a job."""
    return _script("bare", f"bare {engine} {precision}", model, engine, precision)


def loop(model: str, images: str) -> Measured:
    """The straightforward loop."""
    return _script("loop", "straightforward loop", model, images)


def _script(script: str, name: str, *arguments: str) -> Measured:
    command = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
    seconds, _, peak, printed = finish(command)
    rate, core_msec, startup = json.loads(printed.splitlines()[-1])
    return Measured(name, rate, core_msec, startup, seconds, peak)
