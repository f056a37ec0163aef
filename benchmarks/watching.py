"""What the launcher's watching of a long job costs: one JSON line for each number of shards that are committed.

    python benchmarks/watching.py 1000 10000 40000

A look lists receipts and markers once and reads what is new; the time until the next one grows with its cost.
"""

import argparse
import contextlib
import datetime
import io
import json
import pathlib
import tempfile
import time

from beamscribe.pipelines.commits.liveness import LivenessMonitor
from beamscribe.pipelines.runtime.progress import INTERVAL_SECONDS, SHARE_OF_A_CORE, Progress
from beamscribe.schemas.receipt import RECEIPTS, FileStamp, Receipt
from beamscribe.storage.storage import Storage

IDS = tuple(f"file:///photographs/{number:08d}.jpg" for number in range(256))


def look_seconds(shards: int) -> float:
    """Of a core, for one look at so many receipts, of which ten are new: a shard a second."""
    started = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        output = Storage(folder)
        receipts = pathlib.Path(output.path(RECEIPTS))
        receipts.mkdir(parents=True)
        for number in range(shards):
            stem = f"{number:06d}-of-065536-0123456789abcdef"
            receipt = Receipt(stem, "0" * 16, started.isoformat(), 10.0, FileStamp("", 0, "", IDS), None)
            (receipts / f"{stem}.json").write_bytes(receipt.to_json())
        known = sorted(entry.name for entry in output.files(RECEIPTS))[:-10]
        progress = Progress(output, "caption", started, shards * len(IDS), known=known)
        lookout = LivenessMonitor(output, shards)
        # It is time to look.
        progress._next_look = 0.0
        begun = time.process_time()
        with progress.look_if_due() as signs:
            lookout.lost(signs)
        return time.process_time() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=int, metavar="SHARDS")
    for count in parser.parse_args().shards:
        seconds = look_seconds(count)
        interval = max(INTERVAL_SECONDS, seconds / SHARE_OF_A_CORE)
        measured = {"shards": count, "look_seconds": round(seconds, 3), "interval_seconds": round(interval, 1)}
        print(json.dumps(measured | {"percent_of_a_core": round(100 * seconds / (interval + seconds), 2)}))
