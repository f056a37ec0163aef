import pytest

from beamscribe.pipelines.speech.spoken import audio_key, normalize_text


@pytest.mark.parametrize(
    ("caption", "spoken"),
    [
        ("A cat.", "A cat."),
        ("  A\t cat.\r\n", "A cat."),
        ("a\u00a0cat\u2003sits", "a cat sits"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("A CAT!", "A CAT!"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_normalizes_text(caption, spoken):
    assert normalize_text(caption) == spoken
    assert normalize_text(spoken) == spoken


def test_keys():
    key = audio_key("A cat.", "f")
    assert key == "856680ec228c2b26df0a4c8ab47becd2"  # printf 'f\0A cat.' | b2sum -l 128
    assert len({key, audio_key("a cat.", "f"), audio_key("A cat.", "g")}) == 3
