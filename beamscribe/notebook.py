"""For use from Python and notebooks: `from beamscribe import Captioner, featurize, speak`.

Whole corpora are for the jobs, which can be run from Python too: `beamscribe.main(["caption", "--images", …])`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from beamscribe.interface_writer import KERAS_HUB, InterfaceWriter, endpoint_writer, keras_hub_writer
from beamscribe.model.backbone.spec import BACKBONES, IMAGENET, BackboneSpec, backbone_name, resolve_weights
from beamscribe.model.bundle import open_bundle
from beamscribe.model.captioner_interface import Written
from beamscribe.model.pretrained import default_bundle
from beamscribe.pictures import Picture, many, padded, pixels_or_error
from beamscribe.pipelines.speak import normalize_text
from beamscribe.pipelines.speech import SpeechSettings, open_engine
from beamscribe.pipelines.speech.audio import check_audio, transcode
from beamscribe.schemas.caption_row import Alternative

if TYPE_CHECKING:
    from beamscribe.model.captioning import CaptionWriter

BATCH_SIZE = 32


class Caption(NamedTuple):
    """What a captioner says of one image, or why it says nothing.

    Attributes:
        text: an English sentence; empty where there is an error.
        score: mean natural-log probability of its tokens; 0 is certain, NaN where there is an error or none is known.
        alternatives: what else beam search ended with, best first.
        error: why there is no caption, such as "NotAnImage: …"; None where there is one.
        confidence: chance that the caption is acceptable, 0 to 1; None where the bundle was not calibrated.
    """

    text: str
    score: float
    alternatives: tuple[Alternative, ...] = ()
    error: str | None = None
    confidence: float | None = None


class Captioner:
    """Captions images; the model is loaded once.

    >>> from beamscribe import Captioner
    >>> captioner = Captioner.load()
    >>> captions = captioner.caption(["photographs/cat.jpg", "photographs/train.jpg"])
    >>> len(captions)
    2
    >>> captions[0].text  # doctest: +ELLIPSIS
    'A ....'
    >>> -1 < captions[0].score < 0
    True
    """

    def __init__(self, writer: "CaptionWriter | InterfaceWriter", spec: BackboneSpec | None = None) -> None:
        self._writer = writer
        self._spec = spec

    @classmethod
    def load(cls, bundle: str | None = None, beam_size: int = 3, max_length: int = 24) -> "Captioner":
        """Opens a bundle, or a model of KerasHub.

        Args:
            bundle: path or URI of a folder that `beamscribe train` wrote; by default `$BEAMSCRIBE_MODEL`, else the one
                that comes with a checkout. Or "keras-hub:" and a preset or a folder that KerasHub wrote.
            beam_size: captions kept at each step; 1 is greedy.
            max_length: tokens of a caption at most.

        Raises:
            BundleError: if it is no bundle or a damaged one.
            NoBundleError: if none is given and there is none.
            ValueError: if the bundle cannot write captions so long, or KerasHub cannot load the preset.
        """
        if bundle is not None and bundle.startswith(KERAS_HUB):
            return cls(keras_hub_writer(bundle.removeprefix(KERAS_HUB)))
        opened = open_bundle(bundle or default_bundle())
        if not 1 <= max_length <= opened.longest_caption:
            raise ValueError(f"max_length={max_length}: {opened.path} writes 1 to {opened.longest_caption} tokens")
        from beamscribe.model.captioning import (  # TensorFlow, only where there is work to do.
            CaptionWriter,
            DecodingOptions,
        )

        return cls(CaptionWriter(opened, DecodingOptions(beam_size, max_length)), opened.backbone)

    @classmethod
    def endpoint(
        cls, url: str, model: str, prompt: str = "caption", api_key_variable: str = "OPENAI_API_KEY", **settings: Any
    ) -> "Captioner":
        """Asks an OpenAI-compatible endpoint; every call is paid for, there is no journal here.

        Args:
            url: of the API, such as http://localhost:8000/v1.
            model: its name there.
            prompt: "caption", "alt-text", "detailed", or a text.
            api_key_variable: environment variable that holds the key.
            settings: further fields of `pipelines.captioners.endpoint_client.EndpointSettings`, such as `max_tokens`.
        """
        return cls(endpoint_writer(url, model, prompt, api_key_variable, settings))

    def caption(self, images: Picture | Sequence[Picture]) -> list[Caption]:
        """Captions of images, in their order: one for each, whatever the others are.

        Args:
            images: one or many of any kind of `Picture`, mixed as you like; also an array
                (images, height, width, channels).

        Returns:
            A caption for each image. One that cannot be read or decoded has none, and its `error` says why.

        Raises:
            EndedEarlyError: if a service behind an endpoint refuses everything.
        """
        given = many(images)
        found: list[Caption] = []
        for start in range(0, len(given), BATCH_SIZE):
            found += self._caption_batch(given[start : start + BATCH_SIZE])
        return found

    def _caption_batch(self, images: Sequence[Picture]) -> list[Caption]:
        if isinstance(self._writer, InterfaceWriter) or self._spec is None:
            outcomes = self._writer.write(images) if isinstance(self._writer, InterfaceWriter) else []
            return [_caption_or_error(one) for one in outcomes]
        found = [pixels_or_error(image, self._spec) for image in images]
        pixels = [one for one in found if isinstance(one, np.ndarray)]
        written = iter(self._writer.caption_pixels(padded(pixels))[: len(pixels)] if pixels else ())
        return [
            Caption("", math.nan, error=one) if isinstance(one, str) else _caption_of(next(written)) for one in found
        ]


def _caption_of(alternatives: tuple[Alternative, ...]) -> Caption:
    if not alternatives:
        return Caption("", math.nan, (), "NoCaption: the captioner gives none for this image")
    best = alternatives[0]
    score = math.nan if best.score is None else best.score
    return Caption(best.caption, score, alternatives[1:], confidence=best.confidence)


def _caption_or_error(outcome: Written | str) -> Caption:
    if isinstance(outcome, str):
        return Caption("", math.nan, error=outcome)
    return _caption_of(outcome.alternatives)


def featurize(
    images: Picture | Sequence[Picture], backbone: str = "efficientnet_lite2", weights: str = IMAGENET
) -> np.ndarray:
    """Features of images, as the job of this name stores them.

    >>> from beamscribe import featurize
    >>> import numpy as np
    >>> features = featurize([np.zeros((100, 200, 3), np.uint8)])
    >>> features.shape, features.dtype
    ((1, 9, 9, 1280), dtype('float16'))

    Args:
        images: one or many of any kind of `Picture`.
        backbone: a name that `beamscribe featurize --backbone` takes.
        weights: "imagenet", a file, or "random".

    Returns:
        float16 (images, rows, columns, channels).

    Raises:
        ValueError: if one cannot be read or decoded, naming it.
        WeightsError: if the weights cannot be had or do not fit.
    """
    from beamscribe.model.backbone.network import Backbone  # TensorFlow, only where there is work to do.

    spec = BACKBONES[backbone_name(backbone)]
    given = many(images)
    see = Backbone(spec, resolve_weights(weights, spec))
    grids = [_features(given, start, spec, see) for start in range(0, len(given), BATCH_SIZE)]
    return np.concatenate([np.empty((0, *spec.grid), np.float16), *grids])


def speak(text: str, engine: str = "espeak", language: str = "en", voice: str = "", format: str = "mp3") -> bytes:
    """One text as the bytes of an audio file; in a notebook, `IPython.display.Audio(speak("Hello"))` plays it.

    >>> from beamscribe import speak
    >>> audio = speak("A dog runs along the beach.", format="wav")
    >>> audio[:4], audio[8:12]
    (b'RIFF', b'WAVE')

    Args:
        text: what to say.
        engine: "espeak" needs no network, "gtts" asks Google Translate's voice.
        language: IETF language tag.
        voice: of espeak; by default the language's.
        format: "mp3", "ogg", "flac" or "wav".

    Raises:
        SpeechError: if there is no good audio for the text.
    """
    opened = open_engine(SpeechSettings(engine, language, voice))
    try:
        data = transcode(opened.synthesize(normalize_text(text)), format)
    finally:
        opened.close()
    check_audio(data, text)
    return data


def _features(
    images: Sequence[Picture], start: int, spec: BackboneSpec, see: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """float16 features of a batch of images.

    Raises:
        ValueError: naming the first image that has none.
    """
    found = [pixels_or_error(image, spec) for image in images[start : start + BATCH_SIZE]]
    for place, one in enumerate(found, start):
        if isinstance(one, str):
            raise ValueError(f"image {place} has no features: {one}")
    pixels = [one for one in found if isinstance(one, np.ndarray)]
    return see(padded(pixels))[: len(pixels)].astype(np.float16)
