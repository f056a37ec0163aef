"""Checkpoints: which epoch is the best, when to stop, and what a killed run finds again."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest

from beamscribe.training.checkpoints import Checkpoints, DivergedError
from beamscribe.training.choice import CIDER

pytestmark = pytest.mark.slow


def model(value: float) -> keras.Model:
    made = keras.Sequential([keras.layers.Dense(1, name="only")])
    made.build((None, 1))
    made.compile(keras.optimizers.Adam())
    made.optimizer.build(made.trainable_variables)
    made.layers[0].kernel.assign([[value]])
    return made


def callback(folder: Path, made: keras.Model, **changes: object) -> Checkpoints:
    asked = {"identity": "run", "epochs": 20, "patience": 2, **changes}
    checkpoints = Checkpoints(str(folder), **asked)  # type: ignore[arg-type]
    checkpoints.set_model(made)
    return checkpoints


def run(folder: Path, scores: list[float], **changes: object) -> Checkpoints:
    """Epochs whose weights are their numbers, until the callback says stop."""
    made = model(0)
    checkpoints = callback(folder, made, **changes)
    made.stop_training = False
    for epoch, score in enumerate(scores, 1):
        made.layers[0].kernel.assign([[float(epoch)]])
        checkpoints.on_epoch_end(epoch - 1, {CIDER: score, "loss": 1.0})
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


@pytest.mark.parametrize("damage", ["another run", "no state", "half a state", "no state at all", "half the values"])
def test_what_belongs_to_no_state_is_not_taken(tmp_path: Path, damage: str) -> None:
    run(tmp_path, [0.1, 0.2])
    if damage == "no state":
        (tmp_path / "state.json").unlink()
    if damage == "half a state":
        (tmp_path / "state.json").write_text('{"identity": "run"')
    if damage == "no state at all":
        (tmp_path / "state.json").write_text("[]")
    if damage == "half the values":
        values = tmp_path / "epoch-0002.npz"
        values.write_bytes(values.read_bytes()[:200])
    other = model(77)
    checkpoints = callback(tmp_path, other, identity="another" if damage == "another run" else "run")
    assert checkpoints.restore(other) == 0
    assert other.layers[0].kernel.numpy().item() == 77


def test_what_is_kept_can_be_said(tmp_path: Path) -> None:
    assert run(tmp_path, [0.1], dump=lambda: b"mine").best_weights() == b"mine"


def test_more_epochs_go_on_and_fewer_begin_anew(tmp_path: Path) -> None:
    assert run(tmp_path, [0.1, 0.2], epochs=2).why_it_stops == "all 2 epochs are done"
    for epochs, done in ((2, 2), (3, 2), (1, 0)):
        other = model(77)
        checkpoints = callback(tmp_path, other, epochs=epochs)
        assert checkpoints.restore(other) == done
        assert checkpoints.finished == (epochs == 2)


def test_files_of_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    foreign = ["notes.txt", "epoch-1.npz", "best-0001.npz.bak", "my-epoch-0001.npz", ".hidden", ".x.tmp"]
    for name in foreign:
        (folder / name).write_bytes(b"mine")
    (folder / "epoch-0000.npz").mkdir()
    (tmp_path / "elsewhere.npz").write_bytes(b"mine")
    (folder / "best-0077.npz").symlink_to(tmp_path / "elsewhere.npz")
    run(folder, [0.1, 0.2, 0.3])
    kept = {"state.json", "epoch-0003.npz", "best-0003.npz", "epoch-0000.npz", "best-0077.npz", *foreign}
    assert {file.name for file in folder.iterdir()} == kept
    assert all((folder / name).read_bytes() == b"mine" for name in [*foreign, "best-0077.npz"])
