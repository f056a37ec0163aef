import contextlib
import io
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.speech import FORMATS, open_engine
from beamscribe.pipelines.speech.audio import check_audio, decode, duration_bounds_seconds, encode, transcode
from beamscribe.pipelines.speech.containers import Tar
from beamscribe.pipelines.speech.engine import Encoded, SpeechError, SpeechSettings, Waveform
from beamscribe.pipelines.speech.mp3 import join_mp3

CAPTION = "Two dogs are playing with a frisbee in the snow."


@pytest.fixture(scope="module")
def speech() -> Waveform:
    spoken = open_engine(SpeechSettings()).synthesize(CAPTION)
    assert isinstance(spoken, Waveform)
    return spoken


def tone(seconds: float, sample_rate: int = 22050, amplitude: float = 0.5) -> Waveform:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return Waveform((np.sin(2 * np.pi * 440 * time) * amplitude * 32767).astype(np.int16), sample_rate)


CLIPS = {format: encode(tone(2), format) for format in FORMATS}


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Best correlation over all shifts: an MP3 encoder delays the sound by some hundred frames."""
    size = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    return float(product.max() / np.sqrt((a.astype(float) ** 2).sum() * (b.astype(float) ** 2).sum()))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_comes_back(format, speech):
    data = encode(speech, format)
    assert soundfile.info(io.BytesIO(data)).format == format.upper()
    back = decode(data)
    assert back.samples.dtype == np.int16
    assert back.sample_rate == speech.sample_rate
    if format in ("flac", "wav"):
        assert np.array_equal(back.samples, speech.samples)
    else:
        assert similarity(back.samples, speech.samples) > 0.97
        assert 0 <= len(back.samples) - len(speech.samples) < 0.1 * speech.sample_rate


def test_mp3_has_a_constant_bit_rate_of_64_kbit(speech):
    data = encode(speech, "mp3")
    seconds = len(decode(data).samples) / speech.sample_rate
    assert len(data) * 8 / seconds == pytest.approx(64_000, rel=0.03)


@pytest.mark.parametrize("format", ["mp3", "flac", "wav"])
def test_same_samples_same_bytes(format, speech):
    assert encode(speech, format) == encode(speech, format)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 24000, 44100, 48000])
def test_mp3_keeps_the_sample_rate(sample_rate):
    back = decode(encode(tone(1, sample_rate), "mp3"))
    assert back.sample_rate == sample_rate
    assert 1 <= len(back.samples) / sample_rate < 1.5


def test_a_long_ogg_is_written_whole():
    minutes = Waveform(np.tile(tone(1).samples, 180), 22050)
    assert len(decode(encode(minutes, "ogg")).samples) == len(minutes.samples)


def test_a_full_scale_signal_does_not_wrap():
    square = Waveform(np.where(np.arange(22050) // 50 % 2, 32767, -32768).astype(np.int16), 22050)
    back = decode(encode(square, "ogg"))
    # Inside each half wave the sign stays, though Vorbis overshoots full scale there.
    middle = slice(25, None, 50)
    assert np.array_equal(np.sign(back.samples[middle]), np.sign(square.samples[middle]))
    assert np.abs(back.samples.astype(int)).max() >= 32767


def test_stereo_is_averaged():
    file = io.BytesIO()
    stereo = np.column_stack([np.full(1000, 2000), np.full(1000, 4000)]).astype(np.int16)
    soundfile.write(file, stereo, 16000, format="WAV", subtype="PCM_16")
    assert np.array_equal(decode(file.getvalue()).samples, np.full(1000, 3000))
    assert check_audio(file.getvalue(), "").channels == 2


def test_encode_refuses_what_is_no_sound():
    with pytest.raises(ValueError, match="mp3, ogg, flac, wav"):
        encode(tone(1), "aac")
    for samples in (np.zeros(0, np.int16), np.zeros(9, np.float32), np.zeros((9, 2), np.int16)):
        with pytest.raises(ValueError, match="int16 of shape"):
            encode(Waveform(samples, 22050), "wav")


def test_transcode_leaves_the_wanted_format_alone(speech):
    data = b"not even audio"
    assert transcode(Encoded(data, "mp3"), "mp3") is data
    assert transcode(speech, "wav") == encode(speech, "wav")
    wav = transcode(Encoded(encode(speech, "mp3"), "mp3"), "wav")
    assert similarity(decode(wav).samples, speech.samples) > 0.97


@pytest.mark.parametrize("format", FORMATS)
def test_check_reports_the_facts(format, speech):
    data = encode(speech, format)
    facts = check_audio(data, CAPTION)
    assert facts.duration_seconds == pytest.approx(len(speech.samples) / 22050, abs=0.1)
    assert (facts.sample_rate, facts.channels, facts.bytes) == (22050, 1, len(data))


@pytest.mark.parametrize(
    "data", [b"", b"<html>Sorry</html>", b"garbage" * 1000, bytes(5000), b"RIFF\x00\x00\x00\x00WAVE"]
)
def test_check_refuses_what_does_not_decode(data):
    with pytest.raises(SpeechError, match=f"{len(data)} bytes") as caught:
        check_audio(data, "dog")
    assert caught.value.error_type == "BadAudio"
    assert "0x" not in str(caught.value)  # a message is a row's text: no addresses that differ from run to run


@pytest.mark.parametrize("format", FORMATS)
def test_check_refuses_silence(format):
    for amplitude in (0.0, 0.005):
        with pytest.raises(SpeechError, match="silent"):
            check_audio(encode(tone(2, amplitude=amplitude), format), "two dogs")
    check_audio(encode(tone(2, amplitude=0.05), format), "two dogs")


def test_check_refuses_implausible_durations():
    with pytest.raises(SpeechError, match="lasts 0.20 s"):
        check_audio(encode(tone(0.2), "wav"), CAPTION)
    with pytest.raises(SpeechError, match="lasts 40.00 s"):
        check_audio(encode(tone(40), "wav"), "a dog")


@pytest.mark.parametrize("rate", [80, 450])
@pytest.mark.parametrize(
    "text", [CAPTION, "a", "999999999999", "W W W", "😀😀", "日本語", "aaaaaaaaaaaaaaaaaaaaaaa", "1,000,000"]
)
def test_bounds_hold_for_the_slowest_and_fastest_speech(text, rate):
    data = encode(open_engine(SpeechSettings(words_per_minute=rate)).synthesize(text), "wav")
    facts = check_audio(data, text)
    shortest, longest = duration_bounds_seconds(text)
    assert shortest < facts.duration_seconds < longest


def test_an_error_survives_pickling():
    with pytest.raises(SpeechError) as caught:
        check_audio(b"", "dog")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.error_type, str(copy)) == ("BadAudio", str(caught.value))


def test_a_header_that_claims_64_gib_costs_no_memory() -> None:
    data = bytearray(encode(Waveform(np.full(22_050, 3000, np.int16), 22_050), "wav"))
    data[4:8] = data[40:44] = (2**32 - 1).to_bytes(4, "little")
    tracemalloc.start()
    with contextlib.suppress(SpeechError):
        assert len(decode(bytes(data)).samples) == 22_050
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    flac = bytearray(encode(Waveform(np.full(22_050, 3000, np.int16), 22_050), "flac"))
    # STREAMINFO: 36 bits of total samples end 8 + 13 + 5 bytes into the file.
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    with contextlib.suppress(SpeechError):
        assert len(decode(bytes(flac)).samples) == 22_050


def test_more_sound_than_a_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamscribe.pipelines.speech.audio.MAX_SAMPLES", 20_000)
    with pytest.raises(SpeechError, match="more than 20000 samples"):
        decode(encode(Waveform(np.full(22_050, 3000, np.int16), 22_050), "wav"))


def with_lying_headers() -> dict[str, bytes]:
    """Two seconds of sound in files that claim up to 64 GiB."""
    wav, flac = bytearray(encode(tone(2), "wav")), bytearray(encode(tone(2), "flac"))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\x7f"
    flac[21:26] = flac[21:22] + b"\xff" * 4
    huge = struct.pack("<IQQQI", 28, 1 << 36, 1 << 36, 1 << 34, 0)
    format = struct.pack("<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16)
    rf64 = b"RF64\xff\xff\xff\xffWAVEds64" + huge + b"fmt " + format + b"data\xff\xff\xff\xff" + bytes(wav[44:])
    channels = bytearray(wav)
    channels[22:24] = b"\xff\xff"
    return {"wav": bytes(wav), "flac": bytes(flac), "rf64": rf64, "channels": bytes(channels)}


@pytest.mark.parametrize("name", with_lying_headers())
def test_headers_that_claim_more_than_there_is_take_no_memory(name):
    tracemalloc.start()
    try:
        assert check_audio(with_lying_headers()[name], "two dogs").duration_seconds == pytest.approx(2, abs=0.1)
    except SpeechError as error:
        assert error.error_type == "BadAudio"  # noqa: PT017 (either outcome is right)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 50e6


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMATS), st.dictionaries(st.integers(0, 300), st.integers(0, 255), max_size=6))
def test_of_damaged_audio_it_raises_only_speech_errors(format, damages):
    data = bytearray(CLIPS[format])
    for place, value in damages.items():
        data[place] = value
    with contextlib.suppress(SpeechError):
        check_audio(bytes(data), "two dogs")


@pytest.mark.parametrize("subtype", ["CONSTANT", "VARIABLE"])
def test_joined_files_are_heard_to_their_end(subtype):
    file = io.BytesIO()
    soundfile.write(file, tone(2).samples, 22050, format="MP3", bitrate_mode=subtype)
    described = file.getvalue()  # begins with a frame that says how many there are
    assert b"Xing" in described[:200] or b"Info" in described[:200]
    plain = encode(tone(2), "mp3")
    for first, second in ((described, described), (described, plain), (plain, described), (plain, plain)):
        assert len(decode(join_mp3([first, second])).samples) > 3.95 * 22050
    assert join_mp3([described]) == described
    assert join_mp3([plain, plain]) == plain + plain


def test_tars_of_audio_with_other_members_are_damaged():
    def header(kind: bytes, size: int) -> bytes:
        member = tarfile.TarInfo("a.wav")
        member.type, member.size = kind, size
        return member.tobuf(tarfile.GNU_FORMAT)

    for data in (
        header(tarfile.SYMTYPE, 0) + bytes(1024),
        header(tarfile.XHDTYPE, 512) + b"30 GNU.sparse.size=99999999999\n".ljust(512, b"\0") + bytes(1024),
        header(tarfile.REGTYPE, 1 << 40) + bytes(1024),
        header(tarfile.REGTYPE, 5000) + bytes(1024),
    ):
        with pytest.raises(ValueError, match="here.tar is damaged"):
            list(Tar().decode(data, "here.tar"))
