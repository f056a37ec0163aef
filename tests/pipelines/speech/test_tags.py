"""Tags that are written here are read by others: tinytag, libsndfile, and ffprobe where it is installed."""

import contextlib
import io
import json
import shutil
import subprocess
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tinytag import TinyTag

from beamscribe.pipelines.speech.audio import FORMATS, check_audio, encode
from beamscribe.pipelines.speech.engine import Waveform
from beamscribe.pipelines.speech.tags import tag

TONE = Waveform((np.sin(np.arange(22050) / 20) * 9000).astype(np.int16), 22050)
FILES = {format: encode(TONE, format) for format in FORMATS}
TITLE, ARTIST = "Zwölf Katzen 🐈", "espeak 1.52, en"


def tags_of(data: bytes, format: str) -> dict[str, str | None]:
    found = TinyTag.get(f"sound.{format}", file_obj=io.BytesIO(data))
    return {"title": found.title, "artist": found.artist}


def same_sound(data: bytes, format: str) -> None:
    before, after = soundfile.read(io.BytesIO(FILES[format])), soundfile.read(io.BytesIO(data))
    assert after[1] == before[1]
    assert np.array_equal(after[0], before[0])


@pytest.mark.parametrize("format", FORMATS)
def test_title_and_artist_and_the_same_sound(format):
    tagged = tag(FILES[format], format, TITLE, ARTIST)
    assert tags_of(tagged, format) == {"title": TITLE, "artist": ARTIST}
    same_sound(tagged, format)
    assert len(tagged) < len(FILES[format]) + 200
    check_audio(tagged, "two cats")


@pytest.mark.parametrize("format", ["ogg", "flac"])
def test_libsndfile_reads_the_comments(format):
    with soundfile.SoundFile(io.BytesIO(tag(FILES[format], format, TITLE, ARTIST))) as file:
        assert file.copy_metadata() == {"title": TITLE, "artist": ARTIST}


@pytest.mark.parametrize("format", FORMATS)
def test_ffprobe_reads_the_tags(format, tmp_path: Path):
    ffprobe = shutil.which("ffprobe")
    if not ffprobe:
        pytest.skip("no ffprobe: install ffmpeg")
    path = tmp_path / f"sound.{format}"
    path.write_bytes(tag(FILES[format], format, TITLE, ARTIST))
    command = [ffprobe, "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(shown.stdout)
    tags = {**found["format"].get("tags", {}), **found["streams"][0].get("tags", {})}
    tags = {name.lower(): value for name, value in tags.items()}
    assert (tags["title"], tags["artist"], shown.stderr) == (TITLE, ARTIST, "")


@pytest.mark.parametrize("format", FORMATS)
def test_equal_sound_and_words_are_equal_bytes(format):
    first = tag(encode(TONE, format), format, "A cat.", "espeak")
    time.sleep(0.01)
    assert tag(encode(TONE, format), format, "A cat.", "espeak") == first
    assert tag(first, format, "A cat.", "espeak") == first


@pytest.mark.parametrize("format", FORMATS)
def test_older_tags_go(format):
    tagged = tag(tag(FILES[format], format, "old", "older"), format, "new", "newer")
    assert tags_of(tagged, format) == {"title": "new", "artist": "newer"}
    assert b"old" not in tagged


def test_an_id3v1_tag_of_another_program_goes():
    assert tag(FILES["mp3"] + b"TAG" + b"old".ljust(125, b"\0"), "mp3", "a", "b") == tag(FILES["mp3"], "mp3", "a", "b")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("title", ["", "a\0b", "x" * 5000, "a\nb", "x" * 70_000, "a\ud800b", "日本" * 20_000])
def test_odd_titles(format, title):
    tagged = tag(FILES[format], format, title, "espeak")
    same_sound(tagged, format)
    wanted = title.replace("\0", " ").replace("\ud800", "?")
    assert (tags_of(tagged, format)["title"] or "") == wanted


def test_a_tagged_wav_is_one_to_the_standard_library():
    with wave.open(io.BytesIO(tag(FILES["wav"], "wav", "odd", "b"))) as file:
        assert file.getnframes() == len(TONE.samples)


@pytest.mark.parametrize("format", ["ogg", "flac", "wav"])
@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"fLaC", b"OggS", b"RIFF\0\0\0\0WAVF"])
def test_no_audio(format, data):
    with pytest.raises(ValueError, match=f"no {format} file"):
        tag(data, format, "a", "b")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(FORMATS), st.dictionaries(st.integers(0, 400), st.integers(0, 255), max_size=5), st.integers(0, 9)
)
def test_of_damaged_files_it_raises_nothing_but_value_error(format, damages, cut):
    data = bytearray(FILES[format])
    for position, value in damages.items():
        data[position] = value
    with contextlib.suppress(ValueError):
        assert tag(bytes(data[: len(data) * (10 - cut) // 10]), format, "a", "b")
