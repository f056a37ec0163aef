import numpy as np
import pytest

from beamscribe.model.tokenizer import PAD
from beamscribe.training.losses import MaskedCrossEntropy, TokenAccuracy, TokenLoss, frequency_loss

pytestmark = pytest.mark.slow

# One image, one caption of two tokens and one place of padding; a vocabulary of five.
WANTED = np.array([[4, 3, PAD]])
LOGITS = np.log(np.array([[[0.1, 0.1, 0.1, 0.2, 0.5], [0.1, 0.1, 0.1, 0.25, 0.45], [0.9, 0.025, 0.025, 0.025, 0.025]]]))


def test_loss_is_the_mean_over_tokens_that_are_not_padding() -> None:
    loss = MaskedCrossEntropy()(WANTED, LOGITS.astype(np.float32))
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.25)) / 2, abs=1e-6)


def test_label_smoothing_mixes_in_the_mean_over_all_tokens() -> None:
    loss = MaskedCrossEntropy(0.1)(WANTED, LOGITS.astype(np.float32))
    sharp = -np.array([np.log(0.5), np.log(0.25)])
    even = -LOGITS[0, :2].mean(axis=-1)
    assert float(loss) == pytest.approx((0.9 * sharp + 0.1 * even).mean(), abs=1e-6)


def test_a_batch_of_padding_costs_nothing() -> None:
    assert float(MaskedCrossEntropy()(np.full_like(WANTED, PAD), LOGITS.astype(np.float32))) == 0.0


def test_metrics_weigh_tokens_not_batches() -> None:
    loss, accuracy = TokenLoss(), TokenAccuracy()
    for wanted in (WANTED, np.array([[4, PAD, PAD]])):
        loss.update_state(wanted, LOGITS.astype(np.float32))
        accuracy.update_state(wanted, LOGITS.astype(np.float32))
    assert float(loss.result()) == pytest.approx(-(2 * np.log(0.5) + np.log(0.25)) / 3, abs=1e-6)
    assert float(accuracy.result()) == pytest.approx(2 / 3)


def test_frequency_loss_by_hand() -> None:
    # Tokens wanted in training: 4, 4, 3; with one added to each of five tokens: counts 1, 1, 1, 2, 3 of 8.
    training = np.array([[2, 4, 4, 3]])
    validation = np.array([[2, 4, 3, PAD]])
    assert frequency_loss(training, validation, 5) == pytest.approx(-(np.log(3 / 8) + np.log(2 / 8)) / 2)
