import hashlib
import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from tinytag import TinyTag

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.pipelines.speak import SpeakJob, run
from beamscribe.pipelines.speech import SpeechError, SpeechSettings, open_engine
from beamscribe.pipelines.speech.clip import Style
from beamscribe.pipelines.speech.containers import Tar
from beamscribe.pipelines.speech.layout import CONTAINERS
from beamscribe.pipelines.speech.speaker import Manner
from beamscribe.pipelines.speech.spoken import audio_key, normalize_text
from beamscribe.pipelines.work.shards import PendingItem, make_shard
from beamscribe.schemas.rows import FAILURES, INDEX, read_failures
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS as CAPTIONS
from tests.pipelines.fake_job import START, caption, reference, run_of

pytestmark = pytest.mark.slow

TEXTS = {"1": "A cat sits.", "2": "Two dogs run.", "3": "A cat sits.", "4": "A bird."}


def write_captions(root, texts, file="1"):
    """An output of beamscribe caption, as far as speak looks at it."""
    output = Storage(str(root))
    rows = [caption(reference(id), "oil", run_of(output))._replace(caption=text) for id, text in texts.items()]
    output.write(f"captions/{file}.parquet", CAPTIONS.encode(rows))
    return str(root)


@pytest.fixture
def captions(tmp_path):
    return write_captions(tmp_path / "captions-output", TEXTS)


def go(captions, output, *flags):
    return run(["--captions", captions, "--output", output.root, *flags])


def index_of(output):
    """Rows of the index by id."""
    rows = [row for entry in output.files("index") for row in INDEX.read(output.read(entry.name), "").to_pylist()]
    assert len(rows) == len({row["id"] for row in rows})
    return {row["id"]: row for row in rows}


def failures_of(output):
    return [row for entry in output.files(FAILURES.folder) for row in read_failures(output.read(entry.name), "")]


