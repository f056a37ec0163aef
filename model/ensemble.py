"""Several captioners that write together."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder import Cache


class Ensemble(keras.Model):
    """Captioners of equal sizes and different weights that choose each token by the mean of their log probabilities.

    One that is mistaken is outvoted, for as many times the decoding. Everything that a trained `Captioner` can do to
    write captions this can do too.

    Args:
        config: kind and sizes of each.
        members: how many.
    """

    def __init__(self, config: CaptionerConfig, members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.members = [Captioner(config, name=member_name(number)) for number in range(members)]

    def build(self, input_shape: Any = None) -> None:
        """Builds every member; the sizes are all in the config."""
        for member in self.members:
            member.build()
        self.built = True

    @property
    def encoder(self) -> keras.layers.Layer:
        """The first member's, for a look inside."""
        return self.members[0].encoder

    @property
    def decoder(self) -> keras.layers.Layer:
        """The first member's, for a look inside."""
        return self.members[0].decoder

    def encode(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """What each member sees (batch, cells, width), side by side: (batch, cells, members × width)."""
        return tf.concat([member.encode(features, training) for member in self.members], axis=-1)

    def decode(
        self, tokens: tf.Tensor, image: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `Captioner.decode`; log probabilities for logits, and the attention heads of all members."""
        images = tf.split(image, len(self.members), axis=-1)
        pairs = [member.decode(tokens, own, training) for member, own in zip(self.members, images, strict=True)]
        logits, seen = zip(*pairs, strict=True)
        return _mean(logits), None if seen[0] is None else tf.concat(seen, axis=1)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """See `Captioner.call`."""
        features, tokens = inputs
        return self.decode(tokens, self.encode(features, training), training)[0]

    def start(self, image: tf.Tensor, beams: int) -> Cache:
        """See `Captioner.start`."""
        images = tf.split(image, len(self.members), axis=-1)
        caches = [member.start(own, beams) for member, own in zip(self.members, images, strict=True)]
        return Cache(tuple(cache.image for cache in caches), tuple(cache.words for cache in caches))

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Any]:
        """See `Captioner.step`."""
        kept = zip(self.members, cache.image, cache.words, strict=True)
        steps = [member.step(tokens, position, Cache(image, words)) for member, image, words in kept]
        logits, words = zip(*steps, strict=True)
        return _mean(logits), words

    def reorder(self, words: Any, rows: tf.Tensor) -> Any:
        """See `Captioner.reorder`."""
        return tuple(member.reorder(own, rows) for member, own in zip(self.members, words, strict=True))

    def select(self, words: Any, images: tf.Tensor, rows: tf.Tensor) -> Any:
        """See `Captioner.select`."""
        return tuple(member.select(own, images, rows) for member, own in zip(self.members, words, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the model again."""
        return {**self.members[0].get_config(), "members": len(self.members)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Ensemble":
        """The model of a config that went through JSON."""
        return cls(Captioner.from_config(config).config, config["members"])


def together(members: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Weights of captioners, as `model.weights.to_npz` gave each, for `model.weights.assign` to an ensemble."""
    return {
        f"{member_name(number)}/{name}": values
        for number, member in enumerate(members)
        for name, values in weights.arrays(member).items()
    }


def member_name(number: int) -> str:
    """What a member is called, and the paths of its variables begin with."""
    return f"member_{number}"


def from_config(config: dict[str, Any]) -> Captioner | Ensemble:
    """The captioner of a bundle's config, alone or several."""
    return (Ensemble if "members" in config else Captioner).from_config(config)


def _mean(logits: tuple[tf.Tensor, ...]) -> tf.Tensor:
    return tf.add_n([tf.nn.log_softmax(own) for own in logits]) / np.float32(len(logits))
