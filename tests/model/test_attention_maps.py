"""Where a captioner looks: maps that are distributions, one a word, of every decoder that has them."""

import numpy as np
import pytest

from beamscribe.model import weights
from beamscribe.model.attention_maps import AttentionMaps, NoAttentionError
from beamscribe.model.bundle import VOCABULARY, WEIGHTS, Bundle, write_bundle
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder_names import BASIC, DECODERS, LSTM, LSTM_ATTENTION, TRANSFORMER
from beamscribe.model.tokenizer import RESERVED

WORDS = [*RESERVED, "a", "dog", "skate", "##boarder", "s", "'", "t", "-", "shirt", "!"]
FEATURES = np.random.default_rng(3).random((2, 8, 8, 2048), np.float32)


@pytest.fixture(scope="module", params=DECODERS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = CaptionerConfig((8, 8, 2048), len(WORDS), request.param, max_length=8, width=16, heads=4, feed_forward=8)
    captioner = Captioner(config)
    captioner.build()
    return write_bundle(
        str(tmp_path_factory.mktemp("bundle")),
        {WEIGHTS: weights.to_npz(captioner), VOCABULARY: "\n".join(WORDS).encode()},
        {
            "captioner": captioner.get_config(),
            "backbone": {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None},
        },
    )


def kind(bundle: Bundle) -> str:
    return bundle.config["captioner"]["config"]["decoder"]


def test_each_word_has_a_map(bundle: Bundle) -> None:
    maps = AttentionMaps(bundle)
    captions = ["A skateboarder.", "A dog's t-shirt."]
    if kind(bundle) == LSTM:
        with pytest.raises(NoAttentionError, match="the decoder lstm does not look at places"):
            maps.of_words(FEATURES, captions)
        return
    first, second = maps.of_words(FEATURES, captions)
    assert [word.word for word in first] == ["A", "skateboarder."]
    assert [word.word for word in second] == ["A", "dog's", "t-shirt."]
    for word in (*first, *second):
        assert word.weights.shape == (8, 8)
        assert word.weights.sum() == pytest.approx(1, abs=1e-4)
    # One caption's maps do not depend on the captions beside it.
    alone = maps.of_words(FEATURES[1:], captions[1:])[0]
    np.testing.assert_allclose(second[2].weights, alone[2].weights, atol=1e-5)


def test_words_beyond_what_the_captioner_writes_are_left_out(bundle: Bundle) -> None:
    if kind(bundle) != LSTM:
        words = AttentionMaps(bundle).of_words(FEATURES[:1], ["dog dog dog dog dog dog dog dog dog"])[0]
        assert len(words) == 6


def test_self_attentions(bundle: Bundle) -> None:
    maps = AttentionMaps(bundle)
    found = maps.within(FEATURES[0], "A dog.")
    assert found.tokens == ("[START]", "a", "dog")
    if kind(bundle) in (BASIC, TRANSFORMER):
        assert found.encoder is not None
        assert found.decoder is not None
        assert found.encoder.shape == (64, 64)
        np.testing.assert_allclose(found.encoder.sum(axis=1), 1, atol=1e-4)
        # A token sees itself and those before it.
        assert np.triu(found.decoder, 1).max() == 0
        np.testing.assert_allclose(found.decoder.sum(axis=1), 1, atol=1e-4)
    else:
        assert kind(bundle) in (LSTM, LSTM_ATTENTION)
        assert (found.encoder, found.decoder) == (None, None)
