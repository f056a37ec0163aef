"""What sources name is exactly items + repeats + skipped, whatever is in the folders of strangers."""

import glob
import itertools
import json
import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import Columns, read_manifests
from beamscribe.pipelines.sources.walking import left_out_by_name, match

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))

STEMS = st.sampled_from(
    [
        "a",
        "A",
        "b c",
        "[1]",
        "x*",
        "?",
        "%41",
        "a::b",
        "#",
        "_",
        "-",
        ".h",
        "._m",
        "ü",
        "u\u0308",
        "\udce9",
        "\\udce9",
        "é\n",
    ]
)
SUFFIXES = st.sampled_from([".jpg", ".JPG", ".Jfif", ".ppm", ".jp2", ".txt", "", ".db", ".jpg.part", ".zip.jpg"])
NAMES = st.one_of(
    st.builds(str.__add__, STEMS, SUFFIXES),
    st.sampled_from(["Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX", ".hidden.jpg", "._a.jpg", "_SUCCESS"]),
)
PLACES = st.integers(0, 6)
ENTRIES = st.one_of(
    st.tuples(st.just("file"), PLACES, NAMES, st.sampled_from([b"", b"x", b"\xff\xd8"])),
    st.tuples(st.just("folder"), PLACES, NAMES, st.none()),
    st.tuples(st.just("link"), PLACES, NAMES, st.integers(0, 12)),
    st.tuples(st.just("broken"), PLACES, NAMES, st.none()),
    st.tuples(st.just("self"), PLACES, NAMES, st.none()),
    st.tuples(st.just("pipe"), PLACES, NAMES, st.none()),
    st.tuples(st.just("zip"), PLACES, STEMS, st.lists(NAMES, max_size=4)),
)
TREES = st.lists(ENTRIES, max_size=25)


def grow(folder: str, tree: list[tuple[str, int, str, object]]) -> list[str]:
    """Makes a tree below `inside/`, beside which lies another folder that links may lead to; returns its archives."""
    places = [os.path.join(folder, "inside"), os.path.join(folder, "beside")]
    for place in places:
        os.mkdir(place)
    made = list(places)
    archives = []
    for kind, number_of_place, name, more in tree:
        path = os.path.join(places[number_of_place % len(places)], name)
        if kind == "zip":
            path += ".zip"
        if os.path.lexists(path) or name.startswith("."):
            path = (
                os.path.join(os.path.dirname(path), f"{len(made)}{os.path.basename(path)}") if kind != "file" else path
            )
        if os.path.lexists(path):
            continue
        if kind == "file":
            Path(path).write_bytes(more)  # type: ignore[arg-type]
        elif kind == "folder":
            os.mkdir(path)
            places.append(path)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for number, member in enumerate(more):  # type: ignore[arg-type]
                    archive.writestr(f"{number}{member.encode('ascii', 'replace').decode()}", b"x")
            # What is not UTF-8 has no URI by which it could be opened.
            archives += [path] if path.isprintable() else []
        else:
            target = {"link": made[int(more or 0) % len(made)], "broken": "nowhere", "self": path}[kind]  # type: ignore[call-overload]
            os.symlink(target, path)
        made.append(path)
    return archives


def named(root: str) -> Iterator[str]:
    """Everything that a walk names, told from real paths alone: files of a folder once, and ways to it beyond one."""
    known, waiting = {os.path.realpath(root)}, [os.path.realpath(root)]
    while waiting:
        folder = waiting.pop()
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if os.path.isdir(path) and real not in known:
                known.add(real)
                waiting.append(real)
            else:
                yield path


def counts(corpus: Corpus) -> int:
    total = len(corpus.references) + corpus.repeated + sum(corpus.skipped.values())
    assert total == corpus.listed
    assert all(count > 0 for count in corpus.skipped.values())
    return total


