"""Learns the linear model of `beamscribe.model.confidence.Calibration`: which tokens people would use of a picture."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.linalg
import scipy.sparse
import tensorflow as tf

from beamscribe.model.confidence import Calibration, described, rooted
from beamscribe.model.tokenizer import END, Tokenizer
from beamscribe.training.dataset import FeatureSet
from beamscribe.training.sentences import unit_rows

PENALTY = 0.1
"""Of the regression, for unit vectors: of 0.03 to 1 what separates held-out captions best."""
COMPONENTS = 72
"""Whose products are inputs: of 48 to 96 what separates held-out captions best."""
PHOTOGRAPHS = 20
"""In whose captions a token must be to be predicted."""
BATCH = 256
LONGEST = 40
"""Tokens of a caption that are looked at."""


def learn_tokens(calibration: Calibration, features: FeatureSet, tokenizer: Tokenizer) -> Calibration:
    """Fits the linear model by ridge regression.

    Args:
        calibration: whose other arrays stay.
        features: of photographs with captions.
        tokenizer: of the captioner.

    Returns:
        The calibration with the model; unchanged where no token is in the captions of `PHOTOGRAPHS` photographs.
    """
    count = len(features.ids)
    presence, mean = _presence(features.captions, tokenizer), _mean_over_captions(features.captions)
    photographs = np.asarray(((mean @ presence) > 0).sum(axis=0)).ravel()
    tokens = np.flatnonzero(photographs >= PHOTOGRAPHS).astype(np.int32)
    if not len(tokens):
        return calibration
    rarity = np.log(count / photographs[tokens]).astype(np.float32)
    wanted = mean @ unit_rows(presence[:, tokens].multiply(rarity).tocsr())
    usual = np.asarray(wanted.mean(axis=0), np.float32).ravel()
    begun = _with_components(calibration, features)
    parts = [described(begun, tf.constant(batch)) for batch in _batches(features)]
    inputs, photographs = (np.concatenate([part[place].numpy() for part in parts]) for place in (0, 1))
    middle = inputs.mean(axis=0)
    inputs -= middle
    # The inputs are centred, so the mean of what is wanted needs no column.
    squares = inputs.T @ inputs
    squares[np.diag_indices(len(squares))] += PENALTY
    slopes = scipy.linalg.solve(squares, (wanted.T @ inputs).T, assume_a="pos")
    scales = np.maximum(np.abs(slopes).max(axis=0), 1e-12)
    return begun._replace(
        photographs=photographs.astype(np.float16),
        tokens=tokens,
        rarity=rarity,
        slopes=(slopes / scales).astype(np.float16),
        scales=scales.astype(np.float32),
        offsets=(usual - middle @ slopes).astype(np.float32),
    )


def _batches(features: FeatureSet) -> Iterator[np.ndarray]:
    count = len(features.ids)
    return (features.inputs(np.arange(start, min(start + BATCH, count))) for start in range(0, count, BATCH))


def _with_components(calibration: Calibration, features: FeatureSet) -> Calibration:
    """Fits what makes vectors of images, and the components of these."""
    vectors = np.concatenate([rooted(tf.constant(batch)).numpy() for batch in _batches(features)])
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3
    vectors = (vectors - centre) / spread
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    # In the order of their size, the smallest first.
    directions = np.linalg.eigh(vectors.T @ vectors)[1][:, -COMPONENTS:]
    return calibration._replace(centre=centre, spread=spread, directions=directions.astype(np.float16))


def _presence(captions: Sequence[Sequence[str]], tokenizer: Tokenizer) -> scipy.sparse.csr_matrix:
    """Which tokens each caption has, float32 (captions, vocabulary) of zeros and ones."""
    tokens = tokenizer.tokenize([text for texts in captions for text in texts], LONGEST)
    rows, places = np.nonzero(tokens > END)
    shape = (len(tokens), len(tokenizer.vocabulary))
    found = scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, tokens[rows, places])), shape)
    found.data[:] = 1.0
    return found


def _mean_over_captions(captions: Sequence[Sequence[str]]) -> scipy.sparse.csr_matrix:
    """The matrix (photographs, captions) that takes the mean over the captions of each photograph."""
    counts = np.array([len(texts) for texts in captions])
    rows = np.repeat(np.arange(len(captions)), counts)
    values = (1 / counts[rows]).astype(np.float32)
    return scipy.sparse.csr_matrix((values, (rows, np.arange(len(rows)))), (len(captions), len(rows)))
