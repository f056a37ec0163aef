"""The Piper engine: neural voices that run on this machine, without a network.

The same text, voice and speed give the same samples, whatever was spoken before: the noise that makes the voice lively
is an input of its network here, the same for each part of a text, see `piper_voices`. A network runs on one thread, and
texts of a shard run side by side, so that a process uses the cores that it has.

Piper is GPL-3.0: it is an extra, and nothing else of Beamscribe needs it.
"""

import importlib.metadata
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import piper
from piper.config import PiperConfig

from beamscribe.pipelines.speech.engine import MOST_SECONDS, Asking, SpeechError, SpeechSettings, Waveform, ask_once
from beamscribe.pipelines.speech.espeak_parts import certainly_fits, fitting_parts
from beamscribe.pipelines.speech.parts import plain_text
from beamscribe.pipelines.speech.piper_voices import NOISE, read_voice, with_noise_as_input

NORMAL_WORDS_PER_MINUTE = 175
SLOWEST, FASTEST = 80, 450

NOISE_SEED, NOISE_VALUES = 1, 2**22
"""A part of a text takes 16,500 values a second of speech, and is shorter than two minutes at the slowest speed."""

_PHONEMIZING = threading.Lock()
"""Piper's libespeak-ng is one set of C globals a process."""


class PiperEngine:
    """Speaks with a voice of Piper; may be shared by threads, which then run side by side."""

    name = "piper"
    fingerprint_fields = ("words_per_minute",)
    requests_per_minute = None
    raw = True

    def __init__(self, settings: SpeechSettings, ask: Asking = ask_once):
        """Loads the voice; there is no service to ask.

        Raises:
            SpeechError: `BadSetting` or `UnknownVoice`.
        """
        if not SLOWEST <= settings.words_per_minute <= FASTEST:
            raise SpeechError(
                "BadSetting",
                f"words_per_minute is {settings.words_per_minute}; piper speaks {SLOWEST} to {FASTEST}",
            )
        files = read_voice(settings.voice, settings.lang)
        self.version = f"{importlib.metadata.version('piper-tts')} with onnxruntime {onnxruntime.__version__}"
        self.voice = f"{files.name} {files.digest[:16]}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                with_noise_as_input(files.network), options, providers=["CPUExecutionProvider"]
            )
            self._voice = piper.PiperVoice(session=session, config=PiperConfig.from_dict(files.config))
        except SpeechError:
            raise
        except Exception as error:
            # Of a file that somebody gave; onnxruntime's exceptions have no common type.
            raise SpeechError("UnknownVoice", f"{files.name} is no voice that piper can load: {error}") from error
        self._slowness = NORMAL_WORDS_PER_MINUTE / settings.words_per_minute
        self._noise = np.random.RandomState(NOISE_SEED).standard_normal(NOISE_VALUES).astype(np.float32)  # noqa: NPY002

    def synthesize(self, text: str) -> Waveform:
        """Speaks plain text, all of it; a function of text, voice and speed alone.

        Args:
            text: any text; control characters count as spaces.

        Raises:
            SpeechError: `NothingToSpeak` when no sign of it is pronounced, `SynthesisFailed` when the network refuses
                it, `TextTooLong` for more than `MOST_SECONDS` of sound.
        """
        # Piper takes what stands in two brackets for phonemes.
        spoken = plain_text(text).replace("[[", "[ [")
        with _PHONEMIZING:
            parts = [spoken] if certainly_fits(spoken) else [part.text for part in fitting_parts(spoken, self._count)]
            sentences = [sentence for part in parts for sentence in self._voice.phonemize(part)]
        known = self._voice.config.phoneme_id_map
        if not any(sign.isalpha() and sign in known for sentence in sentences for sign in sentence):
            raise SpeechError(
                "NothingToSpeak",
                f"piper voice {self.voice!r} pronounces nothing in {text[:80]!r}; correct the caption",
            )
        rate, most = self._voice.config.sample_rate, MOST_SECONDS * self._voice.config.sample_rate
        sounds: list[npt.NDArray[np.int16]] = []
        for sentence in filter(None, sentences):
            sounds.append(self._speak(sentence, text))
            if sum(map(len, sounds)) > most:
                raise SpeechError(
                    "TextTooLong",
                    f"{text[:80]!r}… is more than {MOST_SECONDS} s of speech; shorten the caption",
                )
        return Waveform(np.concatenate(sounds), rate)

    def _count(self, word: str) -> int:
        return sum(map(len, self._voice.phonemize(word)))

    def _speak(self, phonemes: list[str], text: str) -> npt.NDArray[np.int16]:
        """The samples of a sentence, as loud as samples can be."""
        config = self._voice.config
        ids = self._voice.phonemes_to_ids(phonemes)
        scales = (config.noise_scale, config.length_scale * self._slowness, config.noise_w_scale)
        inputs: dict[str, Any] = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
            NOISE: self._noise,
        }
        if config.num_speakers > 1:
            inputs["sid"] = np.array([getattr(config, "default_speaker_id", None) or 0], dtype=np.int64)
        try:
            given: Any = self._voice.session.run(None, inputs)[0]
            samples = given.reshape(-1)
        except Exception as error:  # onnxruntime's exceptions have no common type.
            raise SpeechError("SynthesisFailed", f"piper cannot speak {text[:80]!r}: {error}") from error
        loudest = float(np.max(np.abs(samples), initial=0.0))
        if not np.isfinite(loudest):
            raise SpeechError("SynthesisFailed", f"piper makes no finite samples of {text[:80]!r}")
        return np.clip(samples / max(loudest, 1e-8) * 32767, -32767, 32767).astype(np.int16)

    def close(self) -> None:
        """Releases nothing: the voice goes with this object."""
