import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from beamscribe.training import java_scorers
from beamscribe.training.java_scorers import JavaError, Meteor, ptb_tokenize


def test_punctuation_goes_and_words_are_parted() -> None:
    assert ptb_tokenize(["A man's dog -- isn't it? -- runs, \"really\"."]) == ["a man 's dog is n't it runs really"]


def test_brackets_stay_as_they_do_in_the_reference() -> None:
    # It looks for -LRB- after the tokenizer has written -lrb-.
    assert ptb_tokenize(["A dog (brown)."]) == ["a dog -lrb- brown -rrb-"]


@pytest.mark.parametrize("captions", [[], [""], ["", ""], ["A dog.", ""], ["", "", "A dog.", "", "."]])
def test_every_caption_keeps_its_place_when_some_are_empty(captions: list[str]) -> None:
    assert ptb_tokenize(captions) == ["a dog" if caption == "A dog." else "" for caption in captions]


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\t", "😀"])
def test_no_character_moves_the_captions_that_follow(mark: str) -> None:
    found = ptb_tokenize([f"A dog{mark}runs", "The end"])
    assert len(found) == 2
    assert found[1] == "the end"
    assert {"a", "dog"} <= set(found[0].replace("...", " ").split())


def test_letters_beyond_ascii_stay_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert ptb_tokenize(["Ein süßer Hund, 一只狗."]) == ["ein süßer hund 一只狗"]


def fake_java(folder: Path, script: str) -> Path:
    path = folder / "java"
    path.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sys.exit('no memory')", "1 lines for 2 captions, exit code 1: no memory"),
        ("sys.stderr.write('odd input')", "1 lines for 2 captions, exit code 0: odd input"),
        ("sys.stdout.write('a dog\\n'); sys.exit('no memory')", "exit code 1: no memory"),
    ],
)
def test_a_tokenizer_that_fails_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(java_scorers, "JAVA_COMMAND", [fake_java(tmp_path, script)])
    with pytest.raises(JavaError, match=message):
        ptb_tokenize(["A dog.", "A cat."])


@pytest.mark.parametrize("script", ["sys.exit('Out of memory')", "sys.stdin.readline(); sys.exit('Out of memory')"])
def test_meteor_that_dies_is_an_error_and_no_wait_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(java_scorers, "JAVA_COMMAND", [fake_java(tmp_path, script)])
    with pytest.raises(JavaError, match="METEOR ended, exit code 1: Out of memory"), Meteor() as meteor:
        # Large enough for the pipe to be full when nobody reads it.
        meteor.statistics("a dog", ["a dog " * 100_000])


@pytest.fixture(scope="module")
def meteor() -> Iterator[Meteor]:
    """In a country that writes 0,5 for 0.5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
        started = Meteor()
    with started:
        yield started


@pytest.mark.slow
@pytest.mark.nightly
def test_the_score_of_a_sum_is_that_of_the_set(meteor: Meteor) -> None:
    pairs = [("a dog runs", "a dog runs"), ("a dog", "the big dog runs"), ("a cat", "a cat"), ("", "a cat"), ("x", "y")]
    counts = np.array([meteor.statistics(caption, [reference]) for caption, reference in pairs])
    perfect, partial, *_, nothing = meteor.scores(counts)
    assert (perfect, nothing) == (1, 0)
    assert 0 < partial < 1
    assert meteor.scores(counts[[0, 2, 2]].sum(axis=0, keepdims=True)) == [1]
    assert meteor.scores(counts[[1, 1, 1]].sum(axis=0, keepdims=True)) == pytest.approx([partial])
    of_all = meteor.scores(counts.sum(axis=0, keepdims=True))
    assert partial < of_all < perfect


@pytest.mark.slow
def test_the_best_reference_counts_and_words_may_be_related(meteor: Meteor) -> None:
    counts = np.array(
        [
            meteor.statistics("a dog runs", ["a cat", "a dog runs"]),
            meteor.statistics("a dog runs", ["a dog running"]),
            meteor.statistics("a dog runs", ["a dog swimming"]),
        ]
    )
    same, related, other = meteor.scores(counts)
    assert 1 == same > related > other > 0


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def test_meteor_ends_with_its_block_even_while_it_loads() -> None:
    before = children()
    with Meteor():
        assert len(children() - before) == 1
    assert children() == before


def test_meteor_ends_when_what_it_is_for_fails() -> None:
    from beamscribe.training.scores import NoReferencesError, Scorer

    before = children()
    with pytest.raises(NoReferencesError, match="no reference holds a word"):
        Scorer({"1": ["."]})
    assert children() == before
