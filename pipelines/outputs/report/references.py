"""What people wrote of the photographs of a report, and how well the captions agree with it."""

import json
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.schemas import evaluation, score_row
from beamscribe.schemas.evaluation import Score
from beamscribe.schemas.rows import ParquetRows
from beamscribe.schemas.table import NewerSchemaError, check_version
from beamscribe.storage.location import base_name
from beamscribe.storage.uri import read_uri

ROWS = ParquetRows("", score_row.SCHEMA, score_row.VERSION)
SHOWN = ("bleu_4", "meteor", "rouge_l", "cider")
NAMES = {"bleu_4": "BLEU-4", "meteor": "METEOR", "rouge_l": "ROUGE-L", "cider": "CIDEr"}


class ImageScores(NamedTuple):
    """What people wrote of one image, and its caption's scores by the name that people know them by."""

    references: tuple[str, ...]
    scores: dict[str, float]


class Evaluated(NamedTuple):
    """What beamscribe evaluate found.

    Attributes:
        images: number of annotated images.
        confidence: of the intervals, 0 to 1.
        scores: of the whole set, by name.
        by_uri: of each captioned image, by its URI.
    """

    images: int
    confidence: float
    scores: dict[str, Score]
    by_uri: dict[str, ImageScores]


def read_scores(uri: str, options: dict[str, Any]) -> Evaluated:
    """Reads `NAME.json` and the Parquet file beside it.

    Raises:
        RefusedError: if they are not what beamscribe evaluate wrote.
    """
    try:
        found = json.loads(read_uri(uri, options))
        check_version(uri, found["schema_version"], evaluation.VERSION)
        captions = found["captions"]
        # Beside it, whatever the file says.
        rows_uri = f"{uri.rpartition('/')[0] or '.'}/{base_name(captions['rows'])}"
        rows = ROWS.read(read_uri(rows_uri, options), rows_uri).to_pylist()
        scores = {NAMES[name]: Score(**captions["scores"][name]) for name in SHOWN}
        return Evaluated(found["images"], found["confidence"], scores, {row["image_uri"]: _of(row) for row in rows})
    except NewerSchemaError as error:
        raise RefusedError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"--scores {uri} is not what beamscribe evaluate --output wrote ({type(error).__name__}: {error}): "
            "give its NAME.json, with NAME.parquet beside it"
        ) from error


def _of(row: dict[str, Any]) -> ImageScores:
    return ImageScores(tuple(row["references"]), {NAMES[name]: row[name] for name in SHOWN})
