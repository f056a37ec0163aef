"""Imports point one way, folder by folder, and never in a circle."""

import ast
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"beamscribe.errors", "beamscribe.flag_parser", "beamscribe.log_lines", "beamscribe.native_logs", "schemas"},
    {"storage"},
    {"model"},
    {"training", "pipelines.work"},
    {"pipelines.commits"},
    {"pipelines.sources", "pipelines.services"},
    {"pipelines.images", "pipelines.speech"},
    {"pipelines.captioners"},
    {"pipelines.runtime"},
    {"pipelines"},
    {"pipelines.outputs"},
    {"beamscribe"},
]
"""From the bottom; a folder may import what stands below it. `pipelines` are the jobs, `beamscribe` the command line
and the Python interface. See ARCHITECTURE.md, whose diagram is compared with this."""

DETAILS = {"beamscribe.errors", "beamscribe.flag_parser", "beamscribe.log_lines", "beamscribe.native_logs"}

APART = ("training", "pipelines")
"""Never import each other."""

FOREIGN = {
    "schemas": {"tensorflow", "keras", "apache_beam", "PIL"},
    "storage": {"tensorflow", "keras", "apache_beam", "PIL"},
    "model": {"apache_beam"},
    "training": {"apache_beam"},
}
HEAVY = {"tensorflow", "tensorflow_text", "keras"}
FOLDERS = ("schemas", "storage", "model", "training", "pipelines")


def modules() -> dict[str, Path]:
    """Every module by the name that it is imported by, without what the links show a second time."""
    found = {}
    for folder in (*FOLDERS, "beamscribe"):
        paths = (CHECKOUT / folder).glob("*.py") if folder == "beamscribe" else (CHECKOUT / folder).rglob("*.py")
        for path in paths:
            name = ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
            found[name if folder == "beamscribe" else f"beamscribe.{name}"] = path
    return found


MODULES = modules()


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports; of names in a package the module that each is, where it is one."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


def number_of(name: str) -> int:
    """The layer of a folder."""
    return next(number for number, names in enumerate(LAYERS) if name in names)


def layer(module: str) -> int:
    """The number of the layer that a module is in."""
    name = module if module in LAYERS[0] else module.removeprefix("beamscribe.")
    for depth in range(name.count(".") + 1, 0, -1):
        part = ".".join(name.split(".")[:depth])
        for number, names in enumerate(LAYERS):
            if part in names:
                return number
    assert len(name.split(".")) == 1, module
    return len(LAYERS) - 1


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """The package itself imports lazily, for type checkers at once."""
    if module == "beamscribe":
        return
    wrong = [
        name
        for name in imported(MODULES[module])
        if name in MODULES and name != "beamscribe" and layer(name) > layer(module)
    ]
    assert wrong == []
    folder = module.split(".")[1]
    if folder in APART:
        other = APART[1 - APART.index(folder)]
        assert [name for name in imported(MODULES[module]) if name.startswith(f"beamscribe.{other}.")] == []


def test_the_diagram_shows_the_layers() -> None:
    text = (CHECKOUT / "ARCHITECTURE.md").read_text().split("## The folders")[1].split("| folder |")[0]
    arrows = [line.strip().replace("/", ".").split(" ← ") for line in text.splitlines() if " ← " in line]
    pairs = [
        (left, right)
        for names in arrows
        for lefts, rights in pairwise(names)
        for left in lefts.split(", ")
        for right in rights.split(", ")
    ]
    assert {name for pair in pairs for name in pair} == {name for names in LAYERS for name in names} - DETAILS
    for left, right in pairs:
        assert number_of(left) < number_of(right)


@pytest.mark.slow
def test_no_import_closes_a_circle() -> None:
    """Imports for type checkers and inside of functions count as well."""
    graph = {
        module: {name for name in imported(path) if name in MODULES} - {module, "beamscribe"}
        for module, path in MODULES.items()
        if module != "beamscribe"
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


@pytest.mark.parametrize("folder", FOREIGN)
def test_a_folder_needs_no_library_of_another_layer(folder: str) -> None:
    wrong = {
        module: found
        for module, path in MODULES.items()
        if module.startswith(f"beamscribe.{folder}")
        if (found := {name.split(".")[0] for name in imported(path)} & FOREIGN[folder])
    }
    assert wrong == {}


def test_pipelines_load_tensorflow_only_where_there_is_work() -> None:
    wrong = [
        module
        for module, path in MODULES.items()
        if module.startswith("beamscribe.pipelines")
        and {name.split(".")[0] for name in imported(path, top_level_only=True)} & HEAVY
    ]
    assert wrong == []


def test_every_link_leads_to_its_folder() -> None:
    for folder in (*FOLDERS, "pretrained"):
        assert (CHECKOUT / "beamscribe" / folder).resolve() == CHECKOUT / folder
