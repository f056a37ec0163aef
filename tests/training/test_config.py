from pathlib import Path

import pytest

from beamscribe.errors import RefusedError
from beamscribe.training.config import TrainingConfig, override, read_config

RECIPES = sorted((Path(__file__).parents[2] / "training" / "configs").glob("[a-z]*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_one_and_says_its_command(path: Path) -> None:
    assert isinstance(read_config(str(path)), TrainingConfig)
    header = path.read_text()
    assert all(word in header for word in ("Command:", "Cost:", "Score:"))


def test_flags_replace_fields() -> None:
    config = override(TrainingConfig(), epochs=2, batch_size=None, seed=0)
    assert (config.epochs, config.batch_size, config.seed) == (2, TrainingConfig().batch_size, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no CONFIG"),
        ("CONFIG = {'epochs': 2}", "defines no CONFIG"),
        ("from beamscribe.training.config import TrainingConfig\nCONFIG = TrainingConfig(epoch=2)", "TypeError"),
        ("CONFIG = (", "SyntaxError"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(text)
    with pytest.raises(RefusedError, match=message):
        read_config(str(path))


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        read_config(str(tmp_path / "none.py"))
