"""Checkpoints: which epoch is the best, when to stop, and what a killed run finds again."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest

from training.checkpoints import Checkpoints, DivergedError


def model(value: float) -> keras.Model:
    made = keras.Sequential([keras.layers.Dense(1, name="only")])
    made.build((None, 1))
    made.compile(keras.optimizers.Adam())
    made.optimizer.build(made.trainable_variables)
    made.layers[0].kernel.assign([[value]])
    return made


def callback(folder: Path, made: keras.Model, epochs: int = 20, **changes: object) -> Checkpoints:
    asked = {"identity": "run", "monitor": "score", "patience": 2, **changes}
    checkpoints = Checkpoints(str(folder), **asked)  # type: ignore[arg-type]
    checkpoints.set_model(made)
    checkpoints.set_params({"epochs": epochs})
    return checkpoints


def run(folder: Path, scores: list[float], **changes: object) -> Checkpoints:
    """Epochs whose weights are their numbers, until the callback says stop."""
    made = model(0)
    checkpoints = callback(folder, made, **changes)
    made.stop_training = False
    for epoch, score in enumerate(scores, 1):
        made.layers[0].kernel.assign([[float(epoch)]])
        checkpoints.on_epoch_end(epoch - 1, {"score": score, "loss": 1.0})
        if made.stop_training:
            break
    return checkpoints


@pytest.mark.parametrize(
    ("scores", "best", "epochs"),
    [
        ([0.1, 0.3, 0.2, 0.1, 0.9], 2, 4),
        ([0.1, 0.3, 0.2, 0.4, 0.3], 4, 5),
        ([0.0, 0.0, 0.0, 0.0, 0.5, 0.4], 5, 6),  # of equals the later one counts
        ([0.592, 0.576, 0.591, 0.58], 4, 4),  # what may be chance is no reason to prefer an earlier one
        ([0.5, 0.49, 0.48, 0.47], 2, 4),  # little by little is compared with the highest, not with the last
        ([0.3, math.nan, math.nan, 0.9], 1, 3),
    ],
)
def test_the_best_epoch_and_the_last_one(tmp_path: Path, scores: list[float], best: int, epochs: int) -> None:
    checkpoints = run(tmp_path, scores)
    assert (checkpoints.state["best_epoch"], checkpoints.state["epoch"]) == (best, epochs)
    (tmp_path / "best.npz").write_bytes(checkpoints.best_weights())
    with np.load(tmp_path / "best.npz") as stored:
        assert stored["only/kernel"].item() == best


def test_a_loss_that_is_no_number_has_no_best_epoch(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="no number"):
        run(tmp_path, [math.nan, math.nan]).best_weights()


def test_all_variables_come_back(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.2])
    other = model(77)
    other.optimizer.iterations.assign(5)
    checkpoints = callback(tmp_path, other)
    assert checkpoints.restore(other) == 2
    assert other.layers[0].kernel.numpy().item() == 2
    assert other.optimizer.iterations.numpy() == 0
    assert not checkpoints.finished


@pytest.mark.parametrize("damage", ["another run", "no state", "half a state"])
def test_what_belongs_to_no_state_is_not_taken(tmp_path: Path, damage: str) -> None:
    run(tmp_path, [0.1, 0.2])
    if damage == "no state":
        (tmp_path / "state.json").unlink()
    if damage == "half a state":
        (tmp_path / "state.json").write_text('{"identity": "run"')
    other = model(77)
    checkpoints = callback(tmp_path, other, identity="another" if damage == "another run" else "run")
    assert checkpoints.restore(other) == 0
    assert other.layers[0].kernel.numpy().item() == 77


def test_what_is_kept_can_be_said(tmp_path: Path) -> None:
    assert run(tmp_path, [0.1], dump=lambda: b"mine").best_weights() == b"mine"
