"""What contributors are told to type is there, and what machines read of it can be read."""

import json
import re

import pytest

from tests.documents import CHECKOUT

TEXT = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_tests_targets_and_tiers_are_there() -> None:
    for path, name in re.findall(r"(tests/[\w/]+(?:\.py)?)(?:::(\w+))?", TEXT):
        assert (CHECKOUT / path).exists(), path
        if name:
            assert f"def {name}(" in (CHECKOUT / path).read_text(encoding="utf-8"), name
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)`", TEXT):
        assert re.search(rf"^(?:[\w-]+ )*{target}\b.*:", makefile, re.MULTILINE), target
    # The tiers are those of the Makefile, word by word.
    tiers = re.findall(r"pytest (-m .+? -n auto --dist loadfile)", TEXT)
    assert len(tiers) == 3
    assert [tier for tier in tiers if tier not in makefile] == []


def test_the_development_container_is_described() -> None:
    described = json.loads((CHECKOUT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert (CHECKOUT / ".devcontainer" / described["build"]["dockerfile"]).exists()
    assert described["postCreateCommand"] == "make .venv/installed"


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_ask_what_is_needed(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load((CHECKOUT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    assert any(part.get("validations", {}).get("required") for part in form["body"])
    assert all(part["attributes"]["label"] for part in form["body"])
