"""A trained captioner as a bundle, measured after its weights were rounded and loaded back."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.backbone.network import weights_path
from beamscribe.model.backbone.spec import ResolvedWeights
from beamscribe.model.bundle import METRICS, MODEL_CARD, VOCABULARY, WEIGHTS, backbone_file, write_bundle
from beamscribe.model.captioner import Captioner
from beamscribe.model.captioning import load_captioner
from beamscribe.model.ensemble import Ensemble
from beamscribe.model.images import POLICY_VERSION
from beamscribe.model.tokenizer import START
from beamscribe.schemas.counted import counted
from beamscribe.training.config import TrainingConfig
from beamscribe.training.material import Material
from beamscribe.training.recipe import MATERIAL, RECIPE


class Member(NamedTuple):
    """A captioner that was trained, alone or one of several that write together.

    Attributes:
        weights: its best, `.npz` of float16.
        material: what it was trained on in the end; its features are those of a tuned backbone, if there is one.
        report: its seed, and what each of its phases did.
    """

    weights: bytes
    material: Material
    report: dict[str, Any]


def export(
    output: str,
    captioner: Captioner | Ensemble,
    members: Sequence[Member],
    measured: dict[str, float],
    config: TrainingConfig,
    asked: dict[str, str],
) -> dict[str, Any]:
    """Writes the bundle and validates it by loading it back.

    Args:
        output: local folder.
        captioner: what goes in; an ensemble of the members where there are several.
        members: how it came about.
        measured: of the captioner on the validation images.
        config: the recipe.
        asked: what it was trained on, see `beamscribe.training.recipe.material_fields`.

    Returns:
        What `metrics.json` holds.
    """
    material = members[0].material
    training = material.training
    backbone = ResolvedWeights(training.weights, training.weights_digest)
    metrics = {
        **measured,
        "training_images": len(training.ids),
        "training_images_without_captions": training.without_captions,
        "validation_images": len(material.validation.ids),
        "parameters": captioner.count_params(),
        "members": [member.report for member in members],
    }
    copied = weights_path(backbone)
    files = {
        WEIGHTS: weights.to_npz(captioner),
        VOCABULARY: ("\n".join(material.tokenizer.vocabulary) + "\n").encode(),
        METRICS: (json.dumps(metrics, indent=2) + "\n").encode(),
        MODEL_CARD: _model_card(metrics, backbone, material, config).encode(),
    }
    if copied:
        with open(copied, "rb") as file:
            files[backbone_file(copied)] = file.read()
    bundle = write_bundle(
        output,
        files,
        {
            "captioner": captioner.get_config(),
            "backbone": {
                "name": training.backbone,
                # A path would mean nothing elsewhere and tell of this machine.
                "weights": backbone_file(copied) if copied else backbone.source,
                "digest": backbone.digest,
                "file": backbone_file(copied) if copied else None,
            },
            "decode_policy": POLICY_VERSION,
            RECIPE: dataclasses.asdict(config),
            MATERIAL: asked,
            "notice": config.notice,
        },
    )
    bundle.check()
    _assert_equal(captioner, load_captioner(bundle), training.grid)
    return metrics


def _assert_equal(trained: Captioner | Ensemble, loaded: Captioner | Ensemble, grid: tuple[int, int, int]) -> None:
    """The loaded captioner gives the trained one's logits on made-up features.

    Raises:
        RuntimeError: if it does not, which is a mistake of ours.
    """
    rows, columns, channels = grid
    random = np.random.default_rng(0)
    features = tf.constant(random.random((1, rows * columns, channels)), tf.float32)
    tokens = tf.constant([[START, *random.integers(4, trained.config.vocabulary_size, 4)]], tf.int32)
    difference = np.abs(trained((features, tokens)).numpy() - loaded((features, tokens)).numpy()).max()
    # Weights beyond what float16 holds give no number.
    if not difference <= 1e-4:
        raise RuntimeError(f"the bundle does not give back what was trained: logits differ by {difference}")


def _model_card(metrics: dict[str, Any], backbone: ResolvedWeights, material: Material, config: TrainingConfig) -> str:
    training = material.training
    phases = "\n".join(f"- {_phases(member)}" for member in metrics["members"])
    return f"""# Captioner

Captioner `{config.decoder}` on {training.backbone} features, {metrics["parameters"]:,} parameters, written by
`beamscribe train`.

- Trained on {metrics["training_images"]} images with {len(material.training_tokens.rows)} captions.
- Validation on {metrics["validation_images"]} images, measured with the weights as they are stored here:
  {metrics["validation_token_loss"]:.3f} nats a token, accuracy {metrics["validation_token_accuracy"]:.3f}.
  Predicting each token by its frequency gives {metrics["frequency_loss"]:.3f} nats.
{phases}
- Backbone weights: `{backbone.digest}`.

It writes English sentences like those it was trained on, about things that it saw there. It names what is not there,
miscounts, and repeats the biases of its training captions. Do not rely on it where a wrong caption does harm.
"""


def _phases(member: dict[str, Any]) -> str:
    told = [
        f"Seed {member['seed']}: best of {counted(member['epochs'], 'epoch')} with cross-entropy: "
        f"{member['best_epoch']}",
    ]
    if "fine_tune_history" in member:
        told.append(f"the backbone was trained on with it for {counted(len(member['fine_tune_history']), 'epoch')}")
    if "self_critical_history" in member:
        best = member["self_critical_best_epoch"] or "none, the captioner is the one before it"
        epochs = counted(len(member["self_critical_history"]), "epoch")
        told.append(f"self-critical training then, best of {epochs}: {best}")
    return "; ".join(told) + "."
