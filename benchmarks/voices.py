"""Piper beside espeak in one run: utterances a second, whether durations are plausible, and whether a restart is exact.

    python -m benchmarks.voices ../shared/flickr8k/annotations/captions_train.json --texts 500

Speaks distinct captions of a COCO-style file with `beamscribe speak`, with each engine, start and end of the command
included. Every file is decoded and compared with its index, and with the syllables of its text. Then Piper speaks some
of them once more, is killed with `kill -9` in the middle and run again: each file must be the same as without. If any
of it is not so, it ends with exit code 1. docs/speech.md has what it gave.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import soundfile

from benchmarks.speech import ROOT, distinct_captions

ENGINES = ("espeak", "piper")

SHORTEST, LONGEST = 0.09, 0.45
"""Seconds of a syllable, pauses of the sentence included, that speech at a normal speed can have."""

LEAST_CORRELATION = 0.8
"""Of syllables and seconds, over all texts."""

SHARD_SIZE = 8
"""Texts committed together, few, so that a kill in the middle leaves something to go on from."""

_VOWELS = re.compile(r"[aeiouy]+")


class Spoken(NamedTuple):
    """One text as an output has it.

    Attributes:
        text: as it was given.
        seconds: of the decoded file.
        told: what the index says, seconds.
        digest: SHA-256 of the file.
    """

    text: str
    seconds: float
    told: float
    digest: str


class Durations(NamedTuple):
    """How long texts are.

    Attributes:
        least, median, most: seconds of a syllable.
        correlation: of syllables and seconds.
    """

    least: float
    median: float
    most: float
    correlation: float

    @property
    def plausible(self) -> bool:
        """Whether they are as of speech."""
        return self.least >= SHORTEST and self.most <= LONGEST and self.correlation >= LEAST_CORRELATION


def syllables(text: str) -> int:
    """Of English, counted by groups of vowels; a silent e at the end of a word is none."""
    words = re.findall(r"[a-z]+", text.lower())
    return sum(max(1, len(_VOWELS.findall(re.sub(r"(?<=[^aeiouyl])e$", "", word)))) for word in words)


def durations(spoken: list[Spoken]) -> Durations:
    """Seconds of a syllable, over all texts."""
    counts = np.array([syllables(one.text) for one in spoken], float)
    seconds = np.array([one.seconds for one in spoken])
    each = seconds / counts
    return Durations(
        float(each.min()), float(np.median(each)), float(each.max()), float(np.corrcoef(counts, seconds)[0, 1])
    )


def write_captions(texts: list[str], path: Path) -> None:
    """A table that `beamscribe speak` takes."""
    uris = [f"s3://b/{number}.jpg" for number in range(len(texts))]
    pq.write_table(pa.table({"image_uri": uris, "caption": texts}), path)


def command(captions: Path, engine: str, output: Path) -> list[str]:
    """The job."""
    words = ["speak", "--captions", str(captions), "--output", str(output), "--engine", engine]
    return [sys.executable, "-m", "beamscribe", *words, "--shard-size", str(SHARD_SIZE)]


def run(captions: Path, engine: str, output: Path) -> float:
    """Seconds of the job."""
    began = time.monotonic()
    done = subprocess.run(command(captions, engine, output), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"speak ended with exit code {done.returncode}: {done.stderr}")
    return time.monotonic() - began


def run_killed(captions: Path, engine: str, output: Path, texts: int) -> int:
    """Kills the job when a third is written, and runs it again; texts that were written at the kill."""
    audio = output / "audio"
    silent = subprocess.DEVNULL
    with subprocess.Popen(command(captions, engine, output), cwd=ROOT, stdout=silent, stderr=silent) as process:
        while process.poll() is None and (written := len(list(audio.rglob("*.mp3")))) < texts // 3:
            time.sleep(0.05)
        if process.poll() is not None:
            sys.exit("the job ended before it could be killed: give more texts")
        process.kill()
    run(captions, engine, output)
    return written


def read(output: Path) -> list[Spoken]:
    """Every text of an output, its file decoded."""
    found = []
    table = ds.dataset(output / "index").to_table(columns=["caption", "audio_uri", "duration_seconds"])
    for row in table.to_pylist():
        path = output / row["audio_uri"]
        samples, rate = soundfile.read(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(Spoken(row["caption"], len(samples) / rate, row["duration_seconds"], digest))
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--killed", type=int, default=60, help="of them, texts of the run that is killed")
    args = parser.parse_args()
    texts = distinct_captions(args.annotations, args.texts)
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_captions(texts, folder / "captions.parquet")
        for engine in ENGINES:
            seconds = run(folder / "captions.parquet", engine, folder / engine)
            spoken = read(folder / engine)
            found = durations(spoken)
            print(
                f"{engine}: {len(spoken):,} of {len(texts):,} texts in {seconds:.1f} s, {len(spoken) / seconds:.2f} a "
                f"second; {sum(one.seconds for one in spoken):.0f} s of speech; a syllable has {found.least:.2f} to "
                f"{found.most:.2f} s, median {found.median:.2f}; correlation {found.correlation:.2f}",
                flush=True,
            )
            wrong += [f"{engine}: {len(texts) - len(spoken)} texts have no audio"] if len(spoken) < len(texts) else []
            wrong += [] if found.plausible else [f"{engine}: durations are not those of speech"]
            wrong += [f"{engine}: {one.text}" for one in spoken if abs(one.seconds - one.told) > 0.1]
        again = texts[: args.killed]
        write_captions(again, folder / "again.parquet")
        written = run_killed(folder / "again.parquet", "piper", folder / "killed", len(again))
        same = read(folder / "killed") == [one for one in read(folder / "piper") if one.text in set(again)]
        told = f"{len(again):,} texts, killed after {written:,} and run again"
        print(f"piper, {told}: {'the same files' if same else 'other files'}")
        wrong += [] if same else ["a restart is not exact"]
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
