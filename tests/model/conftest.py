"""What several files of this folder share: the real weights, which are not in the repository."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def inception_weights() -> str:
    """Path of the real InceptionV3 weights, looked for in $BEAMSCRIBE_SHARED or in `shared` beside the checkout."""
    shared = os.environ.get("BEAMSCRIBE_SHARED") or Path(__file__).resolve().parents[2].parent / "shared"
    path = Path(shared, "weights", "inception_v3_notop.weights.h5")
    if not path.is_file():
        pytest.skip(f"{path} is not there; set BEAMSCRIBE_SHARED to the folder that holds weights/")
    return str(path)
