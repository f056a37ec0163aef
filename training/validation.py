"""What a captioner's own captions of the validation images are worth, after each epoch."""

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model.captioner import Captioner
from beamscribe.model.decoding import beam_search
from beamscribe.model.ensemble import Ensemble
from beamscribe.model.freezing import compiled
from beamscribe.model.tokenizer import END, PAD
from beamscribe.training.choice import CIDER, NOISE
from beamscribe.training.cider import CiderReward
from beamscribe.training.dataset import FeatureSet
from beamscribe.training.material import Material, TokenSet

BEAMS, MAX_LENGTH = 3, 24
"""As `beamscribe caption` searches by default."""
IMAGES = 1000
"""Images of a validation set at most, the first ones; they tell epochs apart well enough."""

FEW_IMAGES = 8
"""Below that many, CIDEr is never taken for more than chance."""
ERRORS = 3.0
"""Standard errors by which captions must score higher for their own images than for others."""
NEVER = 10.0
"""The highest CIDEr that there is."""


def said(row: np.ndarray) -> list[int]:
    """Tokens up to the end token, which a caption that broke off does not have."""
    ids = row[row != PAD].tolist()
    return ids[: ids.index(END) + 1] if END in ids else ids


def references(features: FeatureSet, tokens: TokenSet) -> list[list[list[int]]]:
    """Captions of each image, from their first word to their end token."""
    return [
        [said(tokens.rows[index, 1:]) for index in range(tokens.offsets[image], tokens.offsets[image + 1])]
        for image in range(len(features.ids))
    ]


class CiderValidation:
    """Captions the validation images and scores the captions.

    Args:
        material: validation images, and training captions for the document frequencies.
        captioner: the model, whatever its weights at the time.
        batch_size: images a step.
    """

    def __init__(self, material: Material, captioner: Captioner | Ensemble, batch_size: int) -> None:
        self._features, self._batch_size = material.validation, batch_size
        max_length = min(MAX_LENGTH, captioner.config.max_length - 2)
        self._reward = CiderReward(
            references(material.validation, material.validation_tokens),
            references(material.training, material.training_tokens),
        )
        self._write = compiled(
            lambda features: beam_search(captioner, features, BEAMS, max_length).tokens[:, 0],
            input_signature=[tf.TensorSpec((None, *material.validation.shape), tf.float16)],
        )

    def __call__(self) -> float:
        """Mean CIDEr, 0 to 10."""
        return float(np.mean([self._reward.score(image, caption) for image, caption in enumerate(self._captions())]))

    def with_noise(self) -> tuple[float, float]:
        """Mean CIDEr, and what it must exceed to tell that the captions are of their images.

        Each caption is also scored for the next image. That mean and three standard errors of the difference are the
        bound: a caption that is said of every image scores the same for all of them.
        """
        captions = self._captions()
        own, others = (
            np.array([self._reward.score((image + by) % len(captions), said) for image, said in enumerate(captions)])
            for by in (0, 1)
        )
        error = float(np.std(own - others) / np.sqrt(len(captions)))
        noise = NEVER if len(captions) < FEW_IMAGES else float(others.mean()) + ERRORS * error
        return float(own.mean()), noise

    def _captions(self) -> list[list[int]]:
        """What the captioner says of each image now."""
        images = np.arange(min(len(self._features.ids), IMAGES))
        found: list[list[int]] = []
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            found += map(said, self._write(tf.constant(self._features.inputs(batch))).numpy())
        return found


class LogCider(keras.callbacks.Callback):
    """Adds CIDEr and its noise to what is known of an epoch; comes before the callbacks that use it.

    Args:
        validation: measures it.
    """

    def __init__(self, validation: CiderValidation) -> None:
        super().__init__()
        self.validation = validation

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures."""
        if logs is not None:
            logs[CIDER], logs[NOISE] = self.validation.with_noise()
            print(f"{CIDER}: {logs[CIDER]:.4f} (chance: below {logs[NOISE]:.4f})", flush=True)