def listed(*sources: str, limit: int | None = None) -> Corpus | None:
    """None: refused, since one of them names no image at all."""
    try:
        return list_images(sources, {}, limit)
    except RefusedError as error:
        if "names no image" not in str(error):
            raise
        return None


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(TREES, st.integers(0, 5))
def test_a_tree_is_items_and_what_is_skipped(tree: list[tuple[str, int, str, object]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archives = grow(folder, tree)
        root = os.path.join(folder, "inside")
        everything = list(named(root))
        corpus = listed(root)
        if corpus is None:
            return
        assert counts(corpus) == len(everything)
        real = [
            os.path.join(os.path.realpath(os.path.dirname(uri[7:])), os.path.basename(uri)) for uri in _uris(corpus)
        ]
        assert len(set(real)) == len(real), "one file of one folder is listed twice"
        assert corpus.repeated == 0
        # A source named again, a pattern for what is in it, its archives: all counts add up.
        sources = [root, root + "/", f"{root}/**", *archives]
        each = [one for one in (listed(source) for source in sources) if one is not None]
        if len(each) < len(sources):
            return
        together = listed(*sources)
        assert together is not None
        assert counts(together) == sum(counts(one) for one in each)
        assert len(together.references) == len({id for one in each for id in one.references.ids.to_pylist()})
        few = listed(*sources, limit=limit)
        assert few is not None
        assert counts(few) == counts(together)
        assert len(few.references) == min(limit, len(together.references))


def _uris(corpus: Corpus) -> list[str]:
    return [reference.uri for reference in corpus.references]


PATTERNS = st.lists(
    st.sampled_from(["*", "**", "a*", "[ab]*", "?.*", "*.jpg", "*.[jJ]*", "A", ".*"]), min_size=1, max_size=4
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(TREES, PATTERNS)
def test_a_pattern_names_what_the_standard_library_finds(
    tree: list[tuple[str, int, str, object]], parts: list[str]
) -> None:
    """A pattern names what `glob` finds, links followed; `**` is tried without links: `glob` follows loops."""
    with tempfile.TemporaryDirectory() as folder:
        grow(folder, [entry for entry in tree if "**" not in parts or entry[0] not in ("link", "self")])
        pattern = "/".join([folder, "inside", *parts])
        found = {path for path in glob.glob(pattern, recursive=True, include_hidden=True) if os.path.lexists(path)}
        if "**" in parts:
            found = {path for path in found if not os.path.isdir(path)}
        matched = list(match(pattern))
        assert len(matched) == len({path.rstrip("/") for path in found})
        files = {path for path in matched if isinstance(path, str)}
        assert files <= found
        assert all(_aside(path, folder) for path in found - files if os.path.isfile(path))


def _aside(path: str, folder: str) -> bool:
    """Whether a hidden or a system's name is in it."""
    return left_out_by_name(os.path.relpath(path, folder)) is not None


ROWS = st.lists(
    st.tuples(st.sampled_from(["", "1", "2", "3"]), st.sampled_from(["a.jpg", "b.jpg", "", "./a.jpg"])), min_size=1
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.lists(ROWS, min_size=1, max_size=4), st.one_of(st.none(), st.integers(1, 4)))
def test_manifests_are_items_and_repeats_or_refused(tables: list[list[tuple[str, str]]], limit: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, rows in enumerate(tables):
            lines = (json.dumps({"id": id or None, "uri": uri}) for id, uri in rows)
            Path(folder, f"{number}.jsonl").write_text("\n".join(lines))
        os.symlink("0.jsonl", os.path.join(folder, "9.jsonl"))  # Named twice: all of its rows are repeats.
        os.symlink("nothing", os.path.join(folder, "8.jsonl"))
        uris: dict[str, set[str]] = {}
        for id, uri in itertools.chain(*tables):
            if id and uri:
                uris.setdefault(id, set()).add(os.path.normpath(uri))
        try:
            corpus = read_manifests([os.path.join(folder, "*.jsonl")], Columns(), {}, limit)
        except RefusedError as error:
            if "to different images" not in str(error):
                raise
            return
        assert counts(corpus) == sum(map(len, tables)) + len(tables[0]) + 1
        assert corpus.skipped["broken link"] == 1
        if limit is None:
            assert all(len(found) == 1 for found in uris.values()), "two images of one id are one item"


def test_reasons_are_words_for_people() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = [
            ("file", 0, "a.jpg", b"x"),
            ("file", 0, "notes.txt", b"x"),
            ("folder", 0, "F", None),
            ("file", 2, "b.jpg", b"x"),
            ("file", 2, "Thumbs.db", b"x"),
            ("file", 2, "._b.jpg", b"x"),
            ("file", 2, ".b.jpg", b"x"),
            ("file", 1, "c.jpg", b"x"),
            ("link", 0, "loop", 0),
            ("link", 0, "beside", 1),
            ("broken", 0, "d.jpg", None),
            ("self", 0, "e.jpg", None),
            ("pipe", 0, "f.jpg", None),
            ("zip", 0, "g", []),
        ]
        grow(folder, tree)  # type: ignore[arg-type]
        root = os.path.join(folder, "inside")
        corpus = list_images([root], {})
        names = [uri.removeprefix(f"file://{root}/") for uri in _uris(corpus)]
        assert names == ["F/b.jpg", "a.jpg", "beside/c.jpg"]
        assert Counter(corpus.skipped) == {
            "no image suffix": 2,
            "metadata of the operating system": 1,
            "hidden": 1,
            "link to a folder that is listed without it": 1,
            "broken link": 2,
            "no regular file": 1,
            "archive in a folder": 1,
        }
