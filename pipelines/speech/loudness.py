"""How loud speech is, and making it as loud as wanted (ITU-R BS.1770-4, in LUFS)."""

import functools
import math

import numpy as np
import numpy.typing as npt
import pyloudnorm
import scipy.ndimage

from beamscribe.pipelines.speech.engine import Waveform

BLOCK_SECONDS = 0.4
"""What BS.1770 measures in; shorter sound has no loudness."""

HIGHEST_PEAK = 10 ** (-1 / 20)
"""Part of full scale (-1 dB) that no sample is raised above: lossy encoders overshoot."""

LIMITER_SECONDS = 0.005
"""Before and after a peak in which it is turned down."""

TOLERANCE_LU = 0.1
PASSES = 8


@functools.cache
def _meter(sample_rate: int) -> pyloudnorm.Meter:
    return pyloudnorm.Meter(sample_rate, block_size=BLOCK_SECONDS)


def loudness_lufs(sound: npt.NDArray[np.floating], sample_rate: int) -> float | None:
    """Integrated loudness.

    Args:
        sound: `(frames,)` or `(frames, channels)`, full scale is 1.
        sample_rate: in Hz.

    Returns:
        In LUFS; None for sound of less than 0.4 s, or so quiet that the gate leaves nothing.
    """
    if len(sound) < BLOCK_SECONDS * sample_rate:
        return None
    # A meter has no state of its own but the last result; making one takes as long as a caption's filter.
    loudness = float(_meter(sample_rate).integrated_loudness(sound))
    return loudness if math.isfinite(loudness) else None


def level(waveform: Waveform, target_lufs: float) -> Waveform:
    """The sound at a loudness; sound without a loudness stays as it is.

    Speech has peaks 14 to 20 dB above its loudness, so at -16 LUFS some would leave the scale: they are turned down for
    some milliseconds each, and the rest up, until the whole is as loud as wanted.
    """
    sound: npt.NDArray[np.floating] = waveform.samples / 32768
    loudness = loudness_lufs(sound, waveform.sample_rate)
    louder = sound
    gain = 1.0
    for _ in range(PASSES):
        if loudness is None or abs(target_lufs - loudness) <= TOLERANCE_LU:
            break
        gain *= 10 ** ((target_lufs - loudness) / 20)
        louder = limit(sound * gain, waveform.sample_rate)
        loudness = loudness_lufs(louder, waveform.sample_rate)
    return waveform if louder is sound else Waveform(np.rint(louder * 32768).astype(np.int16), waveform.sample_rate)


def limit(sound: npt.NDArray[np.floating], sample_rate: int) -> npt.NDArray[np.floating]:
    """Lowers peaks to `HIGHEST_PEAK`, smoothly; what lies apart from them is untouched.

    Args:
        sound: `(frames,)`, full scale is 1.
        sample_rate: in Hz.
    """
    wanted = np.minimum(1.0, HIGHEST_PEAK / np.maximum(np.abs(sound), HIGHEST_PEAK))
    window = 2 * int(LIMITER_SECONDS * sample_rate) + 1
    # The mean of minima that all saw this frame is never above what it needs.
    return sound * scipy.ndimage.uniform_filter1d(scipy.ndimage.minimum_filter1d(wanted, window), window)