def stamps(output):
    """Every audio file with its inode and time: a file that is written again changes them."""
    found = {entry.name: os.stat(output.path(entry.name)) for entry in output.walk("audio")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def test_each_distinct_text_is_one_file_and_each_image_one_row(captions, local, capsys):
    assert go(captions, local) == DONE
    index = index_of(local)
    assert {id: row["caption"] for id, row in index.items()} == TEXTS
    assert len({row["audio_uri"] for row in index.values()}) == 3
    assert index["1"]["audio_uri"] == index["3"]["audio_uri"]
    assert {entry.name for entry in local.walk("audio")} == {row["audio_uri"] for row in index.values()}
    assert "4 in the corpus: 4 done, 0 failed, 0 to do" in capsys.readouterr().out
    assert verify(local) == (4, 0, 0, ())


def test_the_index_says_what_is_in_the_file(captions, local):
    go(captions, local, "--format=wav")
    engine = open_engine(SpeechSettings())
    for id, row in index_of(local).items():
        data = local.read(row["audio_uri"])
        sound, rate = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
        assert row["image_uri"] == f"file:///photos/{id}.jpg"
        assert row["audio_key"] in row["audio_uri"]
        assert row["duration_seconds"] == pytest.approx(len(sound) / rate)
        assert (row["sample_rate"], row["channels"], row["bytes"]) == (rate, 1, len(data))
        assert (row["engine"], row["voice"]) == (f"espeak {engine.version}", "en")
        expected = engine.synthesize(TEXTS[id]).samples
        assert sound[:, 0].tolist() == expected.tolist()  # the file of this text, not of its neighbour
    schema = pq.read_schema(local.path(local.files("index")[0].name))
    assert schema.metadata[b"beamscribe.schema_version"] == b"2"


@pytest.mark.parametrize(("audio_format", "kind"), [("mp3", "MP3"), ("ogg", "OGG"), ("flac", "FLAC"), ("wav", "WAV")])
def test_formats(tmp_path, local, audio_format, kind):
    captions = write_captions(tmp_path / "c", {"1": "A cat."})
    assert go(captions, local, f"--format={audio_format}") == DONE
    row = index_of(local)["1"]
    assert row["audio_uri"].endswith(f".{audio_format}")
    info = soundfile.info(io.BytesIO(local.read(row["audio_uri"])))
    assert info.format.startswith(kind)
    assert info.duration == pytest.approx(row["duration_seconds"], abs=0.01)
    assert verify(local) == (1, 0, 0, ())


def test_a_second_run_does_nothing(captions, local, capsys):
    go(captions, local)
    before = stamps(local), [entry.name for entry in local.files("index")]
    capsys.readouterr()
    assert go(captions, local) == DONE
    assert (stamps(local), [entry.name for entry in local.files("index")]) == before
    assert "this run did 0 of 4" in capsys.readouterr().out


def test_more_captions_reuse_the_audio_of_their_texts(captions, local):
    go(captions, local)
    before = stamps(local)
    write_captions(captions, {"5": " A  bird.\n", "6": "A fish."}, file="2")
    assert go(captions, local) == DONE
    after = stamps(local)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    index = index_of(local)
    assert index["5"]["audio_uri"] == index["4"]["audio_uri"]
    assert index["5"]["caption"] == " A  bird.\n"  # as in the captions, not as spoken
    assert verify(local) == (6, 0, 0, ())


def test_other_captions_into_the_same_output_reuse_its_audio(captions, local, tmp_path):
    go(captions, local)
    before = stamps(local)
    others = write_captions(tmp_path / "others", {"x": "A bird.", "y": "A cat sits."})
    assert go(others, local) == DONE
    assert stamps(local) == before
    assert set(index_of(local)) == {*TEXTS, "x", "y"}


def test_a_corrected_caption_is_refused_and_nothing_is_lost(captions, local):
    go(captions, local)
    before = index_of(local)
    write_captions(captions, {**TEXTS, "2": "Two wolves run."})
    with pytest.raises(RefusedError, match="has spoken 2 as .* now says 'Two wolves run.'"):
        go(captions, local)
    assert index_of(local) == before


SILENT = {"1": "...", "2": "A cat.", "3": "", "4": "  \n ", "5": "..."}


def test_a_text_that_cannot_be_spoken_is_a_failure_of_each_of_its_images(tmp_path, local, capsys):
    captions = write_captions(tmp_path / "c", SILENT)
    assert go(captions, local) == DONE
    assert set(index_of(local)) == {"2"}
    assert len(local.walk("audio")) == 1
    failed = sorted(failures_of(local), key=lambda row: row.id)
    assert [(row.id, row.stage, row.error_type, row.attempts) for row in failed] == [
        (id, "speak", "NothingToSpeak", 1) for id in "1345"
    ]
    assert all(row.image_uri == f"file:///photos/{row.id}.jpg" for row in failed)
    assert "5 in the corpus: 1 done, 4 failed, 0 to do" in capsys.readouterr().out
    assert verify(local) == (1, 4, 0, ())


def test_a_row_that_cannot_be_read_says_why(tmp_path, local):
    columns = {"image_uri": [*"abc"], "id": [1.0, 2.5, 3.0], "caption": [b"A dog.", b"A cat.", b"A c\xffw."]}
    pq.write_table(pa.table(columns), tmp_path / "theirs.parquet")
    assert go(str(tmp_path / "theirs.parquet"), local) == DONE
    assert set(index_of(local)) == {"1"}
    assert [(row.id, row.stage, row.error_type) for row in sorted(failures_of(local), key=lambda row: row.id)] == [
        ("3", "read", "UnreadableMemberError"),
        ("b", "read", "UnreadableMemberError"),
    ]
    assert {"its id 2.5 is a number with a fraction"} < {row.message for row in failures_of(local)}
    assert verify(local) == (1, 2, 0, ())


def test_texts_that_fail_are_tried_again_on_demand(tmp_path, local):
    captions = write_captions(tmp_path / "c", SILENT)
    go(captions, local)
    go(captions, local, "--retry-failed")
    assert sorted((row.id, row.attempts) for row in failures_of(local)) == [(id, 2) for id in "1345"]
    assert set(index_of(local)) == {"2"}


def test_audio_that_is_there_but_broken_is_spoken_again(tmp_path, local):
    captions = write_captions(tmp_path / "c", {"1": "A cat."})
    go(captions, local, "--format=wav")
    [entry] = local.walk("audio")
    good = local.read(entry.name)
    local.write(entry.name, b"RIFF, cut by something else")
    for file in local.files("index"):
        local.delete(file.name)
    assert go(captions, local, "--format=wav") == DONE
    assert local.read(entry.name) == good
    assert verify(local) == (1, 0, 0, ())


def test_an_object_store_will_do(captions, memory):
    assert go(captions, memory) == DONE
    assert len(memory.walk("audio")) == 3
    assert verify(memory) == (4, 0, 0, ())


def test_captions_come_from_anywhere(memory, local):
    rows = [caption(reference("1"), "oil", run_of(memory))]
    memory.write("captions/1.parquet", CAPTIONS.encode(rows))
    assert go(memory.root, local) == DONE
    assert index_of(local)["1"]["caption"] == "1 in oil"


def test_other_words_a_minute_are_another_output(captions, local):
    go(captions, local, "--format=wav")
    slow = index_of(local)["1"]["duration_seconds"]
    with pytest.raises(RefusedError, match=r"words_per_minute: 175 → 300"):
        go(captions, local, "--format=wav", "--words-per-minute=300")
    assert go(captions, local, "--format=wav", "--words-per-minute=300", "--on-change=replace") == DONE
    assert index_of(local)["1"]["duration_seconds"] < slow


@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--format=ogg", "format: mp3 → ogg"),
        ("--voice=en-us", "engine_voice: en → en-us"),
        ("--lang=de", "engine_voice: en → de"),
        ("--words-per-minute=200", "speech_words_per_minute: 175 → 200"),
    ],
)
def test_whatever_changes_the_sound_is_a_change_of_settings(captions, local, flag, difference):
    go(captions, local, "--limit=1")
    with pytest.raises(RefusedError, match=difference):
        go(captions, local, flag)


