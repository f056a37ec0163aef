"""Captions of small models with made-up weights: if these change, a version must be raised."""

import numpy as np
import pytest

from beamscribe.model.captioner import LSTM, LSTM_ATTENTION, Captioner, CaptionerConfig
from beamscribe.model.decoding import beam_search
from beamscribe.model.freezing import compiled
from beamscribe.model.tokenizer import RESERVED, Tokenizer
from beamscribe.model.versions import DETOKENIZER_VERSION, SEARCH_VERSION

pytestmark = pytest.mark.slow

WORDS = [*("a", "dog", "man", "'", "s", "t", "-", "shirt", "runs", "on", "the", "beach"), *',.!"()$5/', "two"]
PIECES = ["##s", "##ing", "##er"]
VOCABULARY = [*RESERVED, *WORDS, *PIECES]
GRID = (2, 2, 8)


def made(decoder: str) -> Captioner:
    captioner = Captioner(
        CaptionerConfig(GRID, len(VOCABULARY), decoder, max_length=12, width=16, heads=2, feed_forward=16)
    )
    captioner.build()
    # The old generator, whose numbers NumPy promises never to change.
    random = np.random.RandomState(3)
    for variable in captioner.trainable_variables:
        variable.assign(random.uniform(-0.9, 0.9, variable.shape))
    return captioner


def found(decoder: str, beams: int) -> list[list[int]]:
    captioner = made(decoder)
    features = np.random.RandomState(4).uniform(0, 3, (3, 4, 8)).astype(np.float16)
    tokens = compiled(lambda inputs: beam_search(captioner, inputs, beams, 8).tokens)(features).numpy()
    return [[token for token in row.tolist() if token] for row in tokens[:, 0]]


PINNED = {
    "1": {
        (LSTM, 1): [[17, 3], [14, 4, 4, 4, 4, 4, 3], [14, 14, 4, 4, 4, 4, 4, 4, 3]],
        (LSTM, 3): [[18, 18, 4, 18, 4, 4, 4, 3], [14, 14, 4, 18, 4, 4, 4, 3], [14, 14, 4, 18, 4, 4, 4, 3]],
        (LSTM_ATTENTION, 1): [
            [21, 21, 21, 21, 21, 12, 21, 24, 3],
            [21, 21, 21, 21, 21, 12, 21, 21, 3],
            [21, 21, 21, 21, 12, 21, 12, 21, 3],
        ],
        (LSTM_ATTENTION, 3): [
            [21, 21, 21, 12, 21, 24, 21, 25, 3],
            [21, 21, 21, 12, 21, 12, 21, 12, 3],
            [21, 21, 21, 21, 21, 12, 21, 12, 3],
        ],
    }
}

SENTENCES = {
    "1": {
        "a man ' s t - shirt": "A man's t-shirt.",
        "two dog ##s runs , on the beach .": "Two dogs runs, on the beach.",
        'a " dog " ( man ) $ 5 / 5 !': 'A "dog" (man) $5/5!',
        "dog ##er ##ing a ' s": "Dogering a's.",
        "##s a": "S a.",
        "[UNK] a [END] dog": "A dog.",
        "[END]": "",
    }
}


@pytest.mark.parametrize(("decoder", "beams"), PINNED[SEARCH_VERSION])
def test_the_search_finds_what_it_found(decoder: str, beams: int) -> None:
    assert found(decoder, beams) == PINNED[SEARCH_VERSION][decoder, beams], (
        "the search chooses other tokens: raise SEARCH_VERSION in model/versions.py and pin them under it"
    )


def test_tokens_become_the_text_that_they_were() -> None:
    pinned = SENTENCES[DETOKENIZER_VERSION]
    length = max(len(words.split()) for words in pinned)
    rows = np.zeros((len(pinned), length), np.int32)
    for row, words in zip(rows, pinned, strict=True):
        row[: len(words.split())] = [VOCABULARY.index(word) for word in words.split()]
    assert Tokenizer(VOCABULARY).detokenize(rows) == list(pinned.values()), (
        "the same tokens give other text: raise DETOKENIZER_VERSION in model/versions.py and pin it under it"
    )
