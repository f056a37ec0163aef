"""What there is to say of all captions of an output, counted file by file."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from beamscribe.pipelines.outputs.captions import Captions, rows_by_file
from beamscribe.pipelines.outputs.report.gallery import Gallery

BAR_WIDTH = 0.1
"""Width of a bar of the histogram of scores, in nats a token."""

CONFIDENCE_BARS = 20
CONFIDENCE_WIDTH = 1 / CONFIDENCE_BARS
"""Width of a bar of the histogram of confidences."""

MOST_FREQUENT = 10

MOST_WORDS, WORST_SCORE = 200, 20.0
"""Captions beyond are counted as these: a histogram has a bar for each step between its ends."""


class Bar(NamedTuple):
    """A bar of a histogram: values from `low` up to `high`, and the number of captions that have one."""

    low: float
    high: float
    captions: int


class Survey:
    """Counts over all captions.

    Attributes:
        captions: their number.
        words: words → captions of that length.
        texts: caption → images that have it.
        flags: flag → captions that have it.
        repairs: repair → images that needed it.
        score_sum: of all scores, nats a token.
        confidence_sum: of all confidences.
    """

    def __init__(self) -> None:
        self.captions = 0
        self.words: Counter[int] = Counter()
        self.texts: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.score_sum = 0.0
        self._scores: Counter[int] = Counter()
        self.confidence_sum = 0.0
        self._confidences: Counter[int] = Counter()

    def count(self, rows: Iterable[dict[str, Any]]) -> None:
        """Counts the rows of one file."""
        for row in rows:
            self.captions += 1
            self.words[min(len(row["caption"].split()), MOST_WORDS)] += 1
            self.texts[row["caption"]] += 1
            self.flags.update(row["flags"])
            self.repairs.update(row["repairs"])
            if row["score"] is not None and math.isfinite(row["score"]):
                score = min(max(row["score"], -WORST_SCORE), WORST_SCORE)
                self.score_sum += score
                self._scores[math.floor(score / BAR_WIDTH + 1e-6)] += 1
            confidence = row.get("confidence")
            if confidence is not None and 0 <= confidence <= 1:
                self.confidence_sum += confidence
                self._confidences[min(math.floor(confidence / CONFIDENCE_WIDTH), CONFIDENCE_BARS - 1)] += 1

    @property
    def mean_score(self) -> float | None:
        """Mean of the scores, nats a token; None without any."""
        return self.score_sum / self._scores.total() if self._scores else None

    @property
    def mean_confidence(self) -> float | None:
        """Mean of the confidences; None without any."""
        return self.confidence_sum / self._confidences.total() if self._confidences else None

    def confidence_bars(self) -> list[Bar]:
        """Captions by confidence, in steps of `CONFIDENCE_WIDTH`, the lowest first."""
        return _without_gaps(self._confidences, CONFIDENCE_WIDTH)

    def score_bars(self) -> list[Bar]:
        """Captions by score, in steps of `BAR_WIDTH`, the lowest first."""
        return _without_gaps(self._scores, BAR_WIDTH)

    def length_bars(self) -> list[Bar]:
        """Captions by number of words, the shortest first."""
        return _without_gaps(self.words, 1)

    def more_frequent_than_shown(self) -> bool:
        """Whether more captions than those of `most_frequent` have several images."""
        return len([count for _, count in self.texts.most_common(MOST_FREQUENT + 1) if count > 1]) > MOST_FREQUENT

    def most_frequent(self) -> list[tuple[str, int]]:
        """Captions that more than one image has, the most frequent first."""
        return [(text, count) for text, count in self.texts.most_common(MOST_FREQUENT) if count > 1]


def _without_gaps(counts: Counter[int], width: float) -> list[Bar]:
    if not counts:
        return []
    return [Bar(step * width, (step + 1) * width, counts[step]) for step in range(min(counts), max(counts) + 1)]


def survey(captioned: Captions, gallery: Gallery, least: float = 0.0) -> Survey:
    """Reads every committed caption once.

    Args:
        captioned: output of beamscribe caption.
        gallery: sees every row too.
        least: confidence below which captions are left out; those without one stay.

    Raises:
        ValueError: if a file is damaged.
        OSError: if one cannot be read.
    """
    found = Survey()
    for rows in rows_by_file(captioned, least):
        found.count(rows)
        gallery.pass_by(rows)
    return found
