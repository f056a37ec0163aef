"""Building blocks for Beam pipelines of your own: images to captions or features, texts to audio.

They hold the models and engines of the jobs and none of the bookkeeping: committing, counting and restarting are up to
the pipeline that they are used in. Every element that goes in comes out, with a result or with an error.

    import apache_beam as beam
    from beamscribe import CaptionImages, SpeakTexts

    with beam.Pipeline() as pipeline:
        images = pipeline | beam.Create(["photographs/cat.jpg", ("dog", dog_bytes)])
        captions = images | CaptionImages()
        audio = captions | beam.Map(lambda found: (found.key, found.text)) | SpeakTexts()

With Beam's own `RunInference`, results are `PredictionResult`s whose inference is a `Caption`:

    from apache_beam.ml.inference.base import RunInference
    from beamscribe import CaptionModelHandler

    predictions = pipeline | beam.Create(["photographs/cat.jpg"]) | RunInference(CaptionModelHandler())
"""

import datetime
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult, RunInference

from beamscribe.model.backbone.spec import BACKBONES, IMAGENET, backbone_name, resolve_weights
from beamscribe.model.images import DecodedImage, ImageError, decode_image
from beamscribe.notebook import BATCH_SIZE, Caption, Captioner
from beamscribe.pictures import padded, reason
from beamscribe.pipelines.speech import SpeechEngine, SpeechError, SpeechSettings, open_engine
from beamscribe.pipelines.speech.clip import Style, make_clip
from beamscribe.pipelines.speech.spoken import normalize_text
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.uri import read_uri

Image = str | bytes
"""A path or URI of an image file, or the file's bytes."""


class Captioned(NamedTuple):
    """A caption of one image.

    Attributes:
        key: what came with the image; else its URI, or the SHA-256 of its bytes.
        text: the caption; empty where there is an error.
        score: mean natural-log probability of its tokens; NaN where there is an error.
        error: why there is no caption; None where there is one.
    """

    key: str
    text: str
    score: float
    error: str | None


class Featurized(NamedTuple):
    """Backbone features of one image.

    Attributes:
        key: as of `Captioned`.
        example: the record that `beamscribe featurize` would store, without captions; None where there is an error.
            `beamscribe.model.examples.encode_example` makes the bytes of a TFRecord of it.
        error: why there are no features; None where there are.
    """

    key: str
    example: FeatureExample | None
    error: str | None


class Spoken(NamedTuple):
    """The audio of one text.

    Attributes:
        key: what came with the text; else the text.
        audio: an audio file that was checked; None where there is an error.
        duration_seconds: of the audio; 0 where there is an error.
        error: why there is no audio; None where there is.
    """

    key: str
    audio: bytes | None
    duration_seconds: float
    error: str | None


