"""Beam search: against a plain one without cache or batch, and against chains of words worked out by hand."""

from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from beamscribe.model.captioner import Captioner, CaptionerConfig
from beamscribe.model.decoder import Cache
from beamscribe.model.decoder_names import BASIC, LSTM, LSTM_ATTENTION, TRANSFORMER
from beamscribe.model.decoding import Decoded, _best, beam_search
from beamscribe.model.tokenizer import END, PAD, START, UNKNOWN

pytestmark = pytest.mark.slow

IMAGES, CELLS, CHANNELS, VOCABULARY = 3, 4, 6, 30
BEAMS, LENGTHS, SEEDS = (1, 2, 3, 5), (1, 4, 9), (0, 1, 2, 3)

LogProbabilities = Callable[[tuple[int, ...]], np.ndarray]
"""Of the next token, after tokens from START on."""


def allowed_tokens(step: int, max_length: int, vocabulary: int) -> list[int]:
    words = [token for token in range(vocabulary) if token not in (PAD, START, UNKNOWN, END)]
    if step == 0:
        return words
    return [END] if step == max_length else [END, *words]


def reference(
    log_probabilities: LogProbabilities, vocabulary: int, beams: int, max_length: int
) -> list[tuple[list[int], float]]:
    """Captions of one image with scores, best first, by the rules in the docstring of `beam_search`."""
    unfinished: list[tuple[tuple[int, ...], float]] = [((START,), 0.0)]
    finished: list[tuple[list[int], float]] = []
    for step in range(max_length + 1):
        if len(finished) >= beams:
            break
        extensions = []
        for tokens, total in unfinished:
            next_token = log_probabilities(tokens)
            extensions += [
                ((*tokens, token), total + next_token[token]) for token in allowed_tokens(step, max_length, vocabulary)
            ]
        best = sorted(extensions, key=lambda extension: -extension[1])[: 2 * beams]
        finished += [(list(tokens[1:]), total / (step + 1)) for tokens, total in best[:beams] if tokens[-1] == END]
        unfinished = [(tokens, total) for tokens, total in best if tokens[-1] != END][:beams]
    return sorted(finished, key=lambda caption: -caption[1])[:beams]


class RandomModel:
    """A captioner whose weights are drawn again for each seed, so that its functions are traced once."""

    def __init__(self, decoder: str, blocks: int = 1) -> None:
        self.captioner = Captioner(
            CaptionerConfig((2, 2, CHANNELS), VOCABULARY, decoder, max(LENGTHS) + 1, 32, 4, 48, decoder_blocks=blocks)
        )
        self.captioner.build()
        self._decode = tf.function(
            lambda tokens, image: tf.nn.log_softmax(self.captioner.decode(tokens, image)[0]),
            input_signature=[tf.TensorSpec((1, None), tf.int32), tf.TensorSpec((1, None, 32))],
        )
        self._searches: dict[tuple[int, int], tf.types.experimental.PolymorphicFunction] = {}
        self.features = np.zeros((IMAGES, CELLS, CHANNELS), np.float32)

    def draw(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        for weight in self.captioner.trainable_variables:
            spread = weight.shape[0] ** -0.5 if len(weight.shape) == 2 else 0.1
            weight.assign(generator.normal(float(weight.path.endswith("gamma")), spread, weight.shape))
        # Peaky, so that captions differ in probability; END is likely enough to come at any time.
        kernel, bias = self._last_layer()
        kernel.assign(kernel * (2 if self.captioner.config.decoder == BASIC else 1))
        bias.assign(tf.one_hot(END, VOCABULARY) * 1.5)
        self.features = generator.normal(size=(IMAGES, CELLS, CHANNELS)).astype(np.float32)

    def _last_layer(self) -> tuple[keras.Variable, keras.Variable]:
        decoder = self.captioner.decoder
        if self.captioner.config.decoder == TRANSFORMER:
            return decoder.embedding.tokens.embeddings, decoder.bias
        layer = decoder.dense if self.captioner.config.decoder == BASIC else decoder.logits
        return layer.kernel, layer.bias

    def search(self, features: np.ndarray, beams: int, max_length: int) -> Decoded:
        """As `beam_search`, in NumPy."""
        if (beams, max_length) not in self._searches:
            self._searches[beams, max_length] = tf.function(
                lambda images: beam_search(self.captioner, images, beams, max_length),
                input_signature=[tf.TensorSpec((None, CELLS, CHANNELS))],
            )
        return Decoded(*(result.numpy() for result in self._searches[beams, max_length](features)))

    def log_probabilities(self, image: int) -> LogProbabilities:
        """Of the full pass over all tokens so far, nothing kept between two steps."""
        encoded = self.captioner.encode(self.features[image : image + 1])
        known: dict[tuple[int, ...], np.ndarray] = {}

        def after(tokens: tuple[int, ...]) -> np.ndarray:
            if tokens not in known:
                known[tokens] = self._decode(tf.constant([tokens]), encoded)[0, -1].numpy()
            return known[tokens]

        return after


@pytest.fixture(scope="module")
def model() -> RandomModel:
    return RandomModel(BASIC)


def captions(decoded: Decoded, image: int) -> list[tuple[list[int], float]]:
    """The captions found for one image, without padding."""
    pairs = zip(np.asarray(decoded.tokens[image]).tolist(), np.asarray(decoded.scores[image]).tolist(), strict=True)
    return [([token for token in tokens if token != PAD], score) for tokens, score in pairs if score > -1e8]


def assert_same(found: list[tuple[list[int], float]], expected: list[tuple[list[int], float]]) -> None:
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-4)


