import io
import os
import uuid

import pytest
import soundfile

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.say import run


@pytest.mark.parametrize(("name", "kind"), [("a.mp3", "MP3"), ("a.ogg", "OGG"), ("a.flac", "FLAC"), ("a.b.WAV", "WAV")])
def test_says_a_line_in_the_format_of_the_name(tmp_path, capsys, name, kind):
    path = tmp_path / "deep" / name
    assert run(["A cat sits on a mat.", "--output", str(path)]) == DONE
    info = soundfile.info(io.BytesIO(path.read_bytes()))
    assert info.format.startswith(kind)
    assert 0.8 < info.duration < 3
    assert os.listdir(path.parent) == [name]
    out = capsys.readouterr().out
    assert out.startswith(f"beamscribe say: {info.duration:.1f} s by espeak 1.")
    assert out.endswith(f"→ {path}\n")


def test_says_it_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["A cat.", "--output=cat.wav"])
    assert os.listdir(tmp_path) == ["cat.wav"]


def test_replaces_what_is_there(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    run(["A cat.", "--output", str(path)])
    assert path.read_bytes().startswith(b"RIFF")


def test_says_it_to_remote_storage(memory):
    uri = f"{memory.root}/cat.wav"
    assert run(["A cat.", "--output", uri]) == DONE
    assert memory.read("cat.wav").startswith(b"RIFF")


def test_obeys_its_flags(tmp_path):
    durations = []
    for speed in ("80", "300"):
        path = tmp_path / f"{speed}.wav"
        run(["A cat sits on a mat.", f"--words-per-minute={speed}", "--voice=en-us+f3", "--output", str(path)])
        durations.append(soundfile.info(path).duration)
    assert durations[0] > 1.5 * durations[1]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["A cat.", "--output=cat"], "must end in one of"),
        (["A cat.", "--output=cat.aiff"], "must end in one of"),
        (["A cat.", "--output=wav"], "must end in one of"),
        (["A cat.", "--output=cat.wav/"], "must end in one of"),
        (["A cat."], "--output"),
        (["--output=cat.wav"], "text"),
        (["...", "--output=cat.wav"], "pronounces nothing"),
        (["", "--output=cat.wav"], "pronounces nothing"),
        (["A cat.", "--output=cat.wav", "--voice=klingon-9"], "no voice 'klingon-9'"),
        (["A cat.", "--output=cat.wav", "--words-per-minute=1000"], "words_per_minute is 1000"),
        (["A cat.", "--output=cat.wav", "--runner=FnApiRunner"], "unknown argument --runner"),
        (["A cat.", "--output=cat.wav", "--out=dog.wav"], "unknown argument --out: did you mean --output"),
        (["A", "cat.", "--output=cat.wav"], "unknown argument cat"),
        (["A cat.", "--output=nosuch://bucket/cat.wav"], "nosuch"),
        (["A cat.", "--output=file/cat.wav"], "file"),
    ],
)
def test_refuses_and_writes_nothing(tmp_path, monkeypatch, argv, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(RefusedError, match=says):
        run(argv)
    assert os.listdir(tmp_path) == ["file"]


def test_the_root_is_a_folder_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = f"/beamscribe-{uuid.uuid4().hex}.wav"
    try:
        run(["A cat.", "--output", path])
    except RefusedError:
        pass  # where only root may write there
    finally:
        if os.path.exists(path):
            os.unlink(path)
    assert os.listdir(tmp_path) == []
