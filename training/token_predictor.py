"""Learns the linear model of `beamscribe.model.confidence.Calibration`: which tokens people would use of a picture."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import tensorflow as tf

from beamscribe.model.confidence import Calibration, pooled
from beamscribe.model.tokenizer import END, Tokenizer
from beamscribe.training.dataset import FeatureSet
from beamscribe.training.sentences import unit_rows

PENALTY = 0.2
"""Of the regression, a photograph, for standardised inputs: of 0.1 to 3 what separates held-out captions best."""
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
    batches = [features.inputs(np.arange(start, min(start + BATCH, count))) for start in range(0, count, BATCH)]
    inputs = np.concatenate([pooled(tf.constant(batch)).numpy() for batch in batches])
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    inputs = (inputs - centre) / spread
    # The inputs are centred, so the mean of what is wanted needs no column.
    products = (wanted.T @ inputs).T
    slopes = np.linalg.solve(inputs.T @ inputs + PENALTY * count * np.eye(inputs.shape[1]), products) / spread[:, None]
    scales = np.maximum(np.abs(slopes).max(axis=0), 1e-12)
    return calibration._replace(
        tokens=tokens,
        rarity=rarity,
        slopes=(slopes / scales).astype(np.float16),
        scales=scales.astype(np.float32),
        offsets=(usual - centre @ slopes).astype(np.float32),
    )


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
