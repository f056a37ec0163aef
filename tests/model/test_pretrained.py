"""Which bundle is used where none is given."""

from pathlib import Path

import pytest

from beamscribe.model import pretrained
from beamscribe.model.pretrained import NoBundleError, default_bundle


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose bundle is not there yet."""
    monkeypatch.delenv(pretrained.VARIABLE, raising=False)
    monkeypatch.setattr(pretrained, "EMBEDDED", str(tmp_path / "pretrained"))
    return tmp_path / "pretrained"


def test_the_variable_comes_before_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.mkdir()
    (checkout / "config.json").write_text("{}")
    assert default_bundle() == str(checkout)
    monkeypatch.setenv(pretrained.VARIABLE, "gs://models/mine")
    assert default_bundle() == "gs://models/mine"


def test_without_either_it_says_how_to_get_one(checkout: Path) -> None:
    with pytest.raises(NoBundleError, match=r"BEAMSCRIBE_MODEL.*clone.*beamscribe train"):
        default_bundle()


def test_it_is_installed_with_the_code() -> None:
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    assert '"beamscribe.pretrained": ["*/*"]' in setup
