"""Mirrored training, on two logical CPU devices of a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beamscribe.errors import CHECK_FAILED
from beamscribe.schemas.feature_example import FeatureExample

RECIPE = """
from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=2, batch_size=4, captions_per_image=2, learning_rate=1e-3, vocabulary_size=200, max_length=12,
    width=32, heads=4, feed_forward=64, dropout=0.0,
)
"""
PROGRAM = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from beamscribe import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_two_devices_learn_as_one(
    tmp_path: Path, write_features: Callable[..., str], example: Callable[..., FeatureExample]
) -> None:
    (tmp_path / "recipe.py").write_text(RECIPE)
    flags = ["train", "--config", str(tmp_path / "recipe.py")]
    flags += ["--features", write_features("train", [example(i) for i in range(24)])]
    flags += ["--validation", write_features("val", [example(i) for i in range(24, 32)])]
    histories = {}
    for strategy in ("single", "mirrored"):
        output = tmp_path / strategy
        more = ["--strategy", strategy, "--output", str(output)]
        ended = subprocess.run([sys.executable, "-c", PROGRAM, *flags, *more])
        assert ended.returncode == CHECK_FAILED, "two epochs are too few to be better than word frequencies"
        (member,) = json.loads((output / "metrics.json").read_text())["members"]
        histories[strategy] = member["history"]
    # All captions have about as many words, so that the mean of two halves is about the mean of the whole.
    for name in ("loss", "val_token_loss"):
        single, mirrored = ([epoch[name] for epoch in histories[strategy]] for strategy in ("single", "mirrored"))
        np.testing.assert_allclose(mirrored, single, rtol=0.02)
    assert histories["mirrored"][-1]["val_token_loss"] < histories["mirrored"][0]["val_token_loss"]
