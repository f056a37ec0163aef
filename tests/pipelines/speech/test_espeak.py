import ctypes
import hashlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import espeakng_loader
import numpy as np
import pytest

from beamscribe.pipelines.speech import ENGINES, open_engine
from beamscribe.pipelines.speech.engine import SpeechError, SpeechSettings, Waveform
from beamscribe.pipelines.speech.parts import plain_text

CAPTION = "A man riding a wave on top of a surfboard."


def speak(text: str, **settings) -> Waveform:
    spoken = open_engine(SpeechSettings(**settings)).synthesize(text)
    assert isinstance(spoken, Waveform)
    return spoken


def same(a: Waveform, b: Waveform) -> bool:
    return np.array_equal(a.samples, b.samples)


def seconds(waveform: Waveform) -> float:
    return len(waveform.samples) / waveform.sample_rate


def test_speaks_a_caption_as_int16_mono():
    engine = open_engine(SpeechSettings())
    waveform = engine.synthesize(CAPTION)
    assert (engine.name, engine.voice) == ("espeak", "en")
    assert engine.version.startswith("1.")
    assert waveform.samples.dtype == np.int16
    assert waveform.samples.ndim == 1
    assert waveform.sample_rate == 22050
    assert 1.5 < seconds(waveform) < 3.5
    assert np.abs(waveform.samples.astype(int)).max() > 5000


def test_same_text_same_samples_whatever_came_before():
    engine = open_engine(SpeechSettings())
    first = engine.synthesize(CAPTION)
    for other in ("Two dogs!", "\x0150S\x0199A a loud slow cat", "1234567890 ABC", CAPTION):
        engine.synthesize(other)
        assert same(engine.synthesize(CAPTION), first)


def test_the_clock_does_not_seed_the_breath_of_a_voice():
    first = speak(CAPTION, voice="en+whisper")
    time.sleep(1.1)  # espeak seeds from the clock's whole seconds
    assert same(speak(CAPTION, voice="en+whisper"), first)


def test_another_process_gives_the_same_samples():
    program = (
        "import hashlib; from beamscribe.pipelines.speech import *; from beamscribe.pipelines.speech.engine import *\n"
        f"print(hashlib.sha256(open_engine(SpeechSettings()).synthesize({CAPTION!r}).samples.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(speak(CAPTION).samples.tobytes()).hexdigest()


def test_two_engines_keep_their_own_voice_and_speed():
    british, german = open_engine(SpeechSettings()), open_engine(SpeechSettings(lang="de"))
    fast = open_engine(SpeechSettings(words_per_minute=350))
    alone = [speak(CAPTION), speak(CAPTION, lang="de"), speak(CAPTION, words_per_minute=350)]
    assert not same(alone[0], alone[1])
    for _ in range(2):
        for engine, expected in zip((british, german, fast), alone, strict=True):
            assert same(engine.synthesize(CAPTION), expected)


def test_threads_take_turns():
    engines = [open_engine(SpeechSettings(lang=lang)) for lang in ("en", "de", "fr")]
    texts = [f"{number} dogs on a beach" for number in range(8)]
    jobs = [(engine, text) for text in texts for engine in engines]
    expected = [engine.synthesize(text) for engine, text in jobs]
    with ThreadPoolExecutor(4) as pool:
        spoken = list(pool.map(lambda job: job[0].synthesize(job[1]), jobs))
    assert all(same(a, b) for a, b in zip(spoken, expected, strict=True))


def test_the_speed_is_words_a_minute():
    slow, fast = (seconds(speak(CAPTION, words_per_minute=rate)) for rate in (100, 300))
    assert 1.8 < slow / fast < 4


def test_voice_beats_lang_and_capitals_in_a_voice_file_do_not_matter():
    american = speak(CAPTION, lang="de", voice="en-us")  # the file is gmw/en-US
    assert same(american, speak(CAPTION, voice="EN-US"))
    assert not same(american, speak(CAPTION))
    assert not same(american, speak(CAPTION, voice="en-us+f3"))


def test_markup_is_read_out_not_obeyed():
    assert seconds(speak("a <break time='9s'/> dog")) > 1.5 * seconds(speak("a dog"))
    assert seconds(speak("a <b> dog")) > 1.3 * seconds(speak("a dog"))
    # As phonemes these nine characters are one short word, 0.4 s.
    assert seconds(speak("[[h@l'oU]]")) > 2 * seconds(speak("hello"))


@pytest.mark.parametrize("hidden", ["\x00", "\x01", "\ue03c", "\ud800", "\x1b"])
def test_control_characters_are_spaces(hidden):
    assert plain_text(f"one{hidden}two") == "one two"
    assert same(speak(f"one{hidden}two three"), speak("one two three"))


def test_embedded_commands_change_nothing():
    assert same(speak("\x0199S dogs"), speak(" 99S dogs"))


@pytest.mark.parametrize("text", ["", " \n", "...", "\x00", "?"])
def test_nothing_to_speak(text):
    with pytest.raises(SpeechError, match="pronounces nothing") as caught:
        speak(text)
    assert caught.value.error_type == "NothingToSpeak"


@pytest.mark.parametrize("voice", ["martian", "en+nobody", "!v/f3", "../../../etc/passwd", "en\x00us"])
def test_unknown_voices_are_refused_at_the_start(voice):
    with pytest.raises(SpeechError, match="no voice") as caught:
        open_engine(SpeechSettings(voice=voice))
    assert caught.value.error_type == "UnknownVoice"
    speak(CAPTION)  # the refusal released the library


@pytest.mark.parametrize("rate", [79, 451, 0])
def test_impossible_speeds_are_refused(rate):
    with pytest.raises(SpeechError, match="80 to 450") as caught:
        open_engine(SpeechSettings(words_per_minute=rate))
    assert caught.value.error_type == "BadSetting"


def test_a_library_in_other_hands_is_refused():
    engine = open_engine(SpeechSettings())
    other = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        with pytest.raises(SpeechError, match="other code") as caught:
            engine.synthesize(CAPTION)
    finally:
        close = ctypes.CDLL(None).dlclose
        close.argtypes = [ctypes.c_void_p]
        close(other._handle)
    assert caught.value.error_type == "EngineBusy"
    assert engine.synthesize(CAPTION)


def test_missing_phoneme_data_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path / "gone"))
    with pytest.raises(SpeechError, match="gone") as caught:
        open_engine(SpeechSettings())
    assert caught.value.error_type == "EngineMissing"


def test_unknown_engine_lists_the_known():
    with pytest.raises(SpeechError, match=", ".join(ENGINES)) as caught:
        open_engine(SpeechSettings(engine="festival"))
    assert caught.value.error_type == "EngineMissing"


@pytest.mark.parametrize(("engine", "module"), [("espeak", "espeakng_loader"), ("gtts", "gtts")])
def test_missing_package_says_what_to_install(engine, module):
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from beamscribe.pipelines.speech import *; from beamscribe.pipelines.speech.engine import *\n"
        f"try: open_engine(SpeechSettings(engine={engine!r}))\n"
        "except SpeechError as error: print(error.error_type, error)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("EngineMissing")
    assert "pip install" in run.stdout


def test_the_package_imports_no_engine():
    program = "import sys, beamscribe.pipelines.speech\n"
    program += "print(sorted({'gtts', 'espeakng_loader', 'requests'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
