"""Samples to files and back, and a check that a file holds speech of its text."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import lameenc
import numpy as np
import numpy.typing as npt
import soundfile

from beamscribe.pipelines.speech import FORMATS
from beamscribe.pipelines.speech.engine import Encoded, SpeechError, Waveform
from beamscribe.pipelines.speech.loudness import loudness_lufs

MP3_KBIT_PER_SECOND = 64
"""Constant bit rate: plenty for 22 kHz mono speech, a second is 8 KB, and any player seeks in it exactly."""

LAME_QUALITY = 7
"""LAME's quality, 2 (best) to 7 (fastest): a 2.3 s caption takes 4.9 ms at 7, 8.9 at 5, 16.5 at 2, and espeak itself
3."""

OGG_FRAMES_PER_WRITE = 65536
"""libsndfile encodes one write on its stack; a very long one overflows it (python-soundfile issue 130)."""

BLOCK_SAMPLES = 2**18
"""Decoded at a time."""

MAX_SAMPLES = 2**27
"""Samples of a file at most: an hour and a half at 24 kHz, half a gigabyte in memory."""

SILENCE_PEAK = 0.01
"""Peak, as a part of full scale (-40 dB), below which a file counts as silent. Both engines speak at 0.3 to 1."""

SECONDS_A_LETTER_MINIMUM = 0.01
SECONDS_A_DIGIT_MINIMUM = 0.03
SECONDS_A_SYLLABLE_MINIMUM = 0.03
SECONDS_A_KANA_MINIMUM = 0.02
"""espeak at 450 words a minute needs 1.8 to 3 times this for each letter, digit (in numbers: "one million" has seven),
Chinese or Korean syllable and kana; a file cut short has less."""

SECONDS_FREE = 5.0
SECONDS_PER_CHARACTER_MAXIMUM = 1.5
SECONDS_PER_FOREIGN_CHARACTER_MAXIMUM = 12.0
"""At 80 words a minute a digit takes 1 s, an emoji's name up to 8 s. Beyond `SECONDS_FREE` and the sum over the
characters it is the audio of another text."""


class AudioFacts(NamedTuple):
    """What a player would say about a file.

    Attributes:
        duration_seconds: frames over sample rate, with the encoder's padding (MP3: up to 0.1 s).
        sample_rate: in Hz.
        channels: 1 for mono.
        bytes: size of the file.
        loudness_lufs: see `beamscribe.pipelines.speech.loudness`; None for sound of less than 0.4 s.
    """

    duration_seconds: float
    sample_rate: int
    channels: int
    bytes: int
    loudness_lufs: float | None


def encode(waveform: Waveform, format: str) -> bytes:
    """Encodes samples as a file, sample rate kept.

    Args:
        waveform: the sound, at least one frame.
        format: a name in `FORMATS`: MP3 at 64 kbit/s, Ogg Vorbis at libsndfile's default quality, FLAC and WAV at
            16 bits.

    Returns:
        The file. The same samples give the same bytes, save Ogg, whose stream has a random serial number (`tags` sets
        it).

    Raises:
        ValueError: when the format is unknown or the samples are not int16 of shape `(frames,)`.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown audio format {format!r}; choose one of {', '.join(FORMATS)}")
    samples = waveform.samples
    if samples.dtype != np.int16 or samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples must be int16 of shape (frames,), not {samples.dtype} of shape {samples.shape}")
    if format == "mp3":
        return _encode_mp3(waveform)
    file = io.BytesIO()
    subtype = "VORBIS" if format == "ogg" else "PCM_16"
    with soundfile.SoundFile(
        file, "w", waveform.sample_rate, channels=1, format=format.upper(), subtype=subtype
    ) as writer:
        for start in range(0, len(samples), OGG_FRAMES_PER_WRITE):
            writer.write(samples[start : start + OGG_FRAMES_PER_WRITE])
    return file.getvalue()


def decode(data: bytes) -> Waveform:
    """Decodes an MP3, Ogg, FLAC or WAV file; several channels are averaged to one.

    Raises:
        SpeechError: `BadAudio` when the bytes are none of these or hold no sound.
    """
    sound, sample_rate = _read(data)
    scaled = np.rint(sound.mean(axis=1) * 32768)
    # A lossy decoder overshoots full scale; without the clip the loudest peak would wrap to the opposite sign.
    return Waveform(np.clip(scaled, -32768, 32767).astype(np.int16), sample_rate)


def transcode(result: Waveform | Encoded, format: str) -> bytes:
    """Makes a file of the wanted format from whatever an engine returned; what already has it passes through untouched.

    Raises:
        SpeechError: `BadAudio` when the engine's file does not decode.
        ValueError: when the format is unknown.
    """
    if isinstance(result, Waveform):
        return encode(result, format)
    if result.format == format:
        return result.data
    return encode(decode(result.data), format)


