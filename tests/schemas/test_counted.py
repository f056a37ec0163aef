"""Counts in messages."""

import pytest

from beamscribe.schemas.counted import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (21, "21 images"), (12_345, "12,345 images")]
)
def test_only_one_is_one(number: int, told: str) -> None:
    assert counted(number, "image") == told


def test_nouns_of_several_words_and_other_ends() -> None:
    assert counted(1, "image was left out", "images were left out") == "1 image was left out"
    assert counted(1_000, "image was left out", "images were left out") == "1,000 images were left out"
