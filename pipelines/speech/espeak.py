"""The espeak-ng engine: offline speech through the library that the espeakng-loader wheel carries.

libespeak-ng 1.52 carries state from one utterance to the next that no function of its API resets (index into the pitch
flutter table, automatic gain, cycle count): one sentence spoken twice differs in its samples and by up to 230 of 47 000
frames in its length. The only clean state is a freshly mapped library, so every utterance gets one: dlopen, speak,
dlclose. A 2.3 s caption takes 3 ms of one core, 0.5 of them for the loading, and memory does not grow. Same text, voice
and speed give the same samples, whatever was spoken before, in any process. It needs a `dlclose` that unmaps: glibc's
or macOS's.

Source: espeak-ng `src/include/espeak-ng/speak_lib.h` (API revision 12), `src/libespeak-ng/{speech,voices,wavegen}.c`.
"""

import ctypes
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import espeakng_loader
import numpy as np
import numpy.typing as npt

from beamscribe.pipelines.speech.engine import MOST_SECONDS, Asking, SpeechError, SpeechSettings, Waveform, ask_once
from beamscribe.pipelines.speech.espeak_parts import Part, certainly_fits, fitting_parts
from beamscribe.pipelines.speech.parts import plain_text

# Names and values of speak_lib.h and espeak_ng.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
ESPEAK_INITIALIZE_DONT_EXIT = 0x8000
ESPEAK_RATE = 1
ESPEAK_RATE_MINIMUM, ESPEAK_RATE_MAXIMUM = 80, 450
POS_CHARACTER = 1
# Never with ESPEAK_SSML (0x10) or ESPEAK_PHONEMES (0x100): <b> and [[x]] are read out as they stand.
ESPEAK_CHARS_UTF8 = 1
ESPEAK_PHONEMES_APART = ord("_") << 8
"""For espeak_TextToPhonemes: their names, with this character between them."""
EE_OK = 0

BREATH_NOISE_SEED = 1
"""espeak seeds the noise of breathy voices (en+whisper, en+f2) from the clock; any constant does."""

SAMPLE_RATE = 22_050
MOST_FRAMES = MOST_SECONDS * SAMPLE_RATE

LEAST_FRAMES_A_PHONEME = 4.5 * SAMPLE_RATE
"""At one word a minute: half of what names of emoji take, whose phonemes are the shortest. Of words in 24 languages
a phoneme takes 10 to 21 seconds at that speed, 0.022 to 0.047 s at 450 words a minute."""

_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

# The library is one set of C globals a process. A thread that speaks holds this from dlopen to dlclose.
_LIBRARY_LOCK = threading.Lock()


class _Voice(ctypes.Structure):
    """Head of espeak_VOICE, as far as it is read here."""

    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)]


class _Library(NamedTuple):
    functions: ctypes.CDLL
    sample_rate: int


