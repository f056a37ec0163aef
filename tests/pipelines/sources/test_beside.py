"""What stands beside an image in an archive."""

import pytest

from beamscribe.pipelines.sources import beside as module
from beamscribe.pipelines.sources.beside import Name, SampleWindow, is_beside


def windowed(names: str, *suffixes: str) -> list[tuple[str, dict[str, str]]]:
    """Images among members, with those beside them; a `*` behind a name is an image."""
    window: SampleWindow[str] = SampleWindow(suffixes)
    passed = []
    for name in names.split():
        passed += window.add(name.rstrip("*"), 10, name.rstrip("*"), name.endswith("*"))
    passed += window.end()
    assert [one.value for one in passed] == [name.rstrip("*") for name in names.split()]
    return [(one.value, dict(one.beside)) for one in passed if f"{one.value}*" in names.split()]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.jpg* a.json b.jpg*", [("a.jpg", {"json": "a.json"}), ("b.jpg", {})]),
        ("a.json a.txt a.jpg*", [("a.jpg", {"json": "a.json", "txt": "a.txt"})]),
        ("d/a.jpg* a.json", [("d/a.jpg", {})]),
        ("a.jpg* b.jpg* a.json b.json", [("a.jpg", {}), ("b.jpg", {})]),
        ("a.JPG* a.JSON a.json", [("a.JPG", {"json": "a.JSON"})]),
        ("a.seg.png* a.jpg* a.seg.json a.json", [("a.seg.png", {"json": "a.seg.json"}), ("a.jpg", {"json": "a.json"})]),
        ("1.2-x.jpg* 1.2-x.json 1.3-x.jpg*", [("1.2-x.jpg", {"json": "1.2-x.json"}), ("1.3-x.jpg", {})]),
        ("a.jpg* a.cls.txt", [("a.jpg", {})]),
    ],
)
def test_members_of_a_sample(names: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert windowed(names, "json", "txt") == expected


def test_an_archive_that_is_one_sample_is_looked_at_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MEMBERS", 4)
    many = " ".join(f"a.{number}.jpg* a.{number}.json" for number in range(20))
    assert windowed(many, "json") == [(f"a.{n}.jpg", {"json": f"a.{n}.json"}) for n in range(20)]
    monkeypatch.setattr(module, "MOST_BYTES", 15)
    assert windowed("a.jpg* a.txt a.json", "json") == [("a.jpg", {})]


def test_names() -> None:
    assert Name.of("d.e/a.b.Jpg") == ("d.e/a", "b.jpg")
    assert [is_beside(name, ["json", "cls.TXT"]) for name in ("a.json", "a.b.JSON", "ajson", "a.cls.txt", "a.txt")] == [
        *(True, True, False, True, False)
    ]