FEW = ((1, 9), (3, 4), (5, 9))
"""Beams and lengths that are tried in the fast tests too; each pair is traced anew, which takes seconds."""


@pytest.mark.parametrize(
    ("beams", "max_length"),
    [
        pytest.param(beams, length, marks=() if (beams, length) in FEW else pytest.mark.nightly)
        for beams in BEAMS
        for length in LENGTHS
    ],
)
def test_search_is_the_plain_search(model: RandomModel, beams: int, max_length: int) -> None:
    for seed in SEEDS:
        model.draw(seed)
        decoded = model.search(model.features, beams, max_length)
        assert decoded.tokens.shape == (IMAGES, beams, max_length + 1)
        assert decoded.tokens.dtype == np.int32
        for image in range(IMAGES):
            expected = reference(model.log_probabilities(image), VOCABULARY, beams, max_length)
            assert_same(captions(decoded, image), expected)


@pytest.mark.parametrize(
    ("decoder", "blocks"), [(LSTM, 1), (LSTM_ATTENTION, 1), (BASIC, 2), (TRANSFORMER, 1), (TRANSFORMER, 2)]
)
def test_every_decoder_searches_as_plainly(decoder: str, blocks: int) -> None:
    model = RandomModel(decoder, blocks)
    model.draw(3)
    decoded = model.search(model.features, 3, 6)
    assert len({tuple(captions(decoded, image)[0][0]) for image in range(IMAGES)}) > 1
    for image in range(IMAGES):
        assert_same(captions(decoded, image), reference(model.log_probabilities(image), VOCABULARY, 3, 6))


def test_the_random_models_are_worth_testing_with(model: RandomModel) -> None:
    lengths, texts = set(), set()
    for seed in SEEDS:
        model.draw(seed)
        for image in range(IMAGES):
            found = [tuple(tokens) for tokens, _ in captions(model.search(model.features, 3, 9), image)]
            lengths |= {len(tokens) for tokens in found}
            texts |= set(found)
    assert lengths >= {2, 3, 10}  # END as soon as it may come, later, and never on its own
    assert len(lengths) >= 6
    assert len(texts) > 2 * len(SEEDS) * IMAGES  # of three captions an image, few are another image's as well


def test_a_beam_of_one_takes_the_likeliest_token(model: RandomModel) -> None:
    for seed in SEEDS:
        model.draw(seed)
        decoded = model.search(model.features, 1, 9)
        for image in range(IMAGES):
            log_probabilities, tokens, total = model.log_probabilities(image), [START], 0.0
            while tokens[-1] != END:
                next_token = log_probabilities(tuple(tokens))
                tokens.append(max(allowed_tokens(len(tokens) - 1, 9, VOCABULARY), key=lambda t: next_token[t]))
                total += next_token[tokens[-1]]
            assert_same(captions(decoded, image), [(tokens[1:], total / (len(tokens) - 1))])


@pytest.mark.parametrize("beams", [1, 3])
def test_neighbours_in_the_batch_do_not_matter(model: RandomModel, beams: int) -> None:
    model.draw(1)
    together = model.search(model.features, beams, 9)
    assert len({len(captions(together, image)[0][0]) for image in range(IMAGES)}) > 1  # they are not done together
    for image in range(IMAGES):
        for batch, place in (
            (model.features[[image]], 0),
            (model.features[[2, image, 0, image, 1]], 3),
            (np.stack([np.zeros_like(model.features[0]), model.features[image]]), 1),
        ):
            assert_same(captions(model.search(batch, beams, 9), place), captions(together, image))


