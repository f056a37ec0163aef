"""What a bundle was trained from and how, and whether a command goes on with it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.training.config import TrainingConfig
from beamscribe.training.material import Material

REFUSE, KEEP, REPLACE = "refuse", "keep", "replace"
ON_CHANGE = (REFUSE, KEEP, REPLACE)

RECIPE, MATERIAL = "recipe", "material"
"""Entries of a bundle's `config.json`."""

_MORE = ("epochs", "patience")
"""Fields of a recipe with which training goes on: more epochs, and when to give up."""


def material_fields(material: Material, fine_tune_from: str | None) -> dict[str, str]:
    """What a captioner is trained on, each part as a name or a digest."""
    training, validation = material.training, material.validation
    return {
        "training_images": _digest([training.ids, training.views.tolist()]),
        "training_captions": _digest(training.captions),
        "validation_images": _digest(validation.ids),
        "validation_captions": _digest(validation.captions),
        "backbone": training.backbone,
        "backbone_weights": training.weights_digest,
        "fine_tune_from": fine_tune_from or "",
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def changes(earlier: Mapping[str, Any], config: TrainingConfig, material: Mapping[str, str]) -> list[str]:
    """What of a bundle's description is not as it is asked for now, one line each; more epochs are no change.

    Args:
        earlier: the description of the bundle that is there.
        config: the recipe that is asked for.
        material: `material_fields` of what is asked for.
    """
    recipe = earlier.get(RECIPE)
    if not isinstance(recipe, dict):
        return ["recipe: (none, beamscribe train did not write this bundle) → as asked for"]
    now = {**dataclasses.asdict(config), **material}
    before = {**recipe, **(known if isinstance(known := earlier.get(MATERIAL), dict) else {})}
    # What an older bundle does not say was not recorded.
    common = {name: before[name] for name in now if name in before and isinstance(before[name], str | int | float)}
    found = Fingerprint(common).differences(Fingerprint({name: now[name] for name in common}))
    fewer = isinstance(before.get("epochs"), int) and before["epochs"] > config.epochs
    lines = [line for line in found if line.split(":")[0] not in _MORE or (fewer and line.startswith("epochs:"))]
    return [*lines, *(["int8: made by beamscribe quantize → (none)"] if "int8" in earlier else [])]


def goes_on(output: str, found: list[str], on_change: str) -> bool:
    """Whether to train, where a bundle is there already.

    Args:
        output: its folder.
        found: `changes`.
        on_change: one of `ON_CHANGE`.

    Raises:
        RefusedError: if there are changes and nothing says what then.
    """
    if not found or on_change == REPLACE:
        return True
    if on_change == KEEP:
        return False
    told = "\n  ".join(found)
    raise RefusedError(
        f"--output {output} holds a bundle that was trained otherwise:\n  {told}\n"
        "Choose another --output, or --on-change keep (that bundle stays) or --on-change replace (it is trained anew)"
    )
