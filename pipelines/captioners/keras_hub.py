"""An image-to-text model of KerasHub as a captioner: PaliGemma, Gemma with vision, BLIP-2 and others."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.captioner_interface import ImageInput, Pixels, Written
from beamscribe.model.devices import use_gpus
from beamscribe.pipelines.images.inference import Inference
from beamscribe.pipelines.work.run import Run
from beamscribe.schemas.caption_row import Alternative
from beamscribe.storage.storage import Storage

PROMPTS = {
    "PaliGemma": "caption en\n",
    "Gemma": "<start_of_turn>user\n<start_of_image> Describe this image in one plain sentence.<end_of_turn>\n"
    "<start_of_turn>model\n",
    "BLIP2": "a photo of",
}
"""What models were trained to be asked, by the beginning of their class's name."""

OTHER_PROMPT = "Describe this image in one plain sentence."

SPECIAL_TOKENS = 2
"""Begin and end, beside those of the prompt and the answer."""


@dataclass(frozen=True)
class KerasHubSource:
    """How to load a preset.

    Attributes:
        preset: name of KerasHub's, or a folder that `save_to_preset` wrote.
        prompt: what to ask; empty for what the model was trained to be asked.
        max_tokens: of an answer at most.
        batch_size: images that a call takes.
        dtype: of weights and computations.
        gpus: that this machine's processes share; None for all.
    """

    preset: str
    prompt: str
    max_tokens: int
    batch_size: int
    dtype: str = "float32"
    gpus: int | None = None
    calls_at_once: int = 1

    def stage_artifacts(self, output: Storage) -> "KerasHubSource":
        """The same: a preset is fetched by every worker.

        Raises:
            RefusedError: for a folder of this machine.
        """
        if is_folder(self.preset):
            raise RefusedError(
                f"--model keras-hub:{self.preset} is a folder of this machine, which other workers do not see: name a "
                "preset of KerasHub, or one at kaggle:// or hf://"
            )
        return self

    def open(self, run: Run) -> "KerasHubCaptioner":
        """Loads the model."""
        return KerasHubCaptioner(self)


def is_folder(preset: str) -> bool:
    """Whether a preset is a folder and not a name."""
    return os.path.isdir(preset)


def load_task(preset: str, dtype: str) -> Any:
    """The task of a preset, ready to generate greedily.

    Raises:
        ValueError: if there is none that takes images and writes text.
    """
    import keras_hub

    reasons = []
    for kind in ("CausalLM", "Seq2SeqLM"):
        try:
            task = getattr(keras_hub.models, kind).from_preset(preset, dtype=dtype)
        except (ValueError, OSError) as error:
            reasons.append(" ".join(str(error).split())[:300])
            continue
        image_size_of(task)
        task.compile(sampler="greedy")
        return task
    raise ValueError("; ".join(reasons))


def image_size_of(task: Any) -> tuple[int, int]:
    """(height, width) in pixels that a task takes.

    Raises:
        ValueError: if it takes no images.
    """
    converter = getattr(task.preprocessor, "image_converter", None)
    for found in (getattr(converter, "image_size", None), getattr(task.backbone, "image_size", None)):
        if found:
            return (found, found) if isinstance(found, int) else (int(found[0]), int(found[1]))
    raise ValueError(f"{type(task).__name__} takes no images")


class KerasHubCaptioner:
    """Generates greedily, in batches of fixed sizes; see `model.captioner_interface.Captioner`.

    Args:
        source: what to load.
    """

    def __init__(self, source: KerasHubSource) -> None:
        use_gpus(source.gpus)
        self._task = load_task(source.preset, source.dtype)
        kind = type(self._task).__name__
        self.prompt = source.prompt or next(
            (prompt for name, prompt in PROMPTS.items() if kind.startswith(name)), OTHER_PROMPT
        )
        self.wants = Pixels(image_size_of(self._task))
        self.batch_size = source.batch_size
        tokens = np.size(np.asarray(self._task.preprocessor.tokenizer(self.prompt)))
        self.max_length = tokens + SPECIAL_TOKENS + source.max_tokens
        self.fingerprint_fields: Mapping[str, str | int | float | bool] = {
            "captioner": "keras-hub",
            "keras_hub": version("keras-hub"),
            "preset": source.preset.rstrip("/").rsplit("/", 1)[-1] if is_folder(source.preset) else source.preset,
            "weights": weights_digest(source.preset),
            "task": kind,
            "prompt": self.prompt,
            "max_tokens": source.max_tokens,
            "sampler": "greedy",
            "precision": source.dtype,
        }
        self._batches = Inference(self.generate, source.batch_size)

    def generate(self, pixels: np.ndarray) -> list[str]:
        """What KerasHub generates.

        Args:
            pixels: uint8 (n, height, width, 3).
        """
        inputs = {"images": pixels.astype(np.float32), "prompts": [self.prompt] * len(pixels)}
        found = self._task.generate(inputs, max_length=self.max_length, strip_prompt=True)
        return [str(text) for text in found]

    def caption(self, images: Sequence[ImageInput]) -> Iterator[Written | Exception]:
        """Captions of images."""
        for text in self._batches([image.pixels for image in images]):
            yield text if isinstance(text, Exception) else self._written(text)

    def _written(self, text: str) -> Written:
        # Sameness and repetition are told by flags and warnings, as for every model in the process.
        return Written((Alternative(text.strip(), None),))


def weights_digest(preset: str) -> str:
    """SHA-256 of a folder's files; of a name nothing, for the name stands for its weights."""
    if not is_folder(preset):
        return "as named"
    digest = hashlib.sha256()
    for path in sorted(Path(preset).rglob("*")):
        # metadata.json holds the date of saving.
        if path.is_file() and path.name != "metadata.json":
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()