class CaptionModelHandler(ModelHandler[Image, PredictionResult, Captioner]):
    """Captions images with Beam's `RunInference`, which batches them and loads one model a process.

    Elements in are paths, URIs or bytes of image files (with a `KeyedModelHandler`, pairs of key and image); elements
    out are `PredictionResult`s whose inference is a `Caption`: of an image that cannot be read its `error` is set.

    Args:
        bundle: path or URI of a bundle; by default the embedded one. Anything else that `Captioner.load` takes.
        beam_size: captions kept at each step; 1 is greedy.
        max_length: tokens of a caption at most.
        max_batch_size: images that RunInference puts together at most.
    """

    def __init__(
        self, bundle: str | None = None, beam_size: int = 3, max_length: int = 24, max_batch_size: int = BATCH_SIZE
    ) -> None:
        super().__init__(max_batch_size=max_batch_size)
        self._bundle, self._beam_size, self._max_length = bundle, beam_size, max_length

    def load_model(self) -> Captioner:
        """Opens the bundle.

        Raises:
            BundleError: if it is no bundle or a damaged one.
        """
        return Captioner.load(self._bundle, self._beam_size, self._max_length)

    def run_inference(
        self, batch: Sequence[Image], model: Captioner, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """A `Caption` for each image of a batch, in their order."""
        return [
            PredictionResult(image, caption, self._bundle)
            for image, caption in zip(batch, model.caption(batch), strict=True)
        ]

    def get_metrics_namespace(self) -> str:
        """Of the counters that RunInference keeps."""
        return "BeamscribeCaption"


@dataclass(eq=False)
class CaptionImages(beam.PTransform):
    """Images → `Captioned`.

    Elements in are paths, URIs or bytes of image files, or pairs of a key (str) and one of these.

    Attributes:
        bundle: as of `CaptionModelHandler`.
        beam_size: captions kept at each step; 1 is greedy.
        max_length: tokens of a caption at most.
    """

    bundle: str | None = None
    beam_size: int = 3
    max_length: int = 24

    def expand(self, input_or_inputs: beam.PCollection[Any]) -> beam.PCollection[Captioned]:
        """Batches the images and captions them, one model a process."""
        handler = CaptionModelHandler(self.bundle, self.beam_size, self.max_length)
        return (  # pyright: ignore[reportReturnType]
            input_or_inputs
            | "Key" >> beam.Map(keyed).with_output_types(tuple[str, Image])
            | "Caption" >> RunInference(KeyedModelHandler(handler))
            | "Result" >> beam.Map(_captioned).with_output_types(Captioned)
        )


@dataclass(eq=False)
class FeaturizeImages(beam.PTransform):
    """Images → `Featurized`.

    Elements in are as those of `CaptionImages`.

    Attributes:
        backbone: a name that `beamscribe featurize --backbone` takes.
        weights: "imagenet", a file, or "random"; resolved when the pipeline is built.
    """

    backbone: str = "efficientnet_lite2"
    weights: str = IMAGENET

    def expand(self, input_or_inputs: beam.PCollection[Any]) -> beam.PCollection[Featurized]:
        """Batches the images and gives them to the backbone, one a process.

        Raises:
            WeightsError: if the weights cannot be had.
        """
        return (  # pyright: ignore[reportReturnType]
            input_or_inputs
            | "Key" >> beam.Map(keyed).with_output_types(tuple[str, Image])
            | "Featurize" >> RunInference(_FeatureModelHandler(backbone_name(self.backbone), self.weights))
        )


class _FeatureModelHandler(ModelHandler[tuple[str, Image], Featurized, Any]):
    def __init__(self, backbone: str, weights: str) -> None:
        super().__init__(max_batch_size=BATCH_SIZE)
        self._spec = BACKBONES[backbone]
        self._weights = resolve_weights(weights, self._spec)
        self._fingerprint = Fingerprint({"backbone": backbone, "weights": self._weights.digest}).digest

    def load_model(self) -> Any:
        from beamscribe.model.backbone.network import Backbone  # TensorFlow, only where there is work to do.

        return Backbone(self._spec, self._weights)

    def run_inference(
        self, batch: Sequence[tuple[str, Image]], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterator[Featurized]:
        started = datetime.datetime.now(datetime.UTC).isoformat()
        found = [self._decoded(image) for _, image in batch]
        images = [one for one in found if not isinstance(one, str)]
        grids = iter(model(padded([image.pixels for image, _ in images])) if images else ())
        for (key, image), one in zip(batch, found, strict=True):
            if isinstance(one, str):
                yield Featurized(key, None, one)
                continue
            grid = next(grids).astype("<f2")
            decoded, sha256 = one
            uri = image if isinstance(image, str) else ""
            yield Featurized(
                key,
                FeatureExample(
                    id=key,
                    file_name=os.path.basename(uri),
                    uri=uri,
                    sha256=sha256,
                    width=decoded.width,
                    height=decoded.height,
                    repairs=decoded.repairs,
                    features=grid.tobytes(),
                    shape=grid.shape,
                    captions=(),
                    caption_ids=(),
                    fingerprint=self._fingerprint,
                    run_started=started,
                ),
                None,
            )

    def _decoded(self, image: Image) -> tuple[DecodedImage, str] | str:
        """The image with the digest of its file, or why there is none."""
        try:
            data = image if isinstance(image, bytes) else read_uri(image, {})
            return (
                decode_image(data, self._spec.input_size, self._spec.resample),
                hashlib.sha256(data).hexdigest(),
            )
        except (ImageError, OSError, ValueError) as error:
            return reason(image, error)


@dataclass(eq=False)
class SpeakTexts(beam.PTransform):
    """Texts → `Spoken`.

    Elements in are texts, or pairs of a key (str) and a text.

    Attributes:
        engine: a name that `beamscribe speak --engine` takes.
        language: IETF language tag.
        voice: of the engine; by default the language's.
        format: "mp3", "ogg", "flac" or "wav".
    """

    engine: str = "espeak"
    language: str = "en"
    voice: str = ""
    format: str = "mp3"

    def expand(self, input_or_inputs: beam.PCollection[Any]) -> beam.PCollection[Spoken]:
        """Speaks each text, with one engine a worker thread."""
        settings = SpeechSettings(self.engine, self.language, self.voice)
        return input_or_inputs | "Speak" >> beam.ParDo(_Speak(settings, self.format)).with_output_types(Spoken)  # pyright: ignore[reportReturnType]


class _Speak(beam.DoFn):
    def __init__(self, settings: SpeechSettings, audio_format: str) -> None:
        self._settings, self._style = settings, Style(audio_format)
        self._engine: SpeechEngine | None = None

    def setup(self) -> None:
        self._engine = open_engine(self._settings)

    def process(self, element: str | tuple[str, str]) -> Iterator[Spoken]:
        key, text = (element, element) if isinstance(element, str) else element
        assert self._engine is not None
        try:
            clip = make_clip(normalize_text(text), self._engine, self._style)
        except SpeechError as error:
            yield Spoken(key, None, 0.0, str(error))
        else:
            yield Spoken(key, clip.data, clip.facts.duration_seconds, None)

    def teardown(self) -> None:
        if self._engine is not None:
            self._engine.close()


def keyed(element: Image | tuple[str, Image]) -> tuple[str, Image]:
    """An image with its key: what came with it, else its URI, or the SHA-256 of its bytes."""
    if isinstance(element, tuple):
        return element
    return (element if isinstance(element, str) else hashlib.sha256(element).hexdigest()), element


def _captioned(found: tuple[str, PredictionResult]) -> Captioned:
    key, result = found
    caption: Caption = result.inference  # pyright: ignore[reportAssignmentType]
    return Captioned(key, caption.text, caption.score, caption.error)
