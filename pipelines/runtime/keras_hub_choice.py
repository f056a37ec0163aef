"""The flags of a KerasHub model, checked before anything is launched."""

import argparse

from beamscribe.errors import RefusedError
from beamscribe.pipelines.captioners.keras_hub import KerasHubCaptioner, KerasHubSource
from beamscribe.pipelines.captioners.prompts import PRESETS
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner, image_fields
from beamscribe.pipelines.runtime.prompt_choice import text_of
from beamscribe.schemas.fingerprint import Fingerprint

PREFIX = "keras-hub:"
MAX_TOKENS = 64


def chosen_keras_hub(args: argparse.Namespace) -> ChosenCaptioner:
    """The captioner that `--model keras-hub:PRESET_OR_FOLDER` names.

    Raises:
        RefusedError: if it cannot be loaded.
    """
    from beamscribe.model.devices import device

    preset = args.model.removeprefix(PREFIX)
    dtype = device(args.gpus).precision if args.precision == "auto" else args.precision
    if dtype == "int8":
        raise RefusedError("--precision int8 is for a bundle: leave it out")
    source = KerasHubSource(
        preset, _prompt(args.prompt), args.max_tokens or MAX_TOKENS, args.batch_size, dtype, args.gpus
    )
    try:
        import keras_hub  # noqa: F401
    except ImportError as error:
        raise RefusedError(
            f"--model {args.model} needs the package {error.name}: pip install 'beamscribe[keras-hub]'"
        ) from error
    try:
        # Its image size and task are part of what can change a row, so the launcher loads it too.
        captioner = KerasHubCaptioner(source)
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise RefusedError(f"--model {args.model} cannot be loaded: {reason}") from error
    fields = {**image_fields(captioner), **captioner.fingerprint_fields}
    return ChosenCaptioner(source, Fingerprint(fields), {"captioner": "keras-hub", "model": preset})


def _prompt(given: str | None) -> str:
    """A preset of ours, a text, a file's, or empty for what the model was trained to be asked."""
    return PRESETS.get(given, text_of("--prompt", given)) if given else ""
