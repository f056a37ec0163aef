"""Sentences without images, and which of them are nearest to captions."""

import gzip
from pathlib import Path

import pytest

from beamscribe.errors import RefusedError
from beamscribe.training.sentences import nearest, nearest_once, read_sentences

SENTENCES = [
    "A giraffe stands next to a tall tree.",
    "Two giraffes cross their necks.",
    "A man rides a wave on a surfboard.",
    "A plate of broccoli and meat on a table.",
    "A bowl of broccoli on a table.",
    "A train on the tracks near a station.",
] * 2


def test_files_are_read_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\n Two. \n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Three.\n"))
    found = read_sentences([str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz")], {})
    assert found.texts == ("One.", "Two.", "Three.")
    assert found.digest != read_sentences([str(tmp_path / "a.txt")], {}).digest
    assert read_sentences([], {}).texts == ()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"Three.\n" * 999)[:-20])
    for name, why in (("empty.txt", "holds no sentence"), ("cut.gz", "cannot be read"), ("none", "cannot be read")):
        with pytest.raises(RefusedError, match=why):
            read_sentences([str(tmp_path / name)], {})


def test_the_nearest_share_rare_words_with_several_captions(tmp_path: Path) -> None:
    captions = [["Broccoli in a bowl.", "Some broccoli and meat."], ["A giraffe beside a tree."], ["Nothing alike."]]
    found = nearest(captions, SENTENCES, count=2, least=0.1)
    assert set(found[0]) == {SENTENCES[3], SENTENCES[4]}
    assert found[1][0] == SENTENCES[0]
    assert found[2] == ()
    assert nearest(captions, [], 2, 0.1) == [()] * 3
    (tmp_path / "s.txt").write_text("\n".join(SENTENCES))
    sentences = read_sentences([str(tmp_path / "s.txt")], {})
    for _ in range(2):
        assert nearest_once(captions, sentences, 2, 0.1, str(tmp_path / "cache")) == found
    assert len(list((tmp_path / "cache").iterdir())) == 1
