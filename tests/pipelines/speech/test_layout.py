import os

import pytest

from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.pipelines.speech import SpeechSettings, open_engine
from beamscribe.pipelines.speech.clip import Style, make_clip
from beamscribe.pipelines.speech.layout import Speech, open_shelf
from beamscribe.pipelines.speech.spoken import audio_key
from beamscribe.pipelines.work.shards import bucket_name

TEXTS = {audio_key(text, "f"): text for text in ("A cat.", "A dog.", "A bird.")}
SHARD = "00000-of-00001"
ENGINE = open_engine(SpeechSettings())
CLIPS = {key: make_clip(text, ENGINE, Style("wav")) for key, text in TEXTS.items()}


def shelf_of(output, layout, shard=SHARD, texts=TEXTS):
    return open_shelf(layout, Speech(output, "f", "wav", "espeak 1", "en"), shard, texts)


def fill(output, layout, keys, shard=SHARD, texts=TEXTS):
    shelf = shelf_of(output, layout, shard, texts)
    spoken = {key: shelf.put(key, CLIPS[key]) for key in keys}
    shelf.close()
    return spoken


layouts = pytest.mark.parametrize("layout", LAYOUTS)


@layouts
def test_what_was_put_is_found_and_the_rest_is_not(output, layout):
    first, second, third = TEXTS
    spoken = fill(output, layout, [first, second])
    shelf = shelf_of(output, layout)
    for key in (first, second):
        found = shelf.find(key)
        assert found._replace(facts=None) == spoken[key]._replace(facts=None)
        # A table holds 32 bits of a duration.
        assert found.facts == pytest.approx(spoken[key].facts)
    assert shelf.find(third) is None
    assert {entry.name for entry in output.walk("audio")} == {one.uri for one in spoken.values()}


@layouts
def test_a_later_shelf_adds_and_leaves_what_is_there(output, layout):
    first, second, third = TEXTS
    fill(output, layout, [first])
    before = {entry.name: output.read(entry.name) for entry in output.walk("audio")}
    fill(output, layout, [third, second])
    after = {entry.name: output.read(entry.name) for entry in output.walk("audio")}
    assert before.items() <= after.items()
    assert all(shelf_of(output, layout).find(key) for key in TEXTS)


@layouts
def test_nothing_new_is_no_file(output, layout):
    fill(output, layout, [])
    assert output.walk("audio") == []


@layouts
def test_the_order_of_speaking_changes_nothing(local, memory, layout):
    fill(local, layout, TEXTS)
    fill(memory, layout, reversed(TEXTS))
    for entry in local.walk("audio"):
        assert memory.read(entry.name) == local.read(entry.name)


@pytest.mark.parametrize("layout", ["tar", "parquet"])
@pytest.mark.parametrize(("before", "after"), [(1, 8), (8, 1), (4, 4), (2, 64)])
def test_audio_is_found_by_a_corpus_of_another_size(local, layout, before, after):
    for key, text in TEXTS.items():
        fill(local, layout, [key], bucket_name(text, before), {key: text})
    for key, text in TEXTS.items():
        assert shelf_of(local, layout, bucket_name(text, after), {key: text}).find(key)


# A flipped bit of the sound is no damage that a decoder could tell; `verify` knows the checksum of a file of its own.
@pytest.mark.parametrize(
    ("layout", "damage"),
    [(layout, damage) for layout in LAYOUTS for damage in ("cut", "flipped", "empty")
     if (layout, damage) != ("files", "flipped")],
)  # fmt: skip
def test_damaged_audio_counts_as_none(local, layout, damage):
    first = next(iter(TEXTS))
    fill(local, layout, [first])
    [entry] = local.walk("audio")
    data = bytearray(local.read(entry.name))
    if damage == "flipped":
        data[data.index(CLIPS[first].data[2000:2100]) if layout == "tar" else len(data) // 3] ^= 64
    size = {"cut": 60, "flipped": len(data), "empty": 0}[damage]
    local.write(entry.name, bytes(data[:size]))
    assert shelf_of(local, layout).find(first) is None


def test_foreign_names_in_the_folder_are_left_alone(local):
    local.write("audio/theirs.tar", b"x")
    local.write("audio/notes.txt", b"x")
    assert shelf_of(local, "tar").find(next(iter(TEXTS))) is None


def test_a_file_lies_in_two_levels_of_folders(local):
    [spoken] = fill(local, "files", [next(iter(TEXTS))]).values()
    assert spoken.uri == f"audio/{spoken.key[:2]}/{spoken.key[2:4]}/{spoken.key}.wav"
    assert spoken.member is None
    assert os.path.getsize(local.path(spoken.uri)) == spoken.facts.bytes


@pytest.mark.parametrize("layout", ["tar", "parquet"])
def test_a_file_of_many_bears_the_name_of_what_was_missing(local, layout):
    first, second, third = TEXTS
    one = fill(local, layout, [first])[first].uri
    assert one.startswith(f"audio/{SHARD}-")
    assert one.endswith(f".{layout}")
    # Some of it failed; whoever tries again asks for less and so does not replace what is there.
    two = fill(local, layout, [second, third])[second].uri
    assert two != one