@pytest.mark.parametrize("beams", BEAMS)
def test_rows_are_well_formed(model: RandomModel, beams: int) -> None:
    for seed in SEEDS:
        model.draw(seed)
        decoded = model.search(model.features, beams, 9)
        assert (np.diff(decoded.scores, axis=1) <= 0).all()  # best first
        assert (decoded.scores < 0).all()
        for row in decoded.tokens.reshape(-1, 10).tolist():
            end = row.index(END)
            assert end >= 1
            assert not {PAD, UNKNOWN, START} & set(row[:end])
            assert row[end + 1 :] == [PAD] * (9 - end)
        assert len(np.unique(decoded.tokens[0], axis=0)) == beams  # no caption twice


# --- Chains: the next word depends on the last one alone, so that every probability can be multiplied by hand.

A, B, C, D = 4, 5, 6, 7
Chain = dict[int, dict[int, float]]


class ChainCaptioner:
    """A fake captioner. Image i follows `chains[i]`; what a chain does not name has probability e^-20."""

    def __init__(self, *chains: Chain, vocabulary: int = 7) -> None:
        self.config = SimpleNamespace(vocabulary_size=vocabulary)
        self.steps = tf.Variable(0)
        self._tables = np.full((len(chains), vocabulary, vocabulary), -20.0, np.float32)
        for table, chain in zip(self._tables, chains, strict=True):
            for last, following in chain.items():
                for token, probability in following.items():
                    table[last, token] = np.log(probability)

    def search(self, beams: int, max_length: int) -> Decoded:
        images = tf.zeros((len(self._tables), 1, 1))
        return tf.function(lambda: beam_search(self, images, beams, max_length))()  # type: ignore[arg-type]

    def encode(self, features: tf.Tensor, training: bool) -> tf.Tensor:
        assert not training
        return features

    def start(self, image: tf.Tensor, beams: int) -> Cache:
        # Which image of the tables each one is: finished ones leave the search.
        return Cache(tf.range(len(self._tables)), ())

    def reorder(self, words: tuple, rows: tf.Tensor) -> tuple:
        return words

    def select(self, words: tuple, images: tf.Tensor, rows: tf.Tensor) -> tuple:
        return words

    def step(self, tokens: tf.Tensor, position: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, tuple]:
        self.steps.assign_add(1)
        beside = tf.reshape(tokens, (tf.shape(cache.image)[0], -1))
        tables = tf.gather(self._tables, cache.image)
        return tf.reshape(tf.gather(tables, beside, batch_dims=1), (-1, self.config.vocabulary_size)), ()


GARDEN_PATH: Chain = {
    START: {A: 0.6, B: 0.4},
    A: {C: 0.4, END: 0.32, B: 0.28},
    B: {END: 0.9, A: 0.1},
    C: {END: 0.6, A: 0.4},
}


def mean_log(*probabilities: float) -> float:
    return float(np.mean(np.log(probabilities)))


def test_a_wider_beam_finds_what_greed_walks_past() -> None:
    fake = ChainCaptioner(GARDEN_PATH)
    assert_same(captions(fake.search(1, 5), 0), [([A, C, END], mean_log(0.6, 0.4, 0.6))])
    # Second step: B END .36 | A C .24, A END .192 (third, so it is not finished), A B .168. Third step: A B END
    # .1512 and A C END .144 both finish, so three have finished and the best two stay.
    expected = [([B, END], mean_log(0.4, 0.9)), ([A, B, END], mean_log(0.6, 0.28, 0.9))]
    assert_same(captions(fake.search(2, 5), 0), expected)


def test_the_mean_decides_and_not_the_sum() -> None:
    chain: Chain = {START: {A: 0.5, B: 0.5}, A: {END: 0.5, C: 0.5}, B: {C: 1.0}, C: {END: 1.0}}
    # Sums: B C END .5, A END .25, A C END .25. Means: ∛.5, ∛.25, √.25.
    expected = [
        ([B, C, END], mean_log(0.5, 1, 1)),
        ([A, C, END], mean_log(0.5, 0.5, 1)),
        ([A, END], mean_log(0.5, 0.5)),
    ]
    assert_same(captions(ChainCaptioner(chain).search(3, 4), 0), expected)


