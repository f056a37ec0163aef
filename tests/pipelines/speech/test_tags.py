import io
import time

import mutagen
import numpy as np
import pytest
import soundfile

from pipelines.flags.speak import FORMATS
from pipelines.speech.audio import encode
from pipelines.speech.engine import Waveform
from pipelines.speech.tags import tag

TONE = Waveform((np.sin(np.arange(22050) / 20) * 9000).astype(np.int16), 22050)


def words_of(data: bytes) -> set[str]:
    """The values of all tags."""
    tags = mutagen.File(io.BytesIO(data)).tags
    values = [value for _, value in tags] if isinstance(tags, list) else list(tags.values())
    return {str(value) for value in values}


@pytest.mark.parametrize("format", FORMATS)
def test_title_and_artist_and_the_same_sound(format):
    data = encode(TONE, format)
    tagged = tag(data, format, "Zwölf Katzen 🐈", "espeak 1.52, en")
    assert words_of(tagged) == {"Zwölf Katzen 🐈", "espeak 1.52, en"}
    before, after = soundfile.read(io.BytesIO(data)), soundfile.read(io.BytesIO(tagged))
    assert after[1] == before[1]
    assert np.array_equal(after[0], before[0])
    assert len(tagged) < len(data) + 200


@pytest.mark.parametrize("format", FORMATS)
def test_equal_sound_and_words_are_equal_bytes(format):
    first = tag(encode(TONE, format), format, "A cat.", "espeak")
    time.sleep(0.01)
    assert tag(encode(TONE, format), format, "A cat.", "espeak") == first
    assert tag(first, format, "A cat.", "espeak") == first


@pytest.mark.parametrize("format", FORMATS)
def test_older_tags_go(format):
    tagged = tag(tag(encode(TONE, format), format, "old", "older"), format, "new", "newer")
    assert words_of(tagged) == {"new", "newer"}


@pytest.mark.parametrize("format", FORMATS)
def test_odd_titles(format):
    data = encode(TONE, format)
    for title in ("", "a\0b", "x" * 5000, "a\nb"):
        tagged = tag(data, format, title, "espeak")
        assert np.array_equal(soundfile.read(io.BytesIO(tagged))[0], soundfile.read(io.BytesIO(data))[0])


@pytest.mark.parametrize("format", ["ogg", "flac", "wav"])
@pytest.mark.parametrize("data", [b"", b"garbage" * 100])
def test_no_audio(format, data):
    with pytest.raises(ValueError, match=f"no {format} file"):
        tag(data, format, "a", "b")