def test_what_does_not_change_the_sound_is_none(captions, local):
    go(captions, local, "--limit=1")
    assert go(captions, local, "--shard-size=1", "--retry-failed") == DONE
    assert len(index_of(local)) == 4


def test_replaced_audio_goes_with_its_rows(captions, local):
    go(captions, local, "--format=wav")
    go(captions, local, "--format=mp3", "--on-change=replace")
    assert all(entry.name.endswith(".mp3") for entry in local.walk("audio"))
    assert verify(local) == (4, 0, 0, ())


def test_kept_audio_stays(captions, local):
    go(captions, local, "--format=wav")
    write_captions(captions, {"5": "A cat sits."}, file="2")
    assert go(captions, local, "--format=mp3", "--on-change=keep") == DONE
    index = index_of(local)
    assert index["1"]["audio_uri"].endswith(".wav")
    assert index["5"]["audio_uri"].endswith(".mp3")
    assert verify(local) == (5, 0, 0, ())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--voice=klingon-9"], "no voice 'klingon-9'"),
        (["--lang=xx-nowhere"], "no voice 'xx-nowhere'"),
        (["--words-per-minute=10"], "words_per_minute is 10"),
        (["--engine=parrot"], "--engine"),
        (["--format=midi"], "--format"),
        (["--batch-size=3"], "unknown argument --batch-size"),
        (["--voise=en"], "did you mean --voice"),
        (["--engine=gtts", "--lang=xx"], "gTTS"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_written(captions, local, flags, says):
    with pytest.raises(RefusedError, match=says):
        go(captions, local, *flags)
    assert not os.path.exists(local.root)


def test_captions_that_are_none_are_refused(tmp_path, local):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing"):
        with pytest.raises(RefusedError, match="names no captions"):
            go(str(tmp_path / path), local)
    with pytest.raises(RefusedError, match="nosuch"):
        go("nosuch://bucket/captions", local)
    assert not os.path.exists(local.root)


def test_damaged_captions_are_refused_by_name(captions, local):
    write_captions(captions, {"9": "Another."}, file="2")
    path = os.path.join(captions, "captions", "2.parquet")
    os.truncate(path, os.path.getsize(path) - 5)
    with pytest.raises(RefusedError, match=r"captions/2\.parquet cannot be read"):
        go(captions, local)
    assert not os.path.exists(local.root)


def test_newer_captions_are_refused(captions, local):
    path = os.path.join(captions, "captions", "1.parquet")
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"beamscribe.schema_version": b"9"}), path)
    with pytest.raises(RefusedError, match="schema version 9"):
        go(captions, local)


