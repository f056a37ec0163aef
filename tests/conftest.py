"""What tests of several folders share: real photographs where there are any, made ones where there are none."""

import json
import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import hypothesis
import numpy as np
import pytest
from PIL import Image

from beamscribe.model.bundle import VOCABULARY, WEIGHTS, Bundle, write_bundle
from beamscribe.storage.storage import Storage
from tests.pipelines.speech.throw_away_tls import Identity, throw_away_identity

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

pytest_plugins = ["tests.object_stores"]

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("beamscribe", deadline=None)
hypothesis.settings.load_profile("beamscribe")

CHECKOUT = Path(__file__).resolve().parents[1]
SLOW_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow", re.MULTILINE)
LONGEST = (
    "test_docs.py",
    "test_whole_way.py",
    "test_speak.py",
    "test_engines.py",
    "test_killed.py",
    "test_captioner.py",
)
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 60, 220), "white": (245, 245, 245)}


def pytest_configure() -> None:
    """A shell that runs the tests in the background makes them, and every process that they start, deaf to Ctrl-C."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of slow tests alone are not imported for the fast ones: most of them load TensorFlow."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return True if SLOW_FILE.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: begun last, they would let all cores but one wait."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage is asked again at once."""
    monkeypatch.setattr("beamscribe.storage.transient.BETWEEN", lambda state: 0.0)


@pytest.fixture(scope="session")
def server_identity() -> Identity:
    """Key and certificate of the tests' gRPC servers."""
    return throw_away_identity()


@pytest.fixture(scope="session", autouse=True)
def _trust_of_grpc(server_identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> None:
    """gRPC reads what it trusts once a process, at its first secure channel, whichever test opens that."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(server_identity.certificate)
    os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(path)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photographs and weights that are not part of the project."""
    folder = Path(os.environ.get("BEAMSCRIBE_SHARED", CHECKOUT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}; set BEAMSCRIBE_SHARED")
    return folder


@pytest.fixture(scope="session")
def made_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `captions.json` and 24 noisy pictures of one colour each, `images/red-00.jpg` and so on."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(24):
        name = list(COLOURS)[number % len(COLOURS)]
        pixels = np.clip(random.normal(COLOURS[name], 12, (64, 96, 3)), 0, 255).astype(np.uint8)
        file_name = f"{name}-{number:02d}.jpg"
        Image.fromarray(pixels).save(folder / "images" / file_name)
        images.append({"id": number + 1, "file_name": file_name, "width": 96, "height": 64})
        for text in (f"A {name} wall.", f"The wall is {name}."):
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "caption": text})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with small random weights and a random backbone: its captions mean nothing, but are always the same."""
    import keras

    from beamscribe.model import weights
    from beamscribe.model.captioner import BASIC, Captioner, CaptionerConfig

    keras.utils.set_random_seed(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[START]", "[END]", *letters, *(f"##{letter}" for letter in letters)]
    captioner = Captioner(
        CaptionerConfig((7, 7, 1280), len(vocabulary), BASIC, max_length=12, width=32, heads=4, feed_forward=64)
    )
    captioner.build()
    # Larger than at the start of training, so that captions differ between pictures.
    for variable in captioner.trainable_variables:
        variable.assign(variable.numpy() * 3)
    return write_bundle(
        str(tmp_path_factory.mktemp("bundle")),
        {WEIGHTS: weights.to_npz(captioner), VOCABULARY: "\n".join(vocabulary).encode()},
        {
            "captioner": captioner.get_config(),
            # Small, since a process that captions builds and compiles it.
            "backbone": {"name": "MobileNetV2", "weights": "random", "digest": "random-0", "file": None},
            "decode_policy": "1",
        },
    )


_CAPTIONERS = 3
"""Kept by `one_captioner`, the latest."""


@pytest.fixture(scope="module")
def one_captioner() -> Iterator[None]:
    """Runs within this process share a captioner of the same bundle, search, engine and precision.

    To build and to compile one takes most of a run's time, and it holds no state of a run.
    """
    from beamscribe.model import captioning

    build = captioning.CaptionWriter
    kept: dict[tuple[str, str, str], Any] = {}

    def writer(bundle: Bundle, options: Any, choice: Any = captioning.DEFAULT_CHOICE) -> Any:
        key = (json.dumps(bundle.config, sort_keys=True), repr(options), repr(choice))
        found = kept.pop(key, None) or build(bundle, options, choice)
        kept[key] = found
        while len(kept) > _CAPTIONERS:
            del kept[next(iter(kept))]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captioning, "CaptionWriter", writer)
        yield


@pytest.fixture
def memory() -> Iterator[Storage]:
    """A folder in fsspec's memory filesystem, which stands for an object store."""
    output = Storage(f"memory://{uuid.uuid4().hex}")
    yield output
    fs = fsspec.filesystem("memory")
    if fs.exists(output.path("")):
        fs.rm(output.path(""), recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    """A folder on the disk."""
    return Storage(str(tmp_path / "output"))


@pytest.fixture(params=["local", "memory"])
def output(request: pytest.FixtureRequest) -> Storage:
    """The same folder twice: on the disk, and where nothing can be renamed or linked."""
    return request.getfixturevalue(request.param)
