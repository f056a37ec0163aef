"""Nothing is written among the files of an output that is read."""

import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.destination import refuse_own_folders


@pytest.mark.parametrize(
    ("place", "output"),
    [
        ("out/captions/page.html", "out"),
        ("out/../out/_beamscribe/page.html", "/there/out/"),
        ("file:///there/out/webdataset", "out"),
        ("s3://bucket/out/index/a.csv", "s3://bucket/out"),
        ("memory://out/failures/a.csv", "memory://out"),
    ],
)
def test_the_folders_of_an_output_hold_its_data_alone(place: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getcwd", lambda: "/there")
    with pytest.raises(RefusedError, match="which holds its data: choose another place"):
        refuse_own_folders(place, output)


@pytest.mark.parametrize(
    ("place", "output"),
    [
        ("out/page.html", "out"),
        ("out-captions/page.html", "out"),
        ("captions/page.html", "out"),
        ("out/captions.csv", "out"),
        ("captions", "captions"),
        ("nothing::at all://x", "out"),
    ],
)
def test_other_places(place: str, output: str) -> None:
    refuse_own_folders(place, output)
