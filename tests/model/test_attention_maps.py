"""Where a captioner looks: maps that are distributions, one a word, of every decoder that has them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.attention_maps import AttentionMaps, NoAttentionError
from beamscribe.model.bundle import VOCABULARY, WEIGHTS, Bundle, write_bundle
from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder_names import BASIC, DECODERS, LSTM, LSTM_ATTENTION, TRANSFORMER
from beamscribe.model.tokenizer import RESERVED, Tokenizer
from beamscribe.model.word_choices import END_OF_CAPTION, missed, word_choices

pytestmark = pytest.mark.slow

WORDS = [*RESERVED, "a", "dog", "skate", "##boarder", "s", "'", "t", "-", "shirt", "!"]
FEATURES = np.random.default_rng(3).random((2, 8, 8, 2048), np.float32)


@pytest.fixture(scope="module", params=DECODERS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = CaptionerConfig((8, 8, 2048), len(WORDS), request.param, max_length=8, width=16, heads=4, feed_forward=8)
    keras.utils.set_random_seed(5)
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


def test_every_decoder_tells_what_else_it_could_have_written(bundle: Bundle) -> None:
    maps = AttentionMaps(bundle)
    choices = maps.choices(FEATURES[0], "A dog's skateboarder.")
    assert [choice.word for choice in choices] == ["A", "dog's", "skateboarder."]
    for choice in choices:
        assert 0 < choice.probability < 1
        told = [one.word for one in choice.alternatives]
        assert len(told) == len(set(told)) == 3
        # What begins a word, or the end: neither what stands there, nor reserved tokens, nor the middle of a word.
        begins = ("a", "dog", "skate", "s", "'", "t", "-", "shirt", "!", END_OF_CAPTION)
        assert all(word.startswith(begins) for word in told)
        chances = [one.probability for one in choice.alternatives]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) < 1
    assert "a" not in [one.word for one in choices[0].alternatives]
    # Words before are the same whatever comes after; of a long word there are several probabilities.
    again = maps.choices(FEATURES[0], "A dog's")
    assert [one.probability for one in again] == pytest.approx([one.probability for one in choices[:2]], rel=1e-4)


def test_an_alternative_of_several_pieces_is_whole() -> None:
    """A captioner that says skate, then boarder, whatever it has read."""

    class Fixed:
        def decode(self, tokens: np.ndarray, image: tf.Tensor) -> tuple[tf.Tensor, None]:
            logits = np.zeros((*tokens.shape, len(WORDS)), np.float32)
            logits[..., WORDS.index("skate")] = 3
            logits[tokens == WORDS.index("skate"), WORDS.index("##boarder")] = 9
            return tf.constant(logits), None

    pieces = Tokenizer(WORDS).pieces("a dog")
    first, second = word_choices(Fixed(), Tokenizer(WORDS), tf.zeros((1, 4, 2)), pieces, most=1)  # type: ignore[arg-type]
    assert [one.word for one in (*first.alternatives, *second.alternatives)] == ["skateboarder", "skateboarder"]


def test_every_decoder_misses_what_is_hidden(bundle: Bundle) -> None:
    found = AttentionMaps(bundle).missed(FEATURES[0], "A dog.")
    assert [word.word for word in found] == ["A", "dog."]
    for word in found:
        assert word.weights.shape == (8, 8)
        assert word.weights.min() >= 0
        assert word.weights.sum() == pytest.approx(1, abs=1e-4)


def test_what_a_word_rests_on_is_where_it_is_missed() -> None:
    """A captioner whose second token is as probable as the first channel of the left upper cell is large."""

    class Fixed:
        def encode(self, features: np.ndarray) -> tf.Tensor:
            return tf.constant(features)

        def decode(self, tokens: np.ndarray, image: tf.Tensor) -> tuple[tf.Tensor, None]:
            logits = np.zeros((*tokens.shape, len(WORDS)), np.float32)
            logits[:, 1, WORDS.index("dog")] = image.numpy()[:, 0, 0]
            return tf.constant(logits), None

    features = np.zeros((5, 5, 2), np.float32)
    features[0, 0, 0] = 5
    (_, first), (_, second) = missed(Fixed(), features, Tokenizer(WORDS).pieces("a dog"))  # type: ignore[arg-type]
    np.testing.assert_allclose(first, 1 / 25)
    np.testing.assert_allclose(second[:2, :2], 1 / 4, atol=1e-6)
    assert second.sum() == pytest.approx(1)
