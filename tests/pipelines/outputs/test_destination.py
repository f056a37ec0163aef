"""Nothing is written among the files of an output that is read."""

import pytest

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.destination import refuse_own_folders


@pytest.mark.parametrize(
    ("place", "output", "refused"),
    [
        ("out/captions/page.html", "out", True),
        ("out/../out/_beamscribe/page.html", "/there/out/", True),
        ("file:///there/out/webdataset", "out", True),
        ("s3://bucket/out/index/a.csv", "s3://bucket/out", True),
        ("memory://out/failures/a.csv", "memory://out", True),
        ("out/page.html", "out", False),
        ("out-captions/page.html", "out", False),
        ("captions/page.html", "out", False),
        ("out/captions.csv", "out", False),
        ("captions", "captions", False),
        ("nothing::at all://x", "out", False),
    ],
)
def test_the_folders_of_an_output_hold_its_data_alone(
    place: str, output: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getcwd", lambda: "/there")
    message = ""
    try:
        refuse_own_folders(place, output)
    except RefusedError as error:
        message = str(error)
    assert message.endswith(", which holds its data: choose another place" if refused else "")
    assert bool(message) == refused
