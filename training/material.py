"""What a training run works on: images with features, their captions as tokens, and the tokenizer learned from them."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.tokenizer import PAD, Tokenizer, learn_vocabulary
from beamscribe.training.config import TrainingConfig
from beamscribe.training.dataset import FeatureSet, read_features, split
from beamscribe.training.plan import Plan
from beamscribe.training.sentences import Sentences, nearest_once, read_sentences


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
        plan: which of the training images an epoch shows, and how often.
        sentences: without images, which the decoder reads first.
    """

    training: FeatureSet
    training_tokens: TokenSet
    validation: FeatureSet
    validation_tokens: TokenSet
    tokenizer: Tokenizer
    plan: Plan
    sentences: Sentences


def prepare(
    features: list[str],
    validation: list[str] | None,
    config: TrainingConfig,
    work: str,
    options: dict[str, Any],
    texts: Sequence[str] = (),
    weights: Sequence[float] | None = None,
) -> Material:
    """Unpacks features, learns the vocabulary and tokenises.

    Args:
        features: outputs of featurize to learn from.
        validation: outputs to stop by; without them a share of `features` is held out.
        config: the recipe.
        work: folder for the unpacked features.
        options: passed to fsspec for remote storage.
        texts: files of sentences without images.
        weights: of each output in `features`: how often an epoch shows its images, 1 without.

    Raises:
        RefusedError: if the features or the texts cannot be used.
    """
    cache = os.path.join(work, "features")
    sentences = read_sentences(texts, options)
    training_set = read_features(features, cache, options)
    if validation is None:
        training_set, validation_set = split(training_set, config.held_out)
    else:
        validation_set = read_features(validation, cache, options)
    if (training_set.weights_digest, training_set.grid) != (validation_set.weights_digest, validation_set.grid):
        raise RefusedError("--features and --validation come from different backbones: featurize both with the same")
    if config.nearest_sentences and sentences.texts:
        training_set = with_nearest(training_set, sentences, config, cache)
    tokenizer = Tokenizer(learn_vocabulary(_distinct_texts(training_set), config.vocabulary_size))
    shares = np.asarray(weights, np.float64)[training_set.sources] if weights else np.ones(len(training_set.ids))
    return Material(
        training_set,
        tokenize(training_set, tokenizer, config.max_length),
        validation_set,
        tokenize(validation_set, tokenizer, config.max_length),
        tokenizer,
        Plan.of(shares, config.epoch_images),
        sentences,
    )


def with_nearest(features: FeatureSet, sentences: Sentences, config: TrainingConfig, cache: str) -> FeatureSet:
    """The images with the sentences nearest to their captions added, where they have fewer than a step shows."""
    few = {
        identifier: captions
        for identifier, captions in zip(features.ids, features.captions, strict=True)
        if len(captions) < config.captions_per_image
    }
    found = dict(
        zip(
            few,
            nearest_once(list(few.values()), sentences, config.nearest_sentences, config.nearest_least, cache),
            strict=True,
        )
    )
    captions = tuple(
        (*own, *found.get(identifier, ())) for identifier, own in zip(features.ids, features.captions, strict=True)
    )
    return features._replace(captions=captions)


def _distinct_texts(features: FeatureSet) -> Sequence[str]:
    """Captions of each id once: views of one photograph say the same."""
    captions = dict(zip(features.ids, features.captions, strict=True))
    return [text for texts in captions.values() for text in texts]
