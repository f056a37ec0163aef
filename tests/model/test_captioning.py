"""A bundle opened for work, with a small captioner of random weights on features of the real size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beamscribe.model import weights
from beamscribe.model.backbone.choice import FLOAT32, OPENVINO, Choice
from beamscribe.model.backbone.spec import INCEPTION_V3, BackboneSpec, Engine, ResolvedWeights
from beamscribe.model.bundle import VOCABULARY, WEIGHTS, Bundle, BundleError, write_bundle
from beamscribe.model.captioner import BASIC, Captioner, CaptionerConfig
from beamscribe.model.captioning import CaptionWriter, DecodingOptions, load_captioner
from beamscribe.model.decoding import beam_search
from beamscribe.model.tokenizer import RESERVED, Tokenizer

pytestmark = pytest.mark.slow

TOKENS = [*RESERVED, *"abcdefgh", "##s", "dog", "cat"]
CONFIG = CaptionerConfig((8, 8, 2048), len(TOKENS), BASIC, max_length=10, width=16, heads=2, feed_forward=16)
FEATURES = np.random.default_rng(0).exponential(size=(3, 8, 8, 2048)).astype(np.float16)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    captioner = Captioner(CONFIG)
    captioner.build()
    generator = np.random.default_rng(1)
    for weight in captioner.trainable_variables:
        weight.assign(generator.normal(float(weight.path.endswith("gamma")), 0.3, weight.shape).astype(np.float16))
    return captioner


@pytest.fixture
def bundle(captioner: Captioner, tmp_path: Path) -> Bundle:
    return write(tmp_path, captioner)


def write(path: Path, written: Captioner, tokens: list[str] = TOKENS, **changes: Any) -> Bundle:
    config = {
        "backbone": {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None},
        "captioner": written.get_config(),
    }
    files = {WEIGHTS: weights.to_npz(written), VOCABULARY: "".join(f"{token}\n" for token in tokens).encode()}
    return write_bundle(str(path), files, {**config, **changes})


def test_the_captioner_of_a_bundle_is_the_one_written(bundle: Bundle, captioner: Captioner) -> None:
    loaded = load_captioner(bundle)
    assert loaded.config == CONFIG
    assert weights.to_npz(loaded) == weights.to_npz(captioner)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"captioner": {"config": {**CONFIG._asdict(), "width": 32}}}, "the model needs"),
        ({"captioner": {"config": {**CONFIG._asdict(), "decoder_blocks": 2}}}, "do not belong .*: decoder/block_1"),
        ({"captioner": {"config": {**CONFIG._asdict(), "heads": 3}}}, "heads 3"),
        ({"captioner": {"config": {**CONFIG._asdict(), "colour": "red"}}}, "colour red"),
        ({"captioner": {}}, "captioner {}"),
        ({"captioner": None}, "captioner None"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    captioner: Captioner, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(
        BundleError,
        match=f"{tmp_path}.*(does not hold what its config.json says: |no captioner can be built with ).*{reason}",
    ):
        load_captioner(write(tmp_path, captioner, **changes))


def test_captions_are_those_of_the_search_as_sentences(bundle: Bundle, captioner: Captioner) -> None:
    written = CaptionWriter(bundle, DecodingOptions(beam_size=2, max_length=6)).caption_features(FEATURES)
    decoded = beam_search(captioner, FEATURES.reshape(3, 64, 2048), 2, 6)
    tokenizer = Tokenizer(TOKENS)
    assert len(written) == 3
    for captions, tokens, scores in zip(written, decoded.tokens, decoded.scores, strict=True):
        assert [caption.caption for caption in captions] == tokenizer.detokenize(tokens.numpy())
        np.testing.assert_allclose([caption.score for caption in captions], scores, atol=1e-4)
    assert len({captions[0].caption for captions in written}) > 1


def test_a_smaller_batch_gives_the_same(bundle: Bundle) -> None:
    writer = CaptionWriter(bundle, DecodingOptions(beam_size=2, max_length=6))
    together = writer.caption_features(FEATURES)
    assert len(together) == 3
    for i in range(3):
        (alone,) = writer.caption_features(FEATURES[i : i + 1])
        assert [caption.caption for caption in alone] == [caption.caption for caption in together[i]]
        np.testing.assert_allclose([c.score for c in alone], [c.score for c in together[i]], atol=1e-4)


def test_places_that_no_caption_fills_are_left_out(tmp_path: Path) -> None:
    # One word may be written, and one length: one caption exists, four are wanted.
    tiny = Captioner(CONFIG._replace(vocabulary_size=5))
    tiny.build()
    writer = CaptionWriter(write(tmp_path, tiny, [*RESERVED, "dog"]), DecodingOptions(4, 1))
    assert [[caption.caption for caption in found] for found in writer.caption_features(FEATURES[:1])] == [["Dog."]]


def see(pixels: np.ndarray) -> np.ndarray:
    """Two constants of the picture, as a bright and a dark channel of every cell."""
    bright = pixels.mean(axis=(1, 2, 3), keepdims=True) / 255
    return np.tile(np.concatenate([bright, 1 - bright], -1), (1, 8, 8, 1024)).astype(np.float16)


def test_pixels_go_through_the_engine_that_was_chosen(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_engine(spec: BackboneSpec, weights: ResolvedWeights, choice: Choice, quantized: None) -> Engine:
        assert (spec, weights) == (INCEPTION_V3, ResolvedWeights("random", "random-0"))
        assert choice == Choice(OPENVINO, FLOAT32)
        return see

    monkeypatch.setattr("beamscribe.model.captioning.open_engine", fake_engine)
    writer = CaptionWriter(bundle, DecodingOptions(beam_size=1, max_length=6), Choice(OPENVINO, FLOAT32))
    pixels = np.stack([np.full((299, 299, 3), level, np.uint8) for level in (10, 240)])
    stored = see(pixels)
    seen, read = writer.caption_pixels(pixels), writer.caption_features(stored)
    assert len(seen) == 2
    assert [captions[0].caption for captions in seen] == [captions[0].caption for captions in read]
    np.testing.assert_allclose([captions[0].score for captions in seen], [captions[0].score for captions in read])
