import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.model import weights
from beamscribe.model.bundle import open_bundle
from beamscribe.model.captioning import load_captioner
from beamscribe.model.ensemble import together
from beamscribe.model.tokenizer import PAD, Tokenizer
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.storage import whole_files
from beamscribe.training import train
from beamscribe.training.choice import choose

pytestmark = pytest.mark.slow

Write = Callable[..., str]
Make = Callable[..., FeatureExample]

RECIPE = """
from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=16, batch_size=4, captions_per_image=2, learning_rate=3e-3, vocabulary_size=200, max_length=12,
    width=32, heads=4, feed_forward=64, dropout=0.1, patience=16,
)
"""


@pytest.fixture
def command(tmp_path: Path, write_features: Write, example: Make) -> list[str]:
    """Flags of a training run that takes seconds: 24 images to learn from, 8 others to stop by."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    training = write_features("train", [example(i) for i in range(24)])
    validation = write_features("val", [example(i) for i in range(24, 32)])
    return ["--features", training, "--validation", validation, "--config", str(tmp_path / "recipe.py")]


@pytest.mark.slow
def test_it_learns_what_the_features_show(tmp_path: Path, command: list[str], example: Make) -> None:
    output = tmp_path / "bundle"
    assert train.run([*command, "--output", str(output)]) == DONE
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["validation_token_loss"] < 0.7 * metrics["frequency_loss"]
    (member,) = metrics["members"]
    assert member["epochs"] == 16
    losses = [epoch["val_token_loss"] for epoch in member["history"]]
    assert losses[-1] < losses[0]

    # What is stored is measured again, and rounding its weights may change a word.
    assert member["best_epoch"] == choose(member["history"], metrics["frequency_loss"]).epoch
    best = member["history"][member["best_epoch"] - 1]
    assert metrics["validation_cider"] == pytest.approx(best["val_cider"], rel=0.05)
    assert metrics["validation_token_loss"] == pytest.approx(best["val_token_loss"], rel=0.01)

    # Its own captions are likelier than they are with another image's features.
    bundle = open_bundle(str(output))
    bundle.check()
    captioner, tokenizer = load_captioner(bundle), Tokenizer(bundle.vocabulary())
    images = [example(i) for i in range(24, 28)]
    grids = np.stack([np.frombuffer(item.features, np.float16).reshape(4, 8) for item in images])
    tokens = tokenizer.tokenize([item.captions[0] for item in images], 12)

    def token_loss(features: np.ndarray) -> np.ndarray:
        logits = captioner((features, tokens[:, :-1])).numpy()
        shifted = logits - logits.max(-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        wanted = tokens[:, 1:]
        return -(np.take_along_axis(logs, wanted[..., None], -1)[..., 0] * (wanted != PAD)).sum(-1)

    assert (token_loss(grids) < token_loss(np.roll(grids, 1, axis=0))).all()


@pytest.mark.slow
@pytest.mark.nightly
def test_members_are_trained_alone_and_write_together(tmp_path: Path, command: list[str]) -> None:
    few = [*command, "--epochs", "3"]
    train.run([*few, "--seed", "5", "--output", str(tmp_path / "first")])
    train.run([*few, "--seed", "6", "--output", str(tmp_path / "second")])
    # Begun as one captioner: what is trained is not trained again.
    alone = [*few, "--seed", "5", "--output", str(tmp_path / "both")]
    train.run(alone)
    state = tmp_path / "both.work" / "checkpoints" / "state.json"
    before = state.stat().st_mtime_ns
    with pytest.raises(RefusedError, match="members: 1 → 2"):
        train.run([*alone, "--members", "2"])
    train.run([*alone, "--members", "2", "--on-change", "replace"])
    assert state.stat().st_mtime_ns == before

    stored = weights.arrays((tmp_path / "both" / "captioner.npz").read_bytes())
    expected = together([(tmp_path / name / "captioner.npz").read_bytes() for name in ("first", "second")])
    assert stored.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(stored[name], values)
    found = {
        name: json.loads((tmp_path / name / "metrics.json").read_text())["validation_token_loss"]
        for name in ("first", "second", "both")
    }
    # The mean of log probabilities is never less likely than the mean of both losses says.
    assert found["both"] <= (found["first"] + found["second"]) / 2
    card = (tmp_path / "both" / "README.md").read_text()
    assert "- Seed 5: best of 3" in card
    assert "- Seed 6: best of 3" in card


@pytest.mark.slow
@pytest.mark.nightly
def test_killed_and_continued_gives_the_same_weights(tmp_path: Path, command: list[str]) -> None:
    def start(output: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "beamscribe", "train", *command, "--output", output])

    straight, killed = str(tmp_path / "straight"), str(tmp_path / "killed")
    assert start(straight).wait() == DONE
    process = start(killed)
    state = tmp_path / "killed.work" / "checkpoints" / "state.json"
    deadline = time.monotonic() + 120
    while not (state.exists() and json.loads(state.read_text())["epoch"] >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path(killed).exists()
    assert start(killed).wait() == DONE
    for name in ("captioner.npz", "vocabulary.txt"):
        assert (Path(killed) / name).read_bytes() == (Path(straight) / name).read_bytes()
    history = [json.loads((Path(folder) / "metrics.json").read_text())["members"] for folder in (straight, killed)]
    assert history[0] == history[1]


@pytest.mark.slow
@pytest.mark.nightly
def test_a_finished_run_only_writes_its_bundle_again(tmp_path: Path, command: list[str]) -> None:
    output = tmp_path / "bundle"
    arguments = [*command, "--epochs", "1", "--output", str(output)]
    code = train.run(arguments)
    before = (output / "captioner.npz").read_bytes()
    assert train.run(arguments) == code
    assert (output / "captioner.npz").read_bytes() == before
    assert len(json.loads((output / "metrics.json").read_text())["members"][0]["history"]) == 1


@pytest.mark.slow
@pytest.mark.nightly
def test_more_epochs_go_on_and_another_recipe_is_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    asked = [*command, "--output", str(output), "--epochs"]
    train.run([*asked, "2"])
    assert "stops after epoch 2: all 2 epochs are done; " in capsys.readouterr().out
    (output / "notes.txt").write_text("mine")
    train.run([*asked, "3", "--patience", "9"])
    assert "continues after epoch 2" in capsys.readouterr().out
    assert len(json.loads((output / "metrics.json").read_text())["members"][0]["history"]) == 3
    before = (output / "captioner.npz").read_bytes()

    other = [*asked, "3", "--seed", "7"]
    with pytest.raises(RefusedError, match=r"otherwise:\n  seed: 0 → 7\nChoose another --output, or --on-change"):
        train.run(other)
    with pytest.raises(RefusedError, match="epochs: 3 → 2"):
        train.run([*asked, "2"])
    other_images = [command[1] if word == command[3] else word for word in command]
    with pytest.raises(RefusedError, match="validation_images: .* → "):
        train.run([*other_images, "--output", str(output), "--epochs", "3"])
    assert train.run([*other, "--on-change", "keep"]) == DONE
    assert (output / "captioner.npz").read_bytes() == before
    train.run([*other, "--on-change", "replace"])
    assert (output / "captioner.npz").read_bytes() != before
    assert (output / "notes.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.nightly
def test_a_captioner_worse_than_word_frequencies_ends_with_three(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    asked = [*command, "--output", str(output), "--epochs", "1", "--learning-rate", "1e-9"]
    assert train.run(asked) == CHECK_FAILED
    told = capsys.readouterr()
    metrics = json.loads((output / "metrics.json").read_text())
    loss, frequency = metrics["validation_token_loss"], metrics["frequency_loss"]
    assert loss > frequency
    assert f"no better than word frequencies, {loss:.3f} against {frequency:.3f} nats a token" in told.err
    assert "the loss, since CIDEr is not yet more than chance, chose epoch 1, which is kept" in told.out


@pytest.mark.slow
@pytest.mark.nightly
def test_a_full_disk_stops_in_one_line_and_the_same_command_goes_on(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    asked = [*command, "--output", str(output), "--epochs", "2"]
    replace = whole_files.replace
    for full in ("state.json", "vocabulary.txt", "config.json"):

        def fills_up(path: str, data: bytes, full: str = full) -> None:
            if path.endswith(full):
                raise OSError(errno.ENOSPC, "No space left on device", path)
            replace(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(whole_files, "replace", fills_up)
            assert train.run(asked) == STOPPED
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("beamscribe train: stopped: [Errno 28] No space left on device")
        assert not output.exists()
    assert train.run(asked) in (DONE, CHECK_FAILED)
    open_bundle(str(output)).check()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    # What version 0.1 left of a bundle is no reason to refuse.
    (output / "config.json").unlink()
    assert train.run(asked) in (DONE, CHECK_FAILED)


def test_what_cannot_be_done_is_refused_before_training(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(RefusedError, match="did you mean --epochs"):
        train.run([*command, "--output", str(tmp_path / "b"), "--epoch", "2"])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(RefusedError, match="something else than a bundle"):
        train.run([*command, "--output", str(tmp_path / "photos")])
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
