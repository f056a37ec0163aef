import os
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED
from beamscribe.pipelines import speak
from beamscribe.pipelines.outputs.verify import inspect, run, verify
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.pipelines.speech.speech_index import remove_unnamed
from beamscribe.schemas.receipt import RECEIPTS
from beamscribe.schemas.rows import INDEX
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS as CAPTIONS
from tests.pipelines.fake_job import caption, reference, run_of
from tests.pipelines.test_speak import sound_of

pytestmark = pytest.mark.slow

TEXTS = {"1": "A cat.", "2": "Two dogs run.", "3": "A cat."}


@pytest.fixture(scope="module", params=LAYOUTS)
def spoken(request, tmp_path_factory):
    """Three images, two texts, by espeak as WAV; the captions beside it."""
    folder = tmp_path_factory.mktemp("spoken")
    captions = Storage(str(folder / "captions-output"))
    rows = [caption(reference(id), "oil", run_of(captions))._replace(caption=text) for id, text in TEXTS.items()]
    captions.write("captions/1.parquet", CAPTIONS.encode(rows))
    assert speak.run(command_of(folder, request.param)) == DONE
    return folder, request.param


def command_of(folder, layout):
    where = ["--captions", str(folder / "captions-output"), "--output", str(folder / "output")]
    return [*where, "--format=wav", f"--layout={layout}"]


@pytest.fixture
def copy(spoken, tmp_path):
    """A copy to be damaged, and the command that made it."""
    folder, layout = spoken
    shutil.copytree(folder, tmp_path / "copy")
    return Storage(str(tmp_path / "copy" / "output")), command_of(tmp_path / "copy", layout)


@pytest.fixture
def audible(copy):
    return copy[0]


@pytest.fixture
def layout(spoken):
    return spoken[1]


def found(output):
    return verify(output).findings


def put(output, name, data):
    """Writes without any of the storage's care."""
    with open(output.path(name), "wb") as file:
        file.write(data)


def mended(copy, capsys):
    """Repairs and runs the job again; gives what was removed."""
    output, command = copy
    before = sound_of(output) if not found(output) else None
    capsys.readouterr()
    assert run([output.root, "--repair"]) != CHECK_FAILED
    removed = re.findall(r"^beamscribe verify: removes (\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert speak.run(command) == DONE
    assert verify(output) == (3, 0, 0, ())
    assert before is None or sound_of(output) == before
    return removed


def test_whole_speech(audible, layout):
    assert len(audible.walk("audio")) == (2 if layout == "files" else 1)
    assert verify(audible) == (3, 0, 0, ())
    assert run([audible.root]) == DONE


def test_missing_audio(copy, capsys, layout):
    audible = copy[0]
    name = audible.walk("audio")[0].name
    audible.delete(name)
    [finding] = found(audible)
    assert finding.startswith(f"{1 if layout == 'files' else 2} audio files that the index names are missing: {name}")
    assert run([audible.root]) == CHECK_FAILED
    assert all(name.startswith("index/") for name in mended(copy, capsys))


def test_cut_audio(copy, capsys, layout):
    audible = copy[0]
    name = audible.walk("audio")[0].name
    put(audible, name, audible.read(name)[: 2000 if layout == "files" else -3000])
    what = {
        "files": "of another size than the index says",
        "tar": "damaged",
        "parquet": "damaged",
    }
    assert all(re.search(what[layout], finding) for finding in found(audible))
    assert found(audible)
    assert name in mended(copy, capsys)


def test_a_flipped_bit_of_the_sound(copy, capsys, layout):
    audible = copy[0]
    name = audible.walk("audio")[0].name
    data = bytearray(audible.read(name))
    data[len(data) // 3] ^= 1
    put(audible, name, bytes(data))
    assert any(name in finding for finding in found(audible))
    if layout != "parquet":  # where a damaged page may not decode at all
        [finding] = found(audible)
        assert finding.startswith("1 audio files are not as they were written: their checksum differs: ")
    removed = mended(copy, capsys)
    assert name in removed


def test_audio_that_no_row_names(copy, capsys, layout):
    audible = copy[0]
    stem = f"00000-of-00001-{'0' * 16}"
    name = {"files": f"audio/00/00/{'0' * 32}.wav", "tar": f"audio/{stem}.tar", "parquet": f"audio/{stem}.parquet"}
    audible.write(name[layout], b"x")
    assert found(audible) == (f"1 audio files that no row names: {name[layout]}",)
    assert mended(copy, capsys) == [name[layout]]


def test_audio_of_others_is_named_and_left(copy, capsys, layout):
    audible = copy[0]
    audible.write("audio/mine.wav", b"x")
    audible.write("audio/desktop.ini", b"x")
    remedy = "audio/mine.wav has no name that Beamscribe gives: delete it, or move it elsewhere"
    assert found(audible) == ("1 audio files that no row names: audio/mine.wav", remedy)
    capsys.readouterr()
    assert run([audible.root, "--repair"]) == CHECK_FAILED
    assert capsys.readouterr().out.count(remedy) == 2
    remove_unnamed(audible)
    assert audible.read("audio/mine.wav") == b"x"


def test_no_flipped_bit_of_a_tar_goes_unseen(audible, layout):
    if layout != "tar":
        return
    [entry] = audible.walk("audio")
    good = audible.read(entry.name)
    for place in range(0, len(good), 5009):
        put(audible, entry.name, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert found(audible)
    put(audible, entry.name, good[:-600])
    assert found(audible) == (f"1 audio files are damaged: {entry.name}",)


def test_a_temporary_among_the_audio(audible):
    put(audible, os.path.dirname(audible.walk("audio")[0].name) + "/.x.wav.12345678.tmp", b"half")
    [finding] = found(audible)
    assert finding.startswith("1 temporaries")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "beyond reading"])
def test_a_damaged_index(audible, damage):
    name = audible.files("index")[0].name
    data = audible.read(name)
    place = data.rindex(b"parquet-cpp")
    flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    put(audible, name, {"flipped": flipped, "truncated": data[:-9], "beyond reading": b"x" * len(data)}[damage])
    assert found(audible)[0].startswith(name)
    assert run([audible.root]) == CHECK_FAILED


def test_a_lost_receipt_makes_no_orphans_of_its_audio(audible):
    for entry in audible.files(RECEIPTS):
        audible.delete(entry.name)
    assert all("has no receipt" in finding for finding in found(audible))


def test_an_index_of_the_first_version_is_checked_by_size(audible, layout):
    if layout != "files":
        return  # There were no others.
    [entry] = audible.files("index")
    table = INDEX.read(audible.read(entry.name), "").drop_columns(["audio_member", "sha256", "loudness_lufs"])
    table = table.replace_schema_metadata({b"beamscribe.schema_version": b"1"})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    audible.write(entry.name, sink.getvalue().to_pybytes())
    for receipt in audible.files(RECEIPTS):
        audible.delete(receipt.name)
    assert all("has no receipt" in finding for finding in found(audible))
    name = audible.walk("audio")[0].name
    put(audible, name, audible.read(name) + b"x")
    assert any("another size" in finding for finding in found(audible))
    assert name in inspect(audible).remove


def test_the_audio_of_an_unfinished_shard_is_no_orphan(audible):
    for entry in [*audible.files("index"), *audible.files(RECEIPTS)]:
        audible.delete(entry.name)
    assert verify(audible) == (0, 0, 3, ())
    assert run([audible.root]) == STOPPED
