"""How well captions agree with what people wrote: BLEU, METEOR, ROUGE-L and CIDEr of pycocoevalcap, the reference."""

import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from beamscribe.schemas.evaluation import METRICS
from beamscribe.training.java_scorers import Meteor
from beamscribe.training.words import rules_for, tokenize

_BLEU = METRICS[:4]
_N = len(_BLEU)
# Columns of `Scores.sums`.
_ROUGE_L, _CIDER, _LENGTH, _REFERENCE_LENGTH = range(4)
_GUESSED, _CORRECT, _METEOR = slice(4, 4 + _N), slice(4 + _N, 4 + 2 * _N), slice(4 + 2 * _N, None)


class NoReferencesError(ValueError):
    """There is nothing to compare captions with."""


class Scores(NamedTuple):
    """The scores of one set of captions.

    Attributes:
        ids: of the images, in the order of the references.
        captions: tokenised, one an image; empty where there was none.
        values: metric → score of the whole set, as the reference gives it.
        images: metric → (images,), each image's own score. BLEU and METEOR of the set are not their means.
        sums: (images, columns), what the scores of any choice of images are functions of when it is summed over them,
            see `Scorer.of_sums`.
    """

    ids: tuple[str, ...]
    captions: tuple[str, ...]
    values: dict[str, float]
    images: dict[str, np.ndarray]
    sums: np.ndarray


def caption_scores(captions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Scores:
    """Scores one set of captions, see `Scorer`; METEOR takes ten seconds to start."""
    with Scorer(references) as scorer:
        return scorer.score(captions)


class Scorer:
    """Scores sets of captions against the same references; a `with` block ends METEOR's process.

    Attributes:
        references: tokenised captions that people wrote, by image id.
        words: by which rules, see `beamscribe.training.words`.
    """

    def __init__(self, references: Mapping[str, Sequence[str]], words: str | None = None) -> None:
        """Tokenises the references.

        Args:
            references: at least one image, with at least one caption each; raw texts by image id.
            words: `ptb` or `unicode`; by default what the letters of the references ask for.

        Raises:
            NoReferencesError: if there are none, or no word in any.
            JavaError: if Java fails.
        """
        bare = [id for id, texts in references.items() if not texts]
        if bare or not references:
            raise NoReferencesError(f"image {bare[0]} has no references" if bare else "there are no references")
        raw = [text for texts in references.values() for text in texts]
        self.words = words or rules_for(raw)
        with contextlib.ExitStack() as until_ready:
            self._meteor = until_ready.enter_context(Meteor())
            tokenized = iter(tokenize(raw, self.words))
            self.references = {id: [next(tokenized) for _ in texts] for id, texts in references.items()}
            if not any(text for texts in self.references.values() for text in texts):
                raise NoReferencesError("no reference holds a word")
            until_ready.pop_all()

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._meteor.__exit__(kind, error, traceback)

    def score(self, captions: Mapping[str, str]) -> Scores:
        """Scores a set of captions.

        Args:
            captions: raw texts by image id. An image of the references without one scores as an empty caption; one
                without references is ignored.

        Raises:
            JavaError: if Java fails.
        """
        tokenized = tokenize([captions.get(id, "") for id in self.references], self.words)
        results = {id: [text] for id, text in zip(self.references, tokenized, strict=True)}
        bleu_scorer = BleuScorer(n=_N)
        for id, (text,) in results.items():
            bleu_scorer += (text, self.references[id])
        bleu, image_bleu = bleu_scorer.compute_score(option="closest")
        rouge_l, image_rouge_l = Rouge().compute_score(self.references, results)
        cider, image_cider = Cider().compute_score(self.references, results)
        counts = np.array(
            [self._meteor.statistics(text, self.references[id]) for id, (text,) in results.items()], np.float64
        )
        (meteor,) = self._meteor.scores(counts.sum(axis=0, keepdims=True))
        values = (*bleu, meteor, rouge_l, cider)
        images = (*image_bleu, self._meteor.scores(counts), image_rouge_l, image_cider)
        return Scores(
            ids=tuple(self.references),
            captions=tuple(tokenized),
            values=dict(zip(METRICS, map(float, values), strict=True)),
            images=dict(zip(METRICS, map(np.asarray, images), strict=True)),
            sums=np.column_stack([image_rouge_l, image_cider, _bleu_counts(bleu_scorer), counts]),
        )

    def of_sums(self, sums: np.ndarray, images: int) -> dict[str, np.ndarray]:
        """The scores of sets of images, from what `Scores.sums` adds up to over each.

        CIDEr weighs words by how many images of all references name them, whichever images are summed over.

        Args:
            sums: (sets, columns).
            images: number of images in each set.

        Returns:
            metric → (sets,).
        """
        return {
            **dict(zip(_BLEU, _bleu_of_sums(sums), strict=True)),
            "meteor": self._meteor.scores(sums[:, _METEOR]),
            "rouge_l": sums[:, _ROUGE_L] / images,
            "cider": sums[:, _CIDER] / images,
        }


def _bleu_counts(scorer: BleuScorer) -> np.ndarray:
    """What BLEU counts of each image, (images, 2 + 2 × 4)."""
    return np.array(
        [
            [
                counts["testlen"],
                scorer._single_reflen(counts["reflen"], "closest", counts["testlen"]),
                *counts["guess"],
                *counts["correct"],
            ]
            for counts in scorer.ctest
        ],
        np.float64,
    )


def _bleu_of_sums(sums: np.ndarray) -> list[np.ndarray]:
    """BLEU-1 to BLEU-4 of each row.

    Source: `BleuScorer.compute_score` of pycocoevalcap, with its constants, for many rows at once.
    """
    small, tiny = 1e-9, 1e-15
    precisions = np.cumprod((sums[:, _CORRECT] + tiny) / (sums[:, _GUESSED] + small), axis=1)
    ratio = (sums[:, _LENGTH] + tiny) / (sums[:, _REFERENCE_LENGTH] + small)
    penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return [precisions[:, k] ** (1 / (k + 1)) * penalty for k in range(_N)]
