"""CIDEr of token sequences, fast enough to be a reward (Vedantam et al. 2015, arXiv:1411.5726, variant CIDEr-D).

The same sums as `pycocoevalcap`, over subword ids instead of tokenised words and with the end token as a word, so that
a caption which breaks off scores lower (without it self-critical training learns to end in "with a"). `beamscribe
evaluate` is the measure of quality; this is for training alone.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

LONGEST = 4
LENGTH_DEVIATION = 6.0
SCALE = 10.0

Ngram = tuple[int, ...]
Caption = Sequence[int]


class _Weighted:
    """A caption's n-grams weighted by tf-idf.

    Attributes:
        weights: for each order, n-gram → weight.
        norms: of each order.
        length: number of bigrams, as the reference counts it.
    """

    __slots__ = ("length", "norms", "weights")

    def __init__(self, weights: list[dict[Ngram, float]], length: int) -> None:
        self.weights, self.length = weights, length
        self.norms = [math.sqrt(sum(weight * weight for weight in order.values())) for order in weights]


class CiderReward:
    """Scores captions of images whose references are known.

    Args:
        references: captions of each image, each from its first word to its end token.
        documents: the images whose references the document frequencies come from; `references` themselves without.
    """

    def __init__(
        self, references: Sequence[Sequence[Caption]], documents: Iterable[Sequence[Caption]] | None = None
    ) -> None:
        self._references = references
        self._weighted: dict[int, list[_Weighted]] = {}
        frequencies: Counter[Ngram] = Counter()
        count = 0
        for captions in references if documents is None else documents:
            frequencies.update({ngram for caption in captions for ngram in _ngrams(caption)})
            count += 1
        self._everywhere = math.log(max(count, 2))
        self._rarity = {ngram: self._everywhere - math.log(images) for ngram, images in frequencies.items()}

    def _weigh(self, caption: Caption) -> _Weighted:
        weights: list[dict[Ngram, float]] = [{} for _ in range(LONGEST)]
        for ngram, count in Counter(_ngrams(caption)).items():
            weights[len(ngram) - 1][ngram] = count * self._rarity.get(ngram, self._everywhere)
        return _Weighted(weights, max(len(caption) - 1, 0))

    def score(self, image: int, caption: Caption) -> float:
        """CIDEr of one caption, 0 to 10.

        Args:
            image: its place in `references`.
            caption: from its first word to its end token.
        """
        if image not in self._weighted:
            self._weighted[image] = [self._weigh(reference) for reference in self._references[image]]
        args, references = self._weigh(caption), self._weighted[image]
        return SCALE * sum(_similarity(args, reference) for reference in references) / len(references)


def _ngrams(caption: Caption) -> list[Ngram]:
    words = tuple(caption)
    return [words[start : start + order] for order in range(1, LONGEST + 1) for start in range(len(words) - order + 1)]


def _similarity(args: _Weighted, theirs: _Weighted) -> float:
    """Mean over the orders of the clipped cosine, less for another length."""
    total = 0.0
    for order in range(LONGEST):
        norm = args.norms[order] * theirs.norms[order]
        if norm:
            reference = theirs.weights[order]
            total += (
                sum(
                    min(weight, reference[ngram]) * reference[ngram]
                    for ngram, weight in args.weights[order].items()
                    if ngram in reference
                )
                / norm
            )
    difference = args.length - theirs.length
    return total / LONGEST * math.exp(-(difference**2) / (2 * LENGTH_DEVIATION**2))
