"""`python -m benchmarks.cascade OUTPUT ANNOTATIONS`: what captioning the least sure images again gives.

A person stands for the teacher: the first human caption of each photograph, scored against the other ones as the
student's captions are. For each share of the photographs that the teacher captions again it prints the mean CIDEr when
these are the least sure ones, and when they are drawn at random, which is a straight line.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from beamscribe.pipelines.outputs.captions import open_captions, rows_by_file
from beamscribe.schemas.coco import parse_coco
from beamscribe.storage.uri import read_uri
from beamscribe.training.captions import meet, read_captions
from beamscribe.training.scores import Scorer

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class Scores(NamedTuple):
    """CIDEr of each photograph.

    Attributes:
        student: (photographs,).
        teacher: (photographs,).
        confidence: of the student's captions, (photographs,).
    """

    student: np.ndarray
    teacher: np.ndarray
    confidence: np.ndarray


def merged(scores: Scores, share: float) -> tuple[float, float]:
    """Mean CIDEr when a share of the photographs is the teacher's: the least sure ones, and random ones."""
    retaken = np.argsort(scores.confidence, kind="stable")[: round(share * len(scores.confidence))]
    both = scores.student.copy()
    both[retaken] = scores.teacher[retaken]
    part = len(retaken) / len(both)
    return float(both.mean()), float((1 - part) * scores.student.mean() + part * scores.teacher.mean())


def measure(output: str, annotations: str) -> Scores:
    """Scores both; photographs with fewer than two human captions, or without a confidence, are left out."""
    confidence: dict[str, float | None] = {
        row["image_uri"]: row["confidence"] for rows in rows_by_file(open_captions(output, {})) for row in rows
    }
    meeting = meet(read_captions(output, {}), parse_coco(read_uri(annotations, {})).images)
    images = {
        str(image.id): [one.text for one in image.captions] for image in meeting.images if len(image.captions) > 1
    }
    said = {id: one for id, one in meeting.captions.items() if id in images and confidence[one.image_uri] is not None}
    references = {id: images[id][1:] for id in said}
    with Scorer(references) as scorer:
        student = scorer.score({id: caption.caption for id, caption in said.items()}).images["cider"]
        teacher = scorer.score({id: images[id][0] for id in said}).images["cider"]
    return Scores(student, teacher, np.array([confidence[one.image_uri] for one in said.values()], float))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", help="of beamscribe caption, by a calibrated bundle")
    parser.add_argument("annotations", help="COCO JSON with several human captions of these photographs")
    args = parser.parse_args(argv)
    scores = measure(args.output, args.annotations)
    print(
        f"{len(scores.student)} photographs\n\n| captioned again | least sure | at random | margin |\n|---|---|---|---|"
    )
    for share in SHARES:
        surest, random = merged(scores, share)
        print(f"| {share:.0%} | {surest:.3f} | {random:.3f} | {surest - random:+.3f} |")


if __name__ == "__main__":
    main()
