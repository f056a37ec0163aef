"""How many texts a second espeak speaks to checked MP3, what bounds it, and how much memory that takes.

    python benchmarks/speech.py ../shared/flickr8k/captions_train.json --texts 1000 7000

Speaks distinct captions of a COCO-style file with `beamscribe speak`, in a process of its own and on all cores, and
prints a line for each number of texts. With `--stages` it takes one text at a time through the stages, in this process.
docs/speech.md has what it gave.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]


def distinct_captions(annotations: Path, count: int) -> list[str]:
    found = dict.fromkeys(item["caption"] for item in json.loads(annotations.read_text())["annotations"])
    return list(itertools.islice(found, count))


def speak(texts: list[str], flags: list[str]) -> tuple[float, float, int]:
    """Seconds of the command, seconds of processor time, and peak of memory in bytes, all workers together."""
    with tempfile.TemporaryDirectory() as folder:
        columns = {"image_uri": [f"s3://b/{number}.jpg" for number in range(len(texts))], "caption": texts}
        pq.write_table(pa.table(columns), f"{folder}/captions.parquet")
        command = [sys.executable, "-m", "beamscribe", "speak", "--captions", f"{folder}/captions.parquet"]
        began = time.monotonic()
        process = psutil.Popen([*command, "--output", f"{folder}/out", *flags], cwd=ROOT, stderr=subprocess.DEVNULL)
        peak, seconds = 0, 0.0
        while process.poll() is None:
            workers = [process, *process.children(recursive=True)]
            try:
                peak = max(peak, sum(worker.memory_info().rss for worker in workers))
                seconds = max(seconds, sum(sum(worker.cpu_times()[:2]) for worker in workers))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)
        if process.returncode:
            sys.exit(f"speak ended with exit code {process.returncode}")
        return time.monotonic() - began, seconds, peak


def stages(texts: list[str]) -> dict[str, float]:
    """Milliseconds a text in each stage, one after the other."""
    from beamscribe.pipelines.speech import SpeechSettings, open_engine
    from beamscribe.pipelines.speech.audio import check_audio, encode
    from beamscribe.pipelines.speech.tags import tag

    spent: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        spent[stage] = spent.get(stage, 0.0) + (time.perf_counter() - began) * 1000 / len(texts)
        return result

    engine = open_engine(SpeechSettings())
    for text in texts:
        sound = timed("synthesis", lambda: engine.synthesize(text))  # noqa: B023
        data = timed("MP3", lambda: encode(sound, "mp3"))  # noqa: B023
        data = timed("tags", lambda: tag(data, "mp3", text, "espeak"))  # noqa: B023
        timed("check, with loudness", lambda: check_audio(data, text))  # noqa: B023
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--texts", type=int, nargs="+", default=[1000, 7000])
    parser.add_argument("--stages", action="store_true")
    args, flags = parser.parse_known_args()
    if args.stages:
        for stage, milliseconds in stages(distinct_captions(args.annotations, min(args.texts))).items():
            print(f"{stage:>20} {milliseconds:6.2f} ms")
        return
    for count in args.texts:
        texts = distinct_captions(args.annotations, count)
        seconds, processor, peak = speak(texts, flags)
        print(
            f"{len(texts):,} texts in {seconds:.1f} s on {os.cpu_count()} cores: {len(texts) / seconds:.1f} a second, "
            f"{processor / seconds:.2f} cores busy, peak {peak / 2**20:,.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