class Parrot:
    """An engine that counts what it is asked and fails where it is told to."""

    name, version, voice = "parrot", "1", "en"

    def __init__(self, failing=()):
        self._engine = open_engine(SpeechSettings())
        self._failing = failing
        self.asked = []

    def synthesize(self, text):
        self.asked.append(text)
        if text in self._failing:
            raise SpeechError("SynthesisFailed", "the parrot is silent")
        return self._engine.synthesize(text)

    def close(self):
        pass


def test_one_shard_asks_for_each_text_once_and_pairs_answers_with_their_images(output, monkeypatch):
    parrot = Parrot(["A dog."])
    monkeypatch.setattr("beamscribe.pipelines.speech.speaker.open_engine", lambda settings: parrot)
    texts = {"1": "A cat.", "2": "A dog.", "3": "A  cat.", "4": "A dog.", "5": "A bird."}
    refs = [reference(id)._replace(text=text, group=normalize_text(text)) for id, text in texts.items()]
    shard = make_shard("s", [PendingItem(ref, 2) for ref in refs])
    outcomes = list(SpeakJob(Manner(SpeechSettings(), Style("wav"))).open(run_of(output))(shard))
    assert sorted(parrot.asked) == ["A bird.", "A cat.", "A dog."]
    spoken = {row.id: row.audio_key for row in outcomes if hasattr(row, "audio_key")}
    expected = {id: audio_key(normalize_text(texts[id]), run_of(output).fingerprint) for id in "135"}
    assert spoken == expected
    failed = {row.id: (row.error_type, row.attempts, row.run_started) for row in outcomes if hasattr(row, "stage")}
    assert failed == dict.fromkeys("24", ("SynthesisFailed", 3, START))


LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


def sound_of(output):
    """The audio of each image as the index names it, and how often each is named."""
    found = {}
    for id, row in index_of(output).items():
        data = output.read(row["audio_uri"])
        suffix = row["audio_uri"].rsplit(".", 1)[-1]
        if suffix in CONTAINERS:
            [data] = [
                one.audio.bytes for one in CONTAINERS[suffix].decode(data, "") if one.audio.path == row["audio_member"]
            ]
        found[id] = data
    return found


@LAYOUT
def test_layouts(captions, output, layout):
    assert go(captions, output, f"--layout={layout}", "--shard-size=2", "--format=flac") == DONE
    sounds = sound_of(output)
    for id, row in index_of(output).items():
        assert row["sha256"] == hashlib.sha256(sounds[id]).hexdigest()
        assert (row["audio_member"] is None) == (layout == "files")
        assert soundfile.info(io.BytesIO(sounds[id])).duration == pytest.approx(row["duration_seconds"])
    assert sounds["1"] == sounds["3"] != sounds["2"]
    assert verify(output) == (4, 0, 0, ())


@LAYOUT
def test_other_captions_reuse_audio_in_every_layout(captions, local, tmp_path, layout):
    flags = [f"--layout={layout}", "--format=wav"]
    go(captions, local, *flags, "--shard-size=1")
    before = stamps(local)
    assert go(write_captions(tmp_path / "others", {"x": "A bird.", "y": "A cat sits."}), local, *flags) == DONE
    assert stamps(local) == before
    assert go(write_captions(tmp_path / "more", {"z": "A bird.", "w": "A fish."}), local, *flags) == DONE
    after = stamps(local)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    assert len(index_of(local)) == 8
    assert verify(local).findings == ()


@LAYOUT
def test_equal_input_is_equal_audio(captions, local, memory, layout):
    for output in (local, memory):
        go(captions, output, f"--layout={layout}", "--format=ogg")
    assert [entry.name for entry in local.walk("audio")] == [entry.name for entry in memory.walk("audio")]
    for entry in local.walk("audio"):
        assert local.read(entry.name) == memory.read(entry.name)


def test_another_layout_is_refused(captions, local):
    go(captions, local, "--layout=tar")
    for change in ("refuse", "keep", "replace"):
        with pytest.raises(RefusedError, match="has --layout tar, not files"):
            go(captions, local, f"--on-change={change}")


@LAYOUT
def test_replaced_audio_goes_in_every_layout(captions, local, layout):
    go(captions, local, f"--layout={layout}", "--format=wav")
    before = stamps(local)
    go(captions, local, f"--layout={layout}", "--format=mp3", "--on-change=replace")
    assert not before.keys() & stamps(local).keys()
    assert verify(local) == (4, 0, 0, ())


