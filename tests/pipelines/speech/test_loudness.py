import numpy as np
import pytest

from beamscribe.pipelines.speech import open_engine
from beamscribe.pipelines.speech.engine import SpeechSettings, Waveform
from beamscribe.pipelines.speech.loudness import HIGHEST_PEAK, level, limit, loudness_lufs

RATE = 22050


def sine(seconds: float, amplitude: float, hertz: float = 997.0, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate) * amplitude


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 48000])
def test_a_sine_is_as_loud_as_the_standard_says(rate):
    # EBU Tech 3341 and BS.1770: a full-scale sine of 997 Hz in one channel is -3.01 LUFS.
    assert loudness_lufs(sine(3, 1.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.1)
    assert loudness_lufs(sine(3, 0.1, rate=rate), rate) == pytest.approx(-23.01, abs=0.1)


def test_two_channels_count_twice():
    mono = sine(2, 0.1)
    assert loudness_lufs(np.column_stack([mono, mono]), RATE) == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize("sound", [sine(0.39, 0.5), np.zeros(0), np.zeros(RATE), sine(2, 1e-5)])
def test_what_has_no_loudness(sound):
    assert loudness_lufs(sound, RATE) is None


@pytest.mark.parametrize("target", [-40.0, -23.0, -16.0, -14.0])
@pytest.mark.parametrize("text", ["A cat.", "Two dogs are playing with a frisbee in the snow."])
def test_speech_becomes_as_loud_as_wanted_and_leaves_no_scale(target, text):
    spoken = open_engine(SpeechSettings()).synthesize(text)
    louder = level(spoken, target)
    sound = louder.samples / 32768
    assert loudness_lufs(sound, RATE) == pytest.approx(target, abs=0.15)
    assert np.abs(sound).max() <= HIGHEST_PEAK + 1e-4
    assert len(louder.samples) == len(spoken.samples)


def test_sound_without_a_loudness_stays():
    short = Waveform((sine(0.2, 0.5) * 32767).astype(np.int16), RATE)
    assert level(short, -16.0) is short


def test_the_limiter_touches_the_peaks_and_nothing_else():
    sound = sine(1, 0.5)
    sound[RATE // 2] = 1.9
    limited = limit(sound, RATE)
    assert np.abs(limited).max() <= HIGHEST_PEAK + 1e-9
    assert limited[RATE // 2] == pytest.approx(HIGHEST_PEAK)
    far = np.abs(np.arange(len(sound)) - RATE // 2) > 0.011 * RATE
    assert np.array_equal(limited[far], sound[far])
