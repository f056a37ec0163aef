"""Captioners that write together: against each of them alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model import weights
from beamscribe.model.bundle import VOCABULARY, WEIGHTS, write_bundle
from beamscribe.model.captioner import CaptionerConfig
from beamscribe.model.captioning import load_captioner
from beamscribe.model.decoder_names import DECODERS, LSTM
from beamscribe.model.decoding import beam_search
from beamscribe.model.ensemble import Ensemble, from_config
from beamscribe.model.tokenizer import PAD, RESERVED, START

pytestmark = pytest.mark.slow

WORDS = 26
CONFIG = CaptionerConfig(
    (2, 3, 7), len(RESERVED) + WORDS, max_length=10, width=16, heads=4, feed_forward=24, decoder_blocks=2
)
FEATURES = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
TOKENS = np.array([[START, 5, 6, 7, 8, START, 9, PAD], [START, 11, 12, START, 14, 15, 16, 17]], np.int32)


@pytest.fixture(
    scope="module",
    # All are traced anew for each test, which takes seconds; ours is enough in the fast tests.
    params=[pytest.param(name, marks=() if name == DECODERS[-1] else pytest.mark.slow) for name in DECODERS],
)
def ensemble(request: pytest.FixtureRequest) -> Ensemble:
    made = Ensemble(CONFIG._replace(decoder=request.param), 3)
    made.build()
    generator = np.random.default_rng(1)
    for weight in made.trainable_variables:
        weight.assign(generator.normal(float(weight.path.endswith("gamma")), 0.4, weight.shape).astype(np.float16))
    return made


def test_each_token_has_the_mean_of_the_log_probabilities(ensemble: Ensemble) -> None:
    alone = [tf.nn.log_softmax(member((FEATURES, TOKENS))).numpy() for member in ensemble.members]
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    np.testing.assert_allclose(ensemble((FEATURES, TOKENS)), np.mean(alone, axis=0), atol=1e-5)


def test_step_by_step_is_all_at_once(ensemble: Ensemble) -> None:
    tokens = np.random.default_rng(2).integers(4, 30, (6, 8)).astype(np.int32)
    tokens[:, 0] = START
    full = tf.nn.log_softmax(ensemble((np.repeat(FEATURES, 3, axis=0), tokens)))
    cache = ensemble.start(ensemble.encode(FEATURES), beams=3)
    for position in range(8):
        logits, words = ensemble.step(tf.constant(tokens[:, position]), tf.constant(position), cache)
        cache = cache._replace(words=words)
        np.testing.assert_allclose(tf.nn.log_softmax(logits), full[:, position], atol=1e-4)


def test_equal_members_write_what_one_writes(ensemble: Ensemble) -> None:
    equal = from_config(json.loads(json.dumps(ensemble.get_config())))
    equal.build()
    for member in equal.members:
        member.set_weights(ensemble.members[1].get_weights())
    together, alone = (beam_search(model, FEATURES, 3, 8) for model in (equal, ensemble.members[1]))
    np.testing.assert_array_equal(together.tokens, alone.tokens)
    np.testing.assert_allclose(together.scores, alone.scores, atol=1e-4)


def test_the_search_follows_all_members(ensemble: Ensemble) -> None:
    """A caption's score is the mean of what the members give it, also after beams have changed places."""
    found = beam_search(ensemble, FEATURES, 3, 8)
    for image, (captions, scores) in enumerate(zip(found.tokens.numpy(), found.scores.numpy(), strict=True)):
        for caption, score in zip(captions, scores, strict=True):
            length = np.count_nonzero(caption)
            tokens = np.concatenate([[START], caption[: length - 1]])[None]
            logs = tf.nn.log_softmax(ensemble((FEATURES[image : image + 1], tokens)))[0].numpy()
            expected = logs[np.arange(length), caption[:length]].mean()
            assert score == pytest.approx(expected, abs=1e-4)


def test_all_heads_of_all_members_are_shown(ensemble: Ensemble) -> None:
    image = ensemble.encode(FEATURES)
    seen = ensemble.decode(tf.constant(TOKENS), image)[1]
    if ensemble.config.decoder == LSTM:
        assert seen is None
        return
    heads = [member.decode(TOKENS, member.encode(FEATURES))[1] for member in ensemble.members]
    np.testing.assert_allclose(seen, np.concatenate(heads, axis=1), atol=1e-6)


def test_a_bundle_gives_it_back(ensemble: Ensemble, tmp_path: Path) -> None:
    tokens = "".join(f"{token}\n" for token in [*RESERVED, *"abcdefghijklmnopqrstuvwxyz"])
    config = {
        "backbone": {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None},
        "captioner": ensemble.get_config(),
    }
    files = {WEIGHTS: weights.to_npz(ensemble), VOCABULARY: tokens.encode()}
    loaded = load_captioner(write_bundle(str(tmp_path), files, config))
    assert isinstance(loaded, Ensemble)
    np.testing.assert_allclose(loaded((FEATURES, TOKENS)), ensemble((FEATURES, TOKENS)), atol=1e-5)