@pytest.mark.parametrize(
    "flags",
    [
        [],
        pytest.param(
            ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
            marks=[pytest.mark.slow, pytest.mark.nightly],
        ),
    ],
)
def test_a_text_of_very_many_images_is_spoken_once_and_by_many_shards(tmp_path, local, monkeypatch, flags):
    texts = {f"d{number}": "A dog." for number in range(300)} | {f"c{number}": f"Cat {number}." for number in range(10)}
    texts |= {f"n{number}": "..." for number in range(300)}
    monkeypatch.setattr("beamscribe.pipelines.speech.captioned.MOST_IMAGES_A_TEXT", 8)
    captions = write_captions(tmp_path / "c", texts)
    assert go(captions, local, "--shard-size=4", "--layout=tar", "--format=wav", *flags) == DONE
    index = index_of(local)
    assert len({row["audio_uri"] for id, row in index.items() if id.startswith("d")}) == 1
    assert len({row["audio_key"] for row in index.values()}) == 11
    assert len(local.files("index")) > 8
    assert {(row.id[0], row.error_type) for row in failures_of(local)} == {("n", "NothingToSpeak")}
    assert verify(local) == (310, 300, 0, ())
    assert spoken_in(local) == 11


ROWS = int(os.environ.get("BEAMSCRIBE_SPEECH_ROWS", "2000"))
DISTINCT = ROWS // 40


@LAYOUT
def test_so_many_texts_so_many_syntheses_and_audio_objects(tmp_path, local, monkeypatch, layout):
    parrot = Parrot()
    monkeypatch.setattr("beamscribe.pipelines.speech.speaker.open_engine", lambda settings: parrot)
    captions = tmp_path / "captions.parquet"
    texts = [f"{number % DISTINCT}." for number in range(ROWS)]
    pq.write_table(pa.table({"image_uri": [f"u{number}" for number in range(ROWS)], "caption": texts}), captions)
    assert go(str(captions), local, f"--layout={layout}", "--format=wav", "--shard-size=64") == DONE
    assert len(parrot.asked) == len(set(parrot.asked)) == DISTINCT
    objects = (
        local.walk("audio")
        if layout == "files"
        else [
            row
            for entry in local.walk("audio")
            for row in CONTAINERS[layout].decode(local.read(entry.name), entry.name)
        ]
    )
    assert len(objects) == DISTINCT
    assert len(index_of(local)) == ROWS
    assert go(str(captions), local, f"--layout={layout}", "--format=wav", "--shard-size=64") == DONE
    assert len(parrot.asked) == DISTINCT


def spoken_in(output):
    """Audio objects in tar shards, whoever names them."""
    return sum(len(list(Tar().decode(output.read(entry.name), ""))) for entry in output.walk("audio"))


def test_loudness(captions, local, tmp_path):
    quiet = Storage(str(tmp_path / "quiet"))
    go(captions, local, "--loudness=-16", "--format=wav")
    go(captions, quiet, "--loudness=-30", "--format=wav")
    for output, lufs in ((local, -16), (quiet, -30)):
        assert index_of(output)["1"]["loudness_lufs"] == pytest.approx(lufs, abs=0.1)
    with pytest.raises(RefusedError, match=r"loudness: -16\.0 → as spoken"):
        go(captions, local, "--format=wav")


def test_tags(captions, local):
    go(captions, local)
    row = index_of(local)["2"]
    tags = TinyTag.get(local.path(row["audio_uri"]))
    assert (tags.title, tags.artist) == ("Two dogs run.", f"{row['engine']}, {row['voice']}")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--loudness=3"], "3 LUFS is not within"),
        (["--loudness=-16", "--engine=gtts"], "gtts gives files, not samples"),
        (["--requests-per-minute=10"], "espeak asks no service"),
        (["--requests-per-minute=0", "--engine=gtts"], "not above zero"),
        (["--layout=zip"], "--layout"),
    ],
)
def test_flags_that_do_not_fit_are_refused(captions, local, flags, says):
    with pytest.raises(RefusedError, match=says):
        go(captions, local, *flags)
    assert not os.path.exists(local.root)
