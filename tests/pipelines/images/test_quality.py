import hashlib

import pytest

from beamscribe.pipelines.images.quality import flags_of, sameness


@pytest.mark.parametrize(
    ("caption", "flags"),
    [
        ("A dog runs through the grass.", ()),
        ("A man in a red shirt and a woman in a blue shirt.", ()),
        ("", ("short",)),
        ("A dog.", ("short",)),
        ("A dog dog runs in grass.", ("repeats",)),
        ("Dog dog.", ("short", "repeats")),
        ("A man in a hat and a man in a hat.", ("repeats",)),
        (" ".join(f"word{n}" for n in range(20)), ()),
        (" ".join(f"word{n}" for n in range(21)), ("long",)),
    ],
)
def test_flags(caption: str, flags: tuple[str, ...]) -> None:
    assert flags_of(caption) == flags


@pytest.mark.parametrize(
    ("same", "others", "percent", "warns"),
    [
        (41, 159, 20.0, True),
        (40, 160, 20.0, False),
        (41, 158, 20.0, True),
        (39, 160, 20.0, False),
        (199, 0, 20.0, True),
        (5, 0, 20.0, True),
        (4, 0, 20.0, False),
        (5, 20, 20.0, False),
        (6, 4, 50.0, True),
        (0, 0, 20.0, False),
        (200, 0, 99.0, True),
    ],
)
def test_one_caption_of_too_many_images(same: int, others: int, percent: float, warns: bool) -> None:
    captions = ["A dog."] * same + [f"Another {n}." for n in range(others)]
    warning = sameness(((f"{n:064x}", caption) for n, caption in enumerate(captions)), percent)
    assert bool(warning) == warns
    if warning:
        assert f'{same} of {same + others} different images are "A dog."' in warning


def test_equal_images_count_once():
    """Five images of which a corpus holds most, and others which all look the same to the captioner."""
    copies = [(f"{n % 5:064x}", f"Copy {n % 5}.") for n in range(4000)]
    others = [(f"{n:064x}", "A dog.") for n in range(5, 605)]
    assert '600 of 605 different images are "A dog."' in sameness(copies + others)
    assert sameness(copies) is None


def test_many_images_are_counted_by_a_sample(monkeypatch):
    monkeypatch.setattr("beamscribe.pipelines.images.quality.ALARM_SAMPLE", 250)
    digests = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(20_000)]
    captions = [(digest, "A dog." if n % 2 else f"Another {n}.") for n, digest in enumerate(digests)]
    words = sameness(captions * 2).split()
    assert 250 <= int(words[2]) < 500
    assert 0.4 < int(words[0]) / int(words[2]) < 0.6
    assert sameness(captions[::2]) is None
