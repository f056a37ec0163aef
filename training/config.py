"""What a recipe decides."""

import dataclasses
import runpy
from dataclasses import dataclass
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.choice import AUTO
from beamscribe.model.decoder_names import TRANSFORMER


@dataclass(frozen=True)
class TrainingConfig:
    """A recipe; flags of the command line replace single fields.

    Attributes:
        decoder: one of `beamscribe.model.decoder_names.DECODERS`.
        epochs: passes over the images.
        epoch_images: images that an epoch shows at most, another choice each time; 0 is all of them.
        language_model_sentences: sentences without images (--texts) that the decoder reads first.
        language_model_learning_rate: their peak.
        nearest_sentences: sentences of --texts added to an image with fewer captions than `captions_per_image`.
        nearest_least: similarity to its captions below which none is added, see `training.sentences`.
        batch_size: images a step, each with all its captions.
        captions_per_image: captions of an image that one step sees; more are sampled anew each epoch.
        learning_rate: peak of the schedule.
        warmup: share of all steps in which the rate rises from zero; it falls along a cosine afterwards.
        label_smoothing: probability spread over all tokens.
        clip_norm: bound on the norm of all gradients together.
        patience: epochs without better captions of the validation images before training stops.
        held_out: share of the images to stop by where no validation set is given.
        vocabulary_size: subword tokens at most.
        max_length: tokens of the longest caption, start and end tokens included.
        width: of the vectors inside the captioner.
        heads: of each attention.
        feed_forward: width inside the feed-forward part.
        encoder_blocks: number of encoder blocks.
        decoder_blocks: number of decoder blocks.
        dropout: rate.
        visual_dropout: rate on the features, for "transformer" only.
        fine_tune_epochs: passes that train on through the upper part of the backbone, where that is asked for.
        fine_tune_learning_rate: their peak.
        self_critical_epochs: passes of self-critical training that follow.
        self_critical_images: images of one such pass at most; 0 is as many as an epoch has.
        self_critical_learning_rate: falls linearly to zero over them.
        self_critical_samples: captions of an image that are drawn and compared.
        self_critical_averaging: share of the past in the running mean of the weights; the mean is what is kept.
        self_critical_share: how far the weights go from where these passes began to where they ended; 1 is all the way.
        members: captioners that write together, each trained alone with a seed of its own.
        precision: of products of matrices, see `beamscribe.training.precision`.
        seed: of weights, dropout, samples and the order of the images.
        notice: what everyone who uses the bundle is told first, such as the terms of its training data.
    """

    decoder: str = TRANSFORMER
    epochs: int = 20
    epoch_images: int = 0
    language_model_sentences: int = 0
    language_model_learning_rate: float = 1e-3
    nearest_sentences: int = 0
    nearest_least: float = 0.2
    batch_size: int = 32
    captions_per_image: int = 5
    learning_rate: float = 4e-4
    warmup: float = 0.05
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    patience: int = 3
    held_out: float = 0.05
    vocabulary_size: int = 5000
    max_length: int = 32
    width: int = 512
    heads: int = 8
    feed_forward: int = 1024
    encoder_blocks: int = 1
    decoder_blocks: int = 1
    dropout: float = 0.3
    visual_dropout: float = 0.0
    fine_tune_epochs: int = 3
    fine_tune_learning_rate: float = 1e-4
    self_critical_epochs: int = 0
    self_critical_images: int = 0
    self_critical_learning_rate: float = 5e-5
    self_critical_samples: int = 5
    self_critical_averaging: float = 0.998
    self_critical_share: float = 0.5
    members: int = 1
    precision: str = AUTO
    seed: int = 0
    notice: str = ""


def read_config(path: str | None) -> TrainingConfig:
    """The recipe in a Python file that defines `CONFIG`; the default recipe without a file.

    Raises:
        RefusedError: if the file cannot be run or defines no recipe.
    """
    if path is None:
        return TrainingConfig()
    try:
        config = runpy.run_path(path).get("CONFIG")
    except OSError as error:
        raise RefusedError(f"--config {path} cannot be read: {error}") from error
    except (SyntaxError, TypeError, NameError, ImportError, AttributeError, ValueError) as error:
        raise RefusedError(f"--config {path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, TrainingConfig):
        raise RefusedError(f"--config {path} defines no CONFIG = TrainingConfig(...), see training/configs/")
    return config


def override(config: TrainingConfig, **fields: Any) -> TrainingConfig:
    """The recipe with the fields that are not None replaced."""
    return dataclasses.replace(config, **{name: value for name, value in fields.items() if value is not None})