class EspeakEngine:
    """Speaks with libespeak-ng. Holds nothing between two calls; threads may share it, one at a time."""

    name = "espeak"
    fingerprint_fields = ("lang", "voice", "words_per_minute")
    requests_per_minute = None
    raw = True

    def __init__(self, settings: SpeechSettings, ask: Asking = ask_once):
        """Checks voice and speed; there is no service to ask.

        Raises:
            SpeechError: `BadSetting`, `UnknownVoice`, `EngineMissing` or `EngineBusy`.
        """
        if not ESPEAK_RATE_MINIMUM <= settings.words_per_minute <= ESPEAK_RATE_MAXIMUM:
            raise SpeechError(
                "BadSetting",
                f"words_per_minute is {settings.words_per_minute}; "
                f"espeak speaks {ESPEAK_RATE_MINIMUM} to {ESPEAK_RATE_MAXIMUM}",
            )
        self.voice = settings.voice or settings.lang
        self.words_per_minute = settings.words_per_minute
        with _fresh_library() as library:
            self.version: str = library.functions.espeak_Info(None).decode()
            self._voice_file = _find_voice(library.functions, self.voice)

    def synthesize(self, text: str) -> Waveform:
        """Speaks plain text, all of it; a function of text, voice and speed alone.

        What is more than libespeak-ng takes at a time is spoken in parts, one after the other.

        Args:
            text: any text; control characters count as spaces.

        Returns:
            The samples, at espeak's 22 050 Hz.

        Raises:
            SpeechError: `NothingToSpeak` when espeak finds no word, sign or letter it pronounces, `SynthesisFailed`
                when it reports an error or leaves something out, `TextTooLong` for more than `MOST_SECONDS` of sound,
                `EngineBusy` when other code loaded the same library.
        """
        spoken = plain_text(text)
        parts = [Part(spoken, 0)] if certainly_fits(spoken) else self._parts(spoken)
        sounds: list[npt.NDArray[np.int16]] = []
        for part in parts:
            sounds.append(self._speak(part, MOST_FRAMES - sum(map(len, sounds))))
        samples = np.concatenate(sounds)
        if not samples.any():  # for "..." espeak returns 7 ms of zeros
            raise SpeechError(
                "NothingToSpeak",
                f"espeak voice {self.voice!r} pronounces nothing in {text[:80]!r}; correct the caption",
            )
        return Waveform(samples, SAMPLE_RATE)

    def _parts(self, text: str) -> list[Part]:
        """The text in parts that espeak speaks whole, by what it says itself of the phonemes of each word."""
        with _fresh_library(lists_voices=self._voice_file != self._voice_file.lower()) as library:
            functions = library.functions
            functions.espeak_SetVoiceByName(self._voice_file.encode())
            return fitting_parts(text, lambda word: _phonemes(functions, word))

    def _speak(self, part: Part, most_frames: int) -> npt.NDArray[np.int16]:
        """The samples of one utterance."""
        spoken = part.text
        blocks: list[bytes] = []
        frames_left = most_frames

        def collect(samples: int | None, frames: int, events: int | None) -> int:
            nonlocal frames_left
            if samples and frames:
                frames_left -= frames
                blocks.append(ctypes.string_at(samples, frames * 2))
            return int(frames_left < 0)  # 0 goes on, 1 ends it

        callback = _SYNTH_CALLBACK(collect)
        with _fresh_library(lists_voices=self._voice_file != self._voice_file.lower()) as library:
            functions = library.functions
            functions.espeak_SetSynthCallback(callback)
            functions.espeak_ng_SetRandSeed(BREATH_NOISE_SEED)
            status = functions.espeak_SetVoiceByName(self._voice_file.encode())
            if status == EE_OK:  # after the voice, which brings a speed of its own
                status = functions.espeak_SetParameter(ESPEAK_RATE, self.words_per_minute, 0)
            if status == EE_OK:
                data = spoken.encode()
                status = functions.espeak_Synth(data, len(data) + 1, 0, POS_CHARACTER, 0, ESPEAK_CHARS_UTF8, None, None)
        if frames_left < 0:
            raise SpeechError(
                "TextTooLong",
                f"{spoken[:80]!r}… and what follows is more than {MOST_SECONDS} s of speech; shorten the caption",
            )
        if status != EE_OK:
            raise SpeechError(
                "SynthesisFailed", f"espeak {self.version} returned status {status} for {spoken[:80]!r}; retry the text"
            )
        samples = np.frombuffer(b"".join(blocks), dtype=np.int16)
        if len(samples) < part.phonemes * LEAST_FRAMES_A_PHONEME / self.words_per_minute:
            raise SpeechError(
                "SynthesisFailed",
                f"espeak left out a part of {spoken[:80]!r}: {len(samples) / SAMPLE_RATE:.2f} s for {part.phonemes} "
                "phonemes; shorten the caption",
            )
        return samples

    def close(self) -> None:
        """Nothing to release: the library is gone after each utterance."""


