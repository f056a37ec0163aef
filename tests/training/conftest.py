import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest

GRID = (2, 2, 8)
WORDS = ("red", "green", "blue", "white")


def make_example(number: int, captions: int = 2) -> FeatureExample:
    """An image whose features say its colour: one channel of four is lit in every cell."""
    word = number % len(WORDS)
    random = np.random.default_rng(number)
    grid = random.uniform(0, 0.2, GRID)
    grid[..., word] += 3
    texts = (f"A {WORDS[word]} wall.", f"The wall is {WORDS[word]}.", f"There is a {WORDS[word]} wall")
    return FeatureExample(
        id=str(number),
        file_name=f"{number}.jpg",
        uri=f"file:///{number}.jpg",
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        width=4,
        height=3,
        repairs=(),
        features=grid.astype("<f2").tobytes(),
        shape=GRID,
        captions=texts[:captions],
        caption_ids=tuple(range(captions)),
        fingerprint="0" * 16,
        run_started="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def write_features(tmp_path: Path) -> Callable[..., str]:
    """Writes an output of featurize by hand: one file a list of examples."""
    # TensorFlow comes with it, which other tests here do without.
    from beamscribe.model.examples import encode_file

    def write(name: str, *files: list[FeatureExample], weights_digest: str = "random-0", job: str = "featurize") -> str:
        folder = tmp_path / name
        (folder / "features").mkdir(parents=True)
        (folder / "_beamscribe").mkdir()
        for number, examples in enumerate(files):
            (folder / "features" / f"{number}.tfrecord.gz").write_bytes(encode_file(examples))
        manifest = Manifest(
            job=job,
            fingerprint=Fingerprint({"backbone": "inception_v3"}),
            kept_fingerprints=["0" * 16],
            details={"backbone": "inception_v3", "weights": "random", "weights_digest": weights_digest},
            references=sum(map(len, files)),
            repeated=0,
            skipped={},
            listed=1,
            shards=1,
            run_started="2026-01-01T00:00:00+00:00",
        )
        (folder / "_beamscribe" / "manifest.json").write_text(manifest.to_json())
        return str(folder)

    return write


@pytest.fixture
def example() -> Callable[..., FeatureExample]:
    """Makes examples, see `make_example`."""
    return make_example