def check_audio(data: bytes, text: str) -> AudioFacts:
    """Decodes a file and refuses what cannot be speech of the text.

    Args:
        data: the file.
        text: what it should say.

    Returns:
        The file's facts.

    Raises:
        SpeechError: `BadAudio` when it does not decode, is silent, or is too short or too long for the text.
    """
    sound, sample_rate = _read(data)
    peak = float(np.abs(sound).max())
    if peak < SILENCE_PEAK:
        raise SpeechError(
            "BadAudio", f"the audio of {text[:80]!r} is silent (peak {peak:.4f} of full scale); speak it again"
        )
    seconds = len(sound) / sample_rate
    shortest, longest = duration_bounds_seconds(text)
    if not shortest <= seconds <= longest:
        raise SpeechError(
            "BadAudio",
            f"the audio of {text[:80]!r} lasts {seconds:.2f} s, plausible are {shortest:.2f} to {longest:.0f} s; "
            "speak it again",
        )
    return AudioFacts(seconds, sample_rate, sound.shape[1], len(data), loudness_lufs(sound, sample_rate))


def duration_bounds_seconds(text: str) -> tuple[float, float]:
    """Shortest and longest plausible speech of a text, in seconds; outside them lies only a broken file."""
    shortest = sum(_least_seconds(character) for character in text if character.isalnum())
    ascii_characters = sum(character.isascii() and not character.isspace() for character in text)
    foreign = sum(not character.isascii() for character in text)
    longest = SECONDS_PER_CHARACTER_MAXIMUM * ascii_characters + SECONDS_PER_FOREIGN_CHARACTER_MAXIMUM * foreign
    return shortest, SECONDS_FREE + longest


def _least_seconds(character: str) -> float:
    if character.isdigit():
        return SECONDS_A_DIGIT_MINIMUM
    if "\u3040" <= character <= "\u30ff":
        return SECONDS_A_KANA_MINIMUM
    if "\u3400" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" or character >= "\U00020000":
        return SECONDS_A_SYLLABLE_MINIMUM
    return SECONDS_A_LETTER_MINIMUM


def checked_part(sound: Waveform, text: str) -> Waveform:
    """The sound of a part of a text, unless it is too short for that part: a gap that the whole would hide.

    Raises:
        SpeechError: `BadAudio`.
    """
    seconds, shortest = len(sound.samples) / sound.sample_rate, duration_bounds_seconds(text)[0]
    if seconds < shortest:
        raise SpeechError(
            "BadAudio",
            f"the audio of {text[:80]!r} lasts {seconds:.2f} s, plausible are {shortest:.2f}; speak it again",
        )
    return sound


def joined(sounds: Sequence[Waveform]) -> Waveform:
    """One sound after the other.

    Raises:
        SpeechError: `BadAudio` if their sample rates differ.
    """
    if len({sound.sample_rate for sound in sounds}) != 1:
        raise SpeechError("BadAudio", "the parts of a text came at different sample rates; speak it again")
    return Waveform(np.concatenate([sound.samples for sound in sounds]), sounds[0].sample_rate)


def _encode_mp3(waveform: Waveform) -> bytes:
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(MP3_KBIT_PER_SECOND)
    encoder.set_in_sample_rate(waveform.sample_rate)
    encoder.set_channels(1)
    encoder.set_quality(LAME_QUALITY)
    return bytes(encoder.encode(waveform.samples.tobytes()) + encoder.flush())


def _read(data: bytes) -> tuple[npt.NDArray[np.float32], int]:
    """Decodes to `(frames, channels)` in full scale 1, and the sample rate in Hz."""
    blocks: list[npt.NDArray[np.float32]] = []
    samples = 0
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            sample_rate, channels = file.samplerate, file.channels
            # A header may claim any number of frames, so no more is asked for than can be given.
            while len(block := file.read(max(1, BLOCK_SAMPLES // channels), dtype="float32", always_2d=True)):
                blocks.append(block)  # pyright: ignore[reportArgumentType]
                samples += block.size
                if samples > MAX_SAMPLES:
                    raise SpeechError("BadAudio", f"{len(data)} bytes decode to more than {MAX_SAMPLES} samples")
    except soundfile.LibsndfileError as error:
        raise SpeechError(
            "BadAudio", f"{len(data)} bytes do not decode as audio: {error.error_string} Speak the text again"
        ) from error
    except (RuntimeError, ValueError, TypeError, MemoryError, OverflowError) as error:  # soundfile's own checks
        raise SpeechError("BadAudio", f"{len(data)} bytes do not decode as audio: {error}; speak it again") from error
    if not blocks:
        raise SpeechError("BadAudio", f"{len(data)} bytes decode to no sound at all; speak the text again")
    return np.concatenate(blocks), sample_rate
