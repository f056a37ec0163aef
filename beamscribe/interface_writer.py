"""Any captioner from Python: images in, captions out, without a job."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from beamscribe.model.captioner_interface import Captioner, CaptionError, Encoded, ImageInput, Outcome, Written
from beamscribe.model.images import ImageError, decode_image, encode_jpeg
from beamscribe.pictures import Picture, file_of, reason
from beamscribe.schemas.caption_row import Alternative

KERAS_HUB = "keras-hub:"
MAX_TOKENS = 64


class InterfaceWriter:
    """Gives a captioner what it wants of images of any kind.

    Args:
        captioner: what writes.
        calls_at_once: threads that call it.
    """

    def __init__(self, captioner: Captioner, calls_at_once: int = 1) -> None:
        self._captioner = captioner
        self._pool = ThreadPoolExecutor(calls_at_once, thread_name_prefix="caption")

    def write(self, images: Sequence[Picture]) -> list[Written | str]:
        """What is written of each image, or what is wrong with it."""
        inputs = [self._input(number, image) for number, image in enumerate(images)]
        good = [one for one in inputs if isinstance(one, ImageInput)]
        size = self._captioner.batch_size
        batches = [good[start : start + size] for start in range(0, len(good), size)]
        written = iter([one for batch in self._pool.map(self._call, batches) for one in batch])
        return [one if isinstance(one, str) else _told(next(written)) for one in inputs]

    def _call(self, batch: list[ImageInput]) -> list[Outcome]:
        return list(self._captioner.caption(batch))

    def _input(self, number: int, image: Picture) -> ImageInput | str:
        wants = self._captioner.wants
        try:
            size = wants.max_side if isinstance(wants, Encoded) else wants.input_size
            pixels = decode_image(file_of(image), size, wants.resample).pixels
        except (ImageError, OSError, TypeError, ValueError) as error:
            return reason(image, error)
        encoded = encode_jpeg(pixels, wants.quality) if isinstance(wants, Encoded) else b""
        # Every image is a question of its own, also one that comes again.
        return ImageInput(str(number), uuid.uuid4().hex, np.empty(0, np.uint8) if encoded else pixels, encoded)


def _told(outcome: Outcome) -> Written | str:
    if isinstance(outcome, str):
        return Written((Alternative(outcome, None),))
    if isinstance(outcome, Exception):
        kind = outcome.error_type if isinstance(outcome, CaptionError) else type(outcome).__name__
        return f"{kind}: {outcome}"
    return outcome


def keras_hub_writer(preset: str) -> InterfaceWriter:
    """A model of KerasHub.

    Raises:
        ValueError: if it cannot be loaded.
    """
    from beamscribe.model.devices import device
    from beamscribe.pipelines.captioners.keras_hub import KerasHubCaptioner, KerasHubSource

    source = KerasHubSource(preset, "", MAX_TOKENS, batch_size=8, dtype=device().precision)
    return InterfaceWriter(KerasHubCaptioner(source))


def endpoint_writer(
    url: str, model: str, prompt: str, api_key_variable: str, settings: dict[str, Any]
) -> InterfaceWriter:
    """A service behind an endpoint; nothing is remembered from one call to the next."""
    from beamscribe.pipelines.captioners.endpoint import EndpointCaptioner
    from beamscribe.pipelines.captioners.endpoint_client import EndpointSettings
    from beamscribe.pipelines.captioners.endpoint_task import EndpointTask
    from beamscribe.pipelines.captioners.journal import Journal
    from beamscribe.pipelines.captioners.prompts import PRESETS, Prompt

    asked = Prompt(PRESETS.get(prompt, prompt), prompt if prompt in PRESETS else "")
    task = EndpointTask(EndpointSettings(url, model, api_key_variable, **settings), asked)

    return InterfaceWriter(EndpointCaptioner(task, Journal(None, "")), task.concurrency)