@contextmanager
def _fresh_library(lists_voices: bool = False) -> Iterator[_Library]:
    """Maps libespeak-ng anew, initialises it, and unmaps it at the end, all under the module's lock.

    Args:
        lists_voices: the voice's file name has capitals. espeak lowers the name it is asked for, misses the file and
            scans all voices (1.5 ms) into an array it never frees: 2 KB an utterance, 2 GB a million.

    Raises:
        SpeechError: `EngineMissing` when library or data do not load, `EngineBusy` when other code uses the library.
    """
    path = espeakng_loader.get_library_path()
    with _LIBRARY_LOCK:
        process = ctypes.CDLL(None)
        process.dlclose.argtypes = process.free.argtypes = [ctypes.c_void_p]
        if _is_mapped(path, process):
            raise SpeechError(
                "EngineBusy",
                f"other code in this process (phonemizer?) has loaded {path} and would share its state; "
                "run that code in a process of its own",
            )
        try:
            functions = ctypes.CDLL(path)
        except OSError as error:
            raise SpeechError("EngineMissing", f"cannot load {path}: {error}; reinstall espeakng-loader") from error
        try:
            _declare(functions)
            yield _Library(functions, _initialize(functions))
        finally:
            voices = functions.espeak_ListVoices(None) if lists_voices else None
            functions.espeak_Terminate()
            process.free(voices)
            process.dlclose(functions._handle)


def _is_mapped(path: str, process: ctypes.CDLL) -> bool:
    try:
        process.dlclose(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)._handle)
    except OSError:
        return False
    return True


def _declare(functions: ctypes.CDLL) -> None:
    functions.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    functions.espeak_Info.argtypes = [ctypes.c_void_p]
    functions.espeak_Info.restype = ctypes.c_char_p
    functions.espeak_SetSynthCallback.argtypes = [_SYNTH_CALLBACK]
    functions.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    functions.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    functions.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
    functions.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    functions.espeak_ListVoices.restype = ctypes.c_void_p
    functions.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    functions.espeak_TextToPhonemes.restype = ctypes.c_char_p
    unsigned, pointer = ctypes.c_uint, ctypes.c_void_p
    functions.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, unsigned, ctypes.c_int, unsigned, unsigned, pointer, pointer,
    ]  # fmt: skip


def _initialize(functions: ctypes.CDLL) -> int:
    """Loads espeak's phoneme data; returns the sample rate in Hz."""
    data_path = espeakng_loader.get_data_path()
    sample_rate = functions.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), ESPEAK_INITIALIZE_DONT_EXIT
    )
    if sample_rate <= 0:
        raise SpeechError(
            "EngineMissing",
            f"espeak found no phoneme data in {data_path}; reinstall espeakng-loader, in a path of less than 150 bytes "
            "(espeak's limit)",
        )
    return int(sample_rate)


def _phonemes(functions: ctypes.CDLL, text: str) -> int:
    """How many phonemes espeak makes of a text that it takes whole."""
    rest, count = ctypes.c_char_p(text.encode()), 0
    while rest.value:
        before = ctypes.cast(rest, ctypes.c_void_p).value
        names = functions.espeak_TextToPhonemes(ctypes.byref(rest), ESPEAK_CHARS_UTF8, ESPEAK_PHONEMES_APART) or b""
        # "(en)" says that the language changes.
        count += len([name for name in re.split(rb"[_ \n]+|\([a-z-]+\)", names) if name])
        if ctypes.cast(rest, ctypes.c_void_p).value == before:
            break
    return count


def _find_voice(functions: ctypes.CDLL, voice: str) -> str:
    """Resolves a voice name to the voice's file ("en" to "gmw/en"), which espeak opens without scanning all of them."""
    found = ""
    if functions.espeak_SetVoiceByName(plain_text(voice).encode()) == EE_OK:
        found = functions.espeak_GetCurrentVoice().contents.identifier.decode()
    # espeak drops a variant it does not know, and takes a bare variant ("!v/f3") for a voice without a language.
    if not found or found.startswith("!v") or ("+" in voice and "+" not in found):
        raise SpeechError(
            "UnknownVoice",
            f"espeak has no voice {voice!r}; a voice is a language (en, en-us, de, pt-br), or a variant of one (en+f3)",
        )
    return found