def test_a_caption_is_never_empty_nor_holds_a_reserved_token() -> None:
    greedy_for_nothing: Chain = {
        START: {END: 0.9, PAD: 0.05, A: 0.04, UNKNOWN: 0.01},
        A: {PAD: 0.5, START: 0.3, UNKNOWN: 0.15, B: 0.04, END: 0.01},
        B: {UNKNOWN: 0.7, END: 0.3},
    }
    found = captions(ChainCaptioner(greedy_for_nothing).search(1, 5), 0)
    assert_same(found, [([A, B, END], mean_log(0.04, 0.04, 0.3))])


@pytest.mark.parametrize("max_length", [1, 2, 4])
def test_after_max_length_tokens_only_the_end_may_follow(max_length: int) -> None:
    endless: Chain = {START: {A: 1.0}, A: {A: 0.999, END: 0.001}}
    found = captions(ChainCaptioner(endless).search(1, max_length), 0)
    expected = ([A] * max_length + [END], mean_log(1, *[0.999] * (max_length - 1), 0.001))
    assert_same(found, [expected])


def test_the_search_stops_when_every_image_is_done() -> None:
    short: Chain = {START: {A: 1.0}, A: {END: 1.0}}
    long: Chain = {START: {A: 1.0}, A: {B: 1.0}, B: {C: 1.0}, C: {END: 1.0}}
    alone = ChainCaptioner(short)
    alone.search(1, 20)
    assert alone.steps.numpy() == 2
    both = ChainCaptioner(short, long)
    decoded = both.search(1, 20)
    assert both.steps.numpy() == 4
    assert [captions(decoded, image)[0][0] for image in range(2)] == [[A, END], [A, B, C, END]]


def test_a_done_image_takes_no_better_caption_while_others_go_on() -> None:
    # B END .42 and A END .36 end first. B C D END, with the best mean of all, would come two steps later.
    early: Chain = {START: {B: 0.6, A: 0.4}, B: {END: 0.7, C: 0.3}, A: {END: 0.9, B: 0.1}, C: {D: 1.0}, D: {END: 1.0}}
    late: Chain = {
        START: {A: 0.9, B: 0.1},
        A: {B: 0.8, C: 0.2},
        B: {C: 0.7, D: 0.3},
        C: {D: 1.0},
        D: {END: 0.6, A: 0.4},
    }
    expected = [([B, END], mean_log(0.6, 0.7)), ([A, END], mean_log(0.4, 0.9))]
    assert expected[0][1] < mean_log(0.6, 0.3, 1, 1)
    fake = ChainCaptioner(early, late, vocabulary=8)
    assert_same(captions(fake.search(2, 6), 0), expected)
    assert fake.steps.numpy() > 4


@pytest.mark.parametrize(
    "images",
    [
        1,
        2,
    ],
)
def test_the_batch_may_be_known_when_tracing(model: RandomModel, images: int) -> None:
    model.draw(0)
    search = tf.function(lambda features: beam_search(model.captioner, features, 3, 4))
    known = search(model.features[:images])
    expected = model.search(model.features, 3, 4)
    for image in range(images):
        assert_same(captions(known, image), captions(expected, image))


@pytest.mark.parametrize("length", [100, 449, 5000])
def test_the_best_are_those_of_top_k_whatever_the_length(length: int) -> None:
    values = np.random.default_rng(0).normal(size=(20, length)).astype(np.float32)
    values[10:] = np.round(values[10:], 1)  # many that are equal
    values[0, 3:] = -1e9
    expected = tf.math.top_k(values, 6)
    best, places = _best(tf.constant(values), 6)
    np.testing.assert_array_equal(best, expected.values)
    np.testing.assert_array_equal(places[:10], expected.indices[:10])
    np.testing.assert_array_equal(np.take_along_axis(values, places.numpy(), axis=1), best)


def test_places_that_no_caption_fills_are_marked() -> None:
    # One word and six lengths: six captions exist, nine are wanted. The empty places must not count as finished.
    fake = ChainCaptioner({START: {A: 1.0}, A: {A: 0.5, END: 0.5}}, vocabulary=5)
    decoded = fake.search(9, 6)
    expected = [([A] * n + [END], mean_log(1, *[0.5] * n)) for n in range(1, 7)]
    assert_same(captions(decoded, 0), expected)
    np.testing.assert_array_equal(decoded.tokens[0, 6:], np.full((3, 7), PAD))
    assert (decoded.scores[0, 6:].numpy() < -1e8).all()
