"""Self-critical training: its parts by hand, and that it does what it is for."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from beamscribe.errors import DONE, INTERRUPTED
from beamscribe.model import weights
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.tokenizer import END, PAD
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.training import self_critical, train
from beamscribe.training.self_critical import advantages, averaged
from beamscribe.training.validation import said

pytestmark = pytest.mark.slow

Write = Callable[..., str]
Make = Callable[..., FeatureExample]

RECIPE = """
from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=6, batch_size=4, captions_per_image=2, learning_rate=3e-3, vocabulary_size=200, max_length=12,
    width=32, heads=4, feed_forward=64, dropout=0.0, held_out=0.25,
    self_critical_epochs=8, self_critical_learning_rate=3e-3, self_critical_samples=4,
    self_critical_averaging=0.8,
)
"""


@pytest.mark.parametrize(
    ("row", "expected"),
    [([7, 8, END, PAD], [7, 8, END]), ([7, 8, 9, 9], [7, 8, 9, 9]), ([7, END, 8, 9], [7, END]), ([PAD, PAD], [])],
)
def test_said(row: list[int], expected: list[int]) -> None:
    assert said(np.array(row)) == expected


def test_an_advantage_is_the_reward_over_the_mean_of_the_others() -> None:
    rewards = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    np.testing.assert_allclose(advantages(rewards), [[1.5, -1.5, 0.0], [0.0, 0.0, 0.0]])


def test_averaged_gives_the_running_mean_and_takes_it_back() -> None:
    captioner = Captioner(CaptionerConfig(grid=(1, 1, 4), vocabulary_size=6, width=4, heads=1, feed_forward=4))
    captioner.build()
    captioner.compile(keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75))
    captioner.optimizer.build(captioner.trainable_variables)
    variable = captioner.trainable_variables[0]
    first = variable.numpy()
    for _ in range(2):
        captioner.optimizer.apply([tf.ones_like(each) for each in captioner.trainable_variables])
    with averaged(captioner):
        # After one step of -1 the mean begins; the second step weighs a quarter in it.
        np.testing.assert_allclose(variable.numpy(), first - 1.25, rtol=1e-5)
    np.testing.assert_allclose(variable.numpy(), first - 2.0, rtol=1e-5)


@pytest.fixture
def command(tmp_path: Path, write_features: Write, example: Make) -> list[str]:
    """Flags of a run that takes seconds and holds out a quarter of its 48 images."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    return [
        "--features",
        write_features("train", [example(i) for i in range(48)]),
        "--config",
        str(tmp_path / "recipe.py"),
    ]


@pytest.mark.nightly
@pytest.mark.slow
def test_captions_score_higher_and_a_stopped_run_goes_on_to_the_same_weights(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.run([*command, "--output", str(tmp_path / "straight")]) == DONE
    before = float(capsys.readouterr().out.split("self-critical: val_cider ")[1].split()[0])
    metrics = json.loads((tmp_path / "straight" / "metrics.json").read_text())
    assert metrics["validation_cider"] > before + 0.5
    rewards = [epoch["reward"] for epoch in metrics["members"][0]["self_critical_history"]]
    assert rewards[-1] > 2 * rewards[0]
    assert metrics["validation_images"] + metrics["training_images"] == 48
    # What is kept lies halfway between the best weights of both phases.
    first, second = (
        next((tmp_path / "straight.work" / phase).glob("best-*.npz")).read_bytes()
        for phase in ("checkpoints", "self_critical")
    )
    assert (tmp_path / "straight" / "captioner.npz").read_bytes() == weights.between(first, second, 0.5)

    whole_epoch = self_critical._Phase.epoch

    def stop_in_the_third(phase: self_critical._Phase, epoch: int) -> dict[str, float]:
        if epoch == 2:
            raise KeyboardInterrupt
        return whole_epoch(phase, epoch)

    stopped = [*command, "--output", str(tmp_path / "stopped")]
    with monkeypatch.context() as patch:
        patch.setattr(self_critical._Phase, "epoch", stop_in_the_third)
        assert train.run(stopped) == INTERRUPTED
    assert not (tmp_path / "stopped").exists()
    assert train.run(stopped) == DONE
    bundles = [(tmp_path / name / "captioner.npz").read_bytes() for name in ("straight", "stopped")]
    assert bundles[0] == bundles[1]
