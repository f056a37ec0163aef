"""Batches of packed captions: a row an image, its captions one after another, so that hardly a place is padding.

Captions padded to the longest of a batch would be half padding (five captions of 13 tokens, the longest of 160 has 25).
The decoder's mask keeps captions of a row apart, see `beamscribe.model.masks.packed_mask`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from beamscribe.model.tokenizer import PAD
from beamscribe.training.material import Material, TokenSet
from beamscribe.training.plan import Plan

MULTIPLE = 8
"""Row lengths are multiples of this, so that few shapes occur."""

POOL = 20
"""Batches that are sorted by their amount of words together."""


class Inputs(Protocol):
    """What a model is given of images: features, or pixels while the backbone is tuned."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Number of the images."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is given of one image."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the same."""
        ...

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What is given of some images, (n, *shape)."""
        ...


class Lessons(NamedTuple):
    """What an epoch is made of.

    Attributes:
        training: to learn from.
        training_tokens: captions of the same images.
        validation: to stop by.
        validation_tokens: captions of the same images.
        plan: which of the training images an epoch shows, and how often.
    """

    training: Inputs
    training_tokens: TokenSet
    validation: Inputs
    validation_tokens: TokenSet
    plan: Plan


def feature_lessons(material: Material) -> Lessons:
    """Lessons on stored features."""
    return Lessons(
        material.training, material.training_tokens, material.validation, material.validation_tokens, material.plan
    )


class Batch(NamedTuple):
    """What a step works on.

    Attributes:
        inputs: features, float16 (batch, cells, channels); while a backbone is tuned, pixels.
        tokens: int32 (batch, length), what the decoder reads.
        wanted: int32 (batch, length), what it should say next.
    """

    inputs: np.ndarray
    tokens: np.ndarray
    wanted: np.ndarray


def pack(captions: Sequence[Sequence[np.ndarray]], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Packs captions.

    Args:
        captions: for each image its captions, each int (n,) from start to end token.
        length: of a row; the longest row's, rounded up, without one.

    Returns:
        Tokens and wanted tokens, int32 (images, length): captions without their last and without their first token.
    """
    if length is None:
        longest = max((sum(len(caption) - 1 for caption in row) for row in captions), default=0)
        length = max(MULTIPLE, -(-longest // MULTIPLE) * MULTIPLE)
    tokens = np.full((len(captions), length), PAD, np.int32)
    wanted = np.full((len(captions), length), PAD, np.int32)
    for place, row in enumerate(captions):
        if row:
            said = np.concatenate([caption[:-1] for caption in row])
            tokens[place, : len(said)] = said
            wanted[place, : len(said)] = np.concatenate([caption[1:] for caption in row])
    return tokens, wanted


def _batch(source: Inputs, tokens: TokenSet, images: np.ndarray, chosen: list[np.ndarray], size: int) -> Batch:
    """A batch of `size` images; places without one are padding, which no loss counts."""
    captions = [[tokens.caption(index) for index in indices] for indices in chosen]
    captions += [[] for _ in range(size - len(images))]
    inputs = np.zeros((size, *source.shape), source.dtype)
    inputs[: len(images)] = source.inputs(images)
    return Batch(inputs, *pack(captions))


def steps_an_epoch(plan: Plan, batch_size: int) -> int:
    """Batches that `training_batches` makes of the images of an epoch."""
    return max(1, plan.images // batch_size)


def training_batches(
    source: Inputs, tokens: TokenSet, plan: Plan, batch_size: int, captions: int, seed: int, first_epoch: int
) -> Iterator[Batch]:
    """Batches without end, in an order that depends on the seed and the epoch alone, so that a resumed run repeats it.

    Images of about the same amount of words come together (a third less padding on Flickr8k), in random order.

    Args:
        source: of the images.
        tokens: their captions.
        plan: which of them an epoch shows.
        batch_size: images a batch; what does not fill one is left for another epoch's order.
        captions: of an image in a batch, sampled where it has more.
        seed: of the order.
        first_epoch: where to begin.
    """
    size = min(batch_size, plan.images)
    words = np.add.reduceat(np.count_nonzero(tokens.rows, axis=1), tokens.offsets[:-1])
    epoch = first_epoch
    while True:
        random = np.random.default_rng((seed, epoch))
        order = plan.order(random)
        order = order[: len(order) // size * size]
        batches = []
        for pool in np.split(order, range(POOL * size, len(order), POOL * size)):
            pool = pool[np.argsort(words[pool], kind="stable")]
            batches += np.split(pool, len(pool) // size)
        for place in random.permutation(len(batches)):
            # Sorted within a batch: a memory-mapped file is read faster forwards.
            images = np.sort(batches[place])
            chosen = [
                random.permutation(np.arange(tokens.offsets[image], tokens.offsets[image + 1]))[:captions]
                for image in map(int, images)
            ]
            yield _batch(source, tokens, images, chosen, size)
        epoch += 1


def validation_batches(source: Inputs, tokens: TokenSet, batch_size: int) -> Iterator[Batch]:
    """Every image once, with all its captions, in order; the last batch is padded."""
    size = min(batch_size, len(source.ids))
    for start in range(0, len(source.ids), size):
        images = np.arange(start, min(start + size, len(source.ids)))
        chosen = [np.arange(tokens.offsets[image], tokens.offsets[image + 1]) for image in images]
        yield _batch(source, tokens, images, chosen, size)
