"""What a training run works on: images with features, their captions as tokens, and the tokenizer learned from them."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.tokenizer import PAD, Tokenizer, learn_vocabulary
from beamscribe.training.config import TrainingConfig
from beamscribe.training.dataset import FeatureSet, read_features, split


class TokenSet(NamedTuple):
    """Captions of a `FeatureSet` as tokens.

    Attributes:
        rows: int32 (captions, length), all captions one after another.
        offsets: int (images + 1,), where each image's captions begin.
    """

    rows: np.ndarray
    offsets: np.ndarray

    def caption(self, index: int) -> np.ndarray:
        """A caption from its start to its end token, int32 (n,)."""
        row = self.rows[index]
        return row[: np.count_nonzero(row != PAD)]


def tokenize(features: FeatureSet, tokenizer: Tokenizer, length: int) -> TokenSet:
    """Tokenises every caption once."""
    counts = [len(captions) for captions in features.captions]
    texts = [text for captions in features.captions for text in captions]
    return TokenSet(tokenizer.tokenize(texts, length), np.concatenate([[0], np.cumsum(counts)]))


class Material(NamedTuple):
    """What a training run works on.

    Attributes:
        training: images to learn from.
        training_tokens: their captions.
        validation: images to stop by, none of which is learned from.
        validation_tokens: their captions.
        tokenizer: learned from the training captions.
    """

    training: FeatureSet
    training_tokens: TokenSet
    validation: FeatureSet
    validation_tokens: TokenSet
    tokenizer: Tokenizer


def prepare(
    features: list[str], validation: list[str] | None, config: TrainingConfig, work: str, options: dict[str, Any]
) -> Material:
    """Unpacks features, learns the vocabulary and tokenises.

    Args:
        features: outputs of featurize to learn from.
        validation: outputs to stop by; without them a share of `features` is held out.
        config: the recipe.
        work: folder for the unpacked features.
        options: passed to fsspec for remote storage.

    Raises:
        RefusedError: if the features cannot be used.
    """
    cache = os.path.join(work, "features")
    training_set = read_features(features, cache, options)
    if validation is None:
        training_set, validation_set = split(training_set, config.held_out)
    else:
        validation_set = read_features(validation, cache, options)
    if (training_set.weights_digest, training_set.grid) != (validation_set.weights_digest, validation_set.grid):
        raise RefusedError("--features and --validation come from different backbones: featurize both with the same")
    tokenizer = Tokenizer(learn_vocabulary(_distinct_texts(training_set), config.vocabulary_size))
    return Material(
        training_set,
        tokenize(training_set, tokenizer, config.max_length),
        validation_set,
        tokenize(validation_set, tokenizer, config.max_length),
        tokenizer,
    )


def _distinct_texts(features: FeatureSet) -> Sequence[str]:
    """Captions of each id once: views of one photograph say the same."""
    captions = dict(zip(features.ids, features.captions, strict=True))
    return [text for texts in captions.values() for text in texts]
