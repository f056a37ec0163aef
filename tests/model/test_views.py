"""Views of a photograph."""

import numpy as np
import pytest

from beamscribe.model.views import MIRRORED, WHOLE, view_of

HEIGHT, WIDTH = 60, 80
SLOPE = np.stack(
    [
        np.tile(np.linspace(0, 255, WIDTH), (HEIGHT, 1)),
        np.tile(np.linspace(0, 255, HEIGHT)[:, None], (1, WIDTH)),
        np.full((HEIGHT, WIDTH), 90),
    ],
    axis=-1,
).astype(np.uint8)
"""Red says how far to the right a pixel is, green how far down."""


def test_the_first_two_are_the_photograph_and_its_mirror_image() -> None:
    np.testing.assert_array_equal(view_of(SLOPE, WHOLE), SLOPE)
    np.testing.assert_array_equal(view_of(SLOPE, MIRRORED), SLOPE[:, ::-1])


@pytest.mark.parametrize("view", range(2, 12))
def test_the_others_are_parts_of_it(view: int) -> None:
    part = view_of(SLOPE, view)
    assert (part.shape, part.dtype) == (SLOPE.shape, np.uint8)
    np.testing.assert_array_equal(part, view_of(SLOPE.copy(), view))
    across, down = part[HEIGHT // 2, :, 0].astype(int), part[:, WIDTH // 2, 1].astype(int)
    assert 0.6 * 255 <= abs(across[-1] - across[0]) < 255  # as wide as the part is
    assert 0.6 * 255 <= down[-1] - down[0] < 255
    assert (np.diff(down) >= 0).all()
    assert abs(part[..., 2].astype(int) - 90).max() <= 1


def test_parts_differ_from_each_other_and_from_photograph_to_photograph() -> None:
    parts = [view_of(SLOPE, view) for view in range(2, 22)]
    assert len({part.tobytes() for part in parts}) == 20
    mirrored = [bool(part[0, 0, 0] > part[0, -1, 0]) for part in parts]
    assert 4 <= sum(mirrored) <= 16
    another = SLOPE.copy()
    another[..., 2] = 91
    assert (view_of(another, 2)[..., :2] != view_of(SLOPE, 2)[..., :2]).any()
