"""A trained captioner as a bundle, measured after its weights were rounded and loaded back."""

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from model import weights
from model.backbone.engine import weights_path
from model.backbone.spec import ResolvedWeights
from model.bundle import METRICS, MODEL_CARD, VOCABULARY, WEIGHTS, backbone_file, write_bundle
from model.captioner import Captioner
from model.captioning import load_captioner
from model.images import POLICY_VERSION
from training.checkpoints import Checkpoints
from training.config import TrainingConfig
from training.dataset import Material


def export(
    output: str,
    captioner: Captioner,
    checkpoints: Checkpoints,
    material: Material,
    config: TrainingConfig,
    evaluate: Callable[[Captioner], dict[str, float]],
) -> dict[str, Any]:
    """Writes the bundle of the best epoch and validates it by loading it back.

    Args:
        output: local folder.
        captioner: gives the sizes; its weights are replaced.
        checkpoints: has the best weights, rounded to float16.
        material: what it was trained on.
        config: the recipe.
        evaluate: measures a captioner.

    Returns:
        What `metrics.json` holds.
    """
    stored = checkpoints.best_weights()
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        weights.assign(captioner, dict(arrays))
    metrics = {
        **evaluate(captioner),
        "best_epoch": checkpoints.state["best_epoch"],
        "epochs": checkpoints.state["epoch"],
        "training_images": len(material.training.ids),
        "training_images_without_captions": material.training.without_captions,
        "validation_images": len(material.validation.ids),
        "parameters": captioner.count_params(),
        "history": checkpoints.state["history"],
    }
    training = material.training
    copied = weights_path(ResolvedWeights(training.weights, training.weights_digest))
    files = {
        WEIGHTS: stored,
        VOCABULARY: ("\n".join(material.tokenizer.vocabulary) + "\n").encode(),
        METRICS: (json.dumps(metrics, indent=2) + "\n").encode(),
        MODEL_CARD: _model_card(metrics, material, config).encode(),
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
                "weights": training.weights,
                "digest": training.weights_digest,
                "file": backbone_file(copied) if copied else None,
            },
            "decode_policy": POLICY_VERSION,
            "recipe": dataclasses.asdict(config),
        },
    )
    bundle.check()
    _assert_equal(captioner, load_captioner(bundle), training.grid)
    return metrics


def _assert_equal(trained: Captioner, loaded: Captioner, grid: tuple[int, int, int]) -> None:
    """The loaded captioner gives the trained one's logits on made-up features.

    Raises:
        RuntimeError: if it does not, which is a mistake of ours.
    """
    rows, columns, channels = grid
    random = np.random.default_rng(0)
    features = tf.constant(random.random((1, rows * columns, channels)), tf.float32)
    tokens = tf.constant(random.integers(4, trained.config.vocabulary_size, (1, 1, 4)), tf.int32)
    difference = np.abs(trained((features, tokens)).numpy() - loaded((features, tokens)).numpy()).max()
    if difference > 1e-4:
        raise RuntimeError(f"the bundle does not give back what was trained: logits differ by {difference}")


def _model_card(metrics: dict[str, Any], material: Material, config: TrainingConfig) -> str:
    training = material.training
    return f"""# Captioner

Transformer on {training.backbone} features, {metrics["parameters"]:,} parameters, written by `beamscribe train`.

- Trained on {metrics["training_images"]} images with {len(material.training_tokens.rows)} captions.
- Validation on {metrics["validation_images"]} images, measured with the float16 weights stored here:
  {metrics["validation_token_loss"]:.3f} nats a token, accuracy {metrics["validation_token_accuracy"]:.3f}.
  Predicting each token by its frequency gives {metrics["frequency_loss"]:.3f} nats.
- Best of {metrics["epochs"]} epochs: {metrics["best_epoch"]}. Seed {config.seed}.
- Backbone weights: `{training.weights_digest}`.

It writes English sentences like those it was trained on, about things that it saw there. It names what is not there,
miscounts, and repeats the biases of its training captions. Do not rely on it where a wrong caption does harm.
"""
