"""`scores.json`: how well the captions of one output, or of two, agree with what people wrote."""

import dataclasses
import json
from dataclasses import dataclass

VERSION = 1
PTB, UNICODE = "ptb", "unicode"
"""Rules by which captions are cut into words, see `beamscribe.training.words`."""

METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")


@dataclass(frozen=True)
class Score:
    """A score of a set of images, and the interval that it would mostly fall into with other images of their kind."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much higher the captions score than those they are set against.

    Attributes:
        value: difference of the scores.
        low: lower end of its interval.
        high: upper end of its interval.
        first_better: share of the resamples in which the captions score higher, 0 to 1.
    """

    value: float
    low: float
    high: float
    first_better: float


@dataclass(frozen=True)
class MissingWord:
    """A word of the references that no caption has.

    Attributes:
        word: in lower case.
        references: how often the references have it.
    """

    word: str
    references: int


@dataclass(frozen=True)
class Diversity:
    """How much the captions differ from each other, and what they never say.

    Attributes:
        distinct_captions: number of different captions, letter for letter.
        mean_words: words a caption, punctuation left out.
        most_frequent_caption: the caption that most images have.
        most_frequent_share: share of the captions that are this one, 0 to 1.
        reference_words: number of different words in the references.
        words_never_produced: how many of these no caption has.
        missing_words: those that the references have most often, the most frequent first.
    """

    distinct_captions: int
    mean_words: float
    most_frequent_caption: str
    most_frequent_share: float
    reference_words: int
    words_never_produced: int
    missing_words: tuple[MissingWord, ...]


@dataclass(frozen=True)
class EvaluatedCaptions:
    """The scores of one output of `beamscribe caption`.

    Attributes:
        output: URI of the output.
        fingerprints: of the rows that were scored.
        images_with_caption: annotated images that have a caption.
        images_without_caption: annotated images that have none, scored as an empty caption.
        captions_without_references: captions of images that nobody annotated, ignored.
        scores: by metric.
        diversity: of the captions that there are.
        rows: the Parquet file with each image's scores, beside this one; None if none was written.
    """

    output: str
    fingerprints: tuple[str, ...]
    images_with_caption: int
    images_without_caption: int
    captions_without_references: int
    scores: dict[str, Score]
    diversity: Diversity
    rows: str | None


@dataclass(frozen=True)
class Evaluation:
    """What `beamscribe evaluate` found.

    Attributes:
        annotations: URI of the references.
        annotations_sha256: of that file's bytes.
        images: number of annotated images; all of them are scored.
        captions: what was asked for.
        against: what it was compared with, if anything.
        differences: by metric, `captions` minus `against`, if there is something to compare with.
        confidence: of all intervals, 0 to 1.
        resamples: of the bootstrap that found the intervals.
        reference: version of pycocoevalcap, which defines the metrics.
        java: version of the Java that ran its tokenizer and METEOR.
        words: how captions were cut into words, `ptb` (pycocoevalcap's tokenizer) or `unicode`, see
            `beamscribe.training.words`; older files do not say it, and are `ptb`.
        schema_version: of this file.
    """

    annotations: str
    annotations_sha256: str
    images: int
    captions: EvaluatedCaptions
    against: EvaluatedCaptions | None
    differences: dict[str, Difference] | None
    confidence: float
    resamples: int
    reference: str
    java: str
    words: str
    schema_version: int = VERSION

    def to_json(self) -> str:
        """The evaluation as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
