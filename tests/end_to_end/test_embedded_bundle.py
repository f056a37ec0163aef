"""The bundle that comes with a checkout: whole, small, and looking at the photographs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
import tensorflow as tf

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.model.backbone.network import Backbone
from beamscribe.model.bundle import open_bundle
from beamscribe.model.captioner import Captioner
from beamscribe.model.captioning import load_captioner
from beamscribe.model.images import decode_image
from beamscribe.model.pretrained import EMBEDDED
from beamscribe.model.tokenizer import PAD, Tokenizer

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000


def test_it_is_whole_and_small_and_says_what_it_is() -> None:
    bundle = open_bundle(EMBEDDED)
    bundle.check()
    assert "research and educational use" in bundle.notice
    files = {path.name: path.stat().st_size for path in Path(EMBEDDED).iterdir()}
    assert {"README.md", "LICENSE", "backbone.npz", "metrics.json"} <= files.keys()
    assert sum(files.values()) <= 40 * MEGABYTE


@pytest.fixture(scope="module")
def photographs(shared: Path) -> tuple[np.ndarray, list[str]]:
    """Features of 64 photographs that nothing was trained on, and a caption of each."""
    annotations = json.loads((shared / "flickr8k" / "annotations" / "captions_val.json").read_text())
    images = annotations["images"][:64]
    first = {item["image_id"]: item["caption"] for item in reversed(annotations["annotations"])}
    bundle = open_bundle(EMBEDDED)
    spec = bundle.backbone
    pixels = [
        decode_image((shared / "flickr8k" / "images" / image["file_name"]).read_bytes(), spec.input_size, spec.resample)
        for image in images
    ]
    backbone = Backbone(spec, bundle.backbone_weights)
    grids = backbone(np.stack([decoded.pixels for decoded in pixels]))
    return grids.reshape(len(images), -1, spec.grid[-1]), [first[image["id"]] for image in images]


def token_losses(captioner: Captioner, features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Mean cross-entropy of each image's caption, in nats a token."""
    logits = captioner((features, tokens[:, :-1]))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, 1:], logits).numpy()
    said = tokens[:, 1:] != PAD
    return (losses * said).sum(axis=1) / said.sum(axis=1)


@pytest.mark.slow
def test_captions_fit_their_own_photograph_best(photographs: tuple[np.ndarray, list[str]]) -> None:
    features, captions = photographs
    bundle = open_bundle(EMBEDDED)
    captioner = load_captioner(bundle)
    tokens = Tokenizer(bundle.vocabulary()).tokenize(captions, captioner.config.max_length)
    another = np.roll(features, 1, axis=0)
    own, others = token_losses(captioner, features, tokens), token_losses(captioner, another, tokens)
    assert others.mean() > own.mean() + 0.5
    assert (others > own).mean() > 0.8
    # With every second cell another photograph's, the caption is somewhere between.
    mixed = features.copy()
    mixed[:, ::2] = another[:, ::2]
    assert own.mean() + 0.1 < token_losses(captioner, mixed, tokens).mean() < others.mean()


@pytest.mark.slow
def test_it_captions_without_a_model_being_named(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("BEAMSCRIBE_MODEL", raising=False)
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((shared / "coco-mini" / "val2017").glob("*.jpg"))[:40]:
        (images / path.name).write_bytes(path.read_bytes())
    assert main(["caption", "--images", str(images), "--output", str(tmp_path / "out")]) == DONE
    assert "research and educational use" in capsys.readouterr().out.splitlines()[0]
    captions = [row["caption"] for row in ds.dataset(tmp_path / "out" / "captions").to_table().to_pylist()]
    assert len(captions) == 40
    assert len(set(captions)) > 25
    assert all(caption[0].isupper() and caption.endswith(".") for caption in captions)
