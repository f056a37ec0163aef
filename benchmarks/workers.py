"""Two worker processes against one, both on all cores: what a photograph takes beyond start-up.

    python benchmarks/workers.py ../shared/flickr8k/images

captions few and many photographs in each of the local runner's modes, in turn, and prints a line for each mode and
their ratio. What many take longer than few is not start-up; the median of the repetitions counts.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time

MODES = {
    "in_memory": ["--direct_running_mode=in_memory"],
    "multi_processing": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}
FEW, MANY = 128, 640


def seconds(images: str, count: int, flags: list[str]) -> float:
    """Of a whole command."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "beamscribe", "caption", "--images", images, "--output", output]
        began = time.monotonic()
        # Shards of two batches, so that both workers have as much to do, and each is kept busy.
        subprocess.run(
            [*command, "--limit", str(count), "--shard-size", "64", *flags],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.monotonic() - began


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("images", help="folder of photographs")
    flags.add_argument("--repeat", type=int, default=3, metavar="TIMES")
    args = flags.parse_args()
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in itertools.product(MODES, (FEW, MANY))}
    for _, (mode, count) in itertools.product(range(args.repeat), taken):
        taken[mode, count].append(seconds(args.images, count, MODES[mode]))
    beyond = {}
    for mode in MODES:
        few, many = (statistics.median(taken[mode, count]) for count in (FEW, MANY))
        beyond[mode] = (many - few) / (MANY - FEW)
        startup = few - FEW * beyond[mode]
        print(f"{mode}: {beyond[mode] * 1000:.1f} ms a photograph beyond start-up, which takes {startup:.1f} s")
    print(f"multi_processing ÷ in_memory: {beyond['multi_processing'] / beyond['in_memory']:.2f}")


if __name__ == "__main__":
    main()
