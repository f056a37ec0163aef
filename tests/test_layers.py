"""Imports point one way: schemas ← model ← {training, pipelines} ← beamscribe.py."""

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "schemas": {"model", "training", "pipelines", "beamscribe", "tensorflow", "keras", "apache_beam", "PIL"},
    "model": {"training", "pipelines", "beamscribe", "apache_beam"},
    "training": {"pipelines", "beamscribe", "apache_beam"},
    "pipelines": {"training", "beamscribe"},
}
HEAVY = {"tensorflow", "tensorflow_text", "keras"}


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the packages that a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = list((CHECKOUT / room).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(CHECKOUT)): imported(path) & FORBIDDEN[room] for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_pipelines_load_tensorflow_only_where_there_is_work() -> None:
    wrong = [
        path.name for path in (CHECKOUT / "pipelines").rglob("*.py") if imported(path, top_level_only=True) & HEAVY
    ]
    assert wrong == []


def test_every_folder_of_code_is_installed() -> None:
    setup = (CHECKOUT / "setup.py").read_text()
    for room in FORBIDDEN:
        for package in (CHECKOUT / room).rglob("__init__.py"):
            name = ".".join(package.parent.relative_to(CHECKOUT).parts)
            assert f'"{name}"' in setup
    assert '"tests"' not in setup
