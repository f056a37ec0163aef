"""`python -m benchmarks`: how close whole jobs come to the bare CNN, in ratios measured in one run.

Parts of a few minutes each append to WORK/measured.jsonl; `--part table` prints what is there.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import small
from benchmarks.jobs import Measured, bare, job, loop

SHARED = Path(os.environ.get("BEAMSCRIBE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
IMAGES = str(SHARED / "flickr8k" / "images")
ANNOTATIONS = str(SHARED / "flickr8k" / "annotations" / "captions_train.json")
INCEPTION = str(SHARED / "weights" / "inception_v3_notop.weights.h5")

RATIOS = (
    ("caption beam 3, openvino int8", "bare tensorflow float32", 2.5),
    ("caption beam 3, openvino int8", "bare openvino int8", 0.70),
    ("caption beam 3, tensorflow bfloat16", "bare tensorflow bfloat16", 0.85),
    ("featurize, tensorflow bfloat16", "bare tensorflow bfloat16", 0.90),
    ("bare tensorflow bfloat16", "straightforward loop", 20.0),
    ("caption beam 3, tensorflow bfloat16", "straightforward loop", 20.0),
)
"""Faster, slower, and what the ratio should be."""


def caption(
    args: argparse.Namespace, engine: str, precision: str, beams: int = 3, limit: int | None = None
) -> Measured:
    output = f"{args.work}/caption-{engine}-{precision}-{beams}-{limit or args.images}"
    flags = ["--model", args.model, "--images", IMAGES, "--limit", str(limit or args.images), "--beam-size", str(beams)]
    name = f"caption {'greedy' if beams == 1 else f'beam {beams}'}, {engine} {precision}"
    return job(name, "caption", output, [*flags, "--engine", engine, "--precision", precision])


def featurize(args: argparse.Namespace, engine: str, precision: str) -> Measured:
    flags = ["--annotations", ANNOTATIONS, "--images", IMAGES, "--limit", str(args.images)]
    flags += ["--backbone-weights", INCEPTION, "--engine", engine, "--precision", precision]
    return job(f"featurize, {engine} {precision}", "featurize", f"{args.work}/features-{precision}", flags)


def again(args: argparse.Namespace) -> list[Measured]:
    """The whole corpus, once more when it is finished, and a part of it, with the fastest settings."""
    first = caption(args, "openvino", "int8", limit=args.corpus)
    second = job(
        "the same finished job again",
        "caption",
        f"{args.work}/caption-openvino-int8-3-{args.corpus}",
        ["--model", args.model, "--images", IMAGES, "--limit", str(args.corpus)],
        fresh=False,
    )
    part = caption(args, "openvino", "int8", limit=args.corpus // 7)
    return [
        first._replace(name=f"{args.corpus} images"),
        second,
        part._replace(name=f"{args.corpus // 7} images"),
    ]


PARTS = {
    "bare": lambda args: [
        bare(args.model, engine, precision)
        for engine, precision in (
            ("tensorflow", "float32"),
            ("tensorflow", "bfloat16"),
            ("openvino", "float32"),
            ("openvino", "bfloat16"),
            ("openvino", "int8"),
        )
    ],
    "int8": lambda args: [
        bare(args.model, "tensorflow", "float32"),
        bare(args.model, "openvino", "int8"),
        caption(args, "openvino", "int8"),
        caption(args, "openvino", "int8", beams=1),
    ],
    "bfloat16": lambda args: [
        bare(args.model, "tensorflow", "bfloat16"),
        caption(args, "tensorflow", "bfloat16"),
        featurize(args, "tensorflow", "bfloat16"),
        loop(args.model, f"{IMAGES}/*.jpg"),
    ],
    "again": again,
    "small": lambda args: [small.measure(f"{args.work}/small", 8000)],
}


def table(measured: list[Measured]) -> str:
    """Medians of what was measured, then the ratios."""
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        ", ".join(f"{name} {_version(name)}" for name in ("tensorflow", "keras", "openvino", "nncf", "apache-beam")),
        "",
        "| what | images a second | core-ms an image | start-up, s | whole, s | peak, MB | n |",
        "|---|---|---|---|---|---|---|",
    ]
    medians: dict[str, Measured] = {}
    for name in dict.fromkeys(one.name for one in measured):
        of_name = [one for one in measured if one.name == name]
        numbers = zip(*(one[1:] for one in of_name), strict=True)
        medians[name] = Measured(name, *(statistics.median(values) for values in numbers))
        one = medians[name]
        lines.append(
            f"| {name} | {one.images_a_second:.1f} | {one.core_msec:.1f} | {one.startup_seconds:.1f} "
            f"| {one.seconds:.1f} | {one.peak_megabytes:.0f} | {len(of_name)} |"
        )
    lines += ["", "| ratio | measured | wanted |", "|---|---|---|"]
    for fast, slow, wanted in RATIOS:
        if fast in medians and slow in medians:
            ratio = medians[fast].images_a_second / medians[slow].images_a_second
            lines.append(f"| {fast} ÷ {slow} | {ratio:.2f} | {wanted} |")
    return "\n".join(lines)


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=[*PARTS, "table"], default=[*PARTS, "table"])
    parser.add_argument("--model", required=True, help="an inception_v3 bundle that beamscribe quantize made")
    parser.add_argument("--work", default="benchmark-output", help="folder for outputs and numbers")
    parser.add_argument("--images", type=int, default=768, help="of a measurement")
    parser.add_argument("--corpus", type=int, default=7000, help="of part again")
    parser.add_argument("--repeat", type=int, default=3, help="medians of so many")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    path = Path(args.work, "measured.jsonl")
    for _ in range(args.repeat):
        for part in (part for part in args.part if part != "table"):
            for measured in PARTS[part](args):
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(measured) + "\n")
                print(measured, flush=True)
    if "table" in args.part:
        print(table([Measured(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
