import pytest

from pipelines.images.quality import flags_of, sameness


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
        (41, 158, 20.0, False),
        (199, 0, 20.0, False),
        (200, 0, 99.0, True),
    ],
)
def test_one_caption_of_too_many_images(same: int, others: int, percent: float, warns: bool) -> None:
    captions = ["A dog."] * same + [f"Another {n}." for n in range(others)]
    warning = sameness(captions, percent)
    assert bool(warning) == warns
    if warning:
        assert f'{same} of {same + others} captions are "A dog."' in warning
