"""The parts of a report, each by itself."""

import base64
import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.outputs.report.attention import small
from beamscribe.pipelines.outputs.report.charts import Line, coarser, histogram, signed
from beamscribe.pipelines.outputs.report.gallery import BEST, REPAIRED, SAMPLED, WORST, Gallery
from beamscribe.pipelines.outputs.report.pictures import (
    MissingPictureError,
    PictureReading,
    read_photograph,
    thumbnail,
)
from beamscribe.pipelines.outputs.report.references import read_scores
from beamscribe.pipelines.outputs.report.sound import SpokenAt, sounds, spoken
from beamscribe.pipelines.outputs.report.survey import Bar, Survey
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.speak import run as speak
from beamscribe.schemas import score_row
from beamscribe.schemas.rows import ParquetRows
from beamscribe.schemas.score_row import ScoreRow
from beamscribe.storage.storage import Storage
from tests.pipelines.outputs.report.made_report import photograph, row
from tests.pipelines.test_speak import write_captions

HERE = PictureReading(None, {}, False)


def as_read(id: str, score: float = -1.0, repairs: tuple[str, ...] = (), caption: str = "A dog runs.") -> dict:
    return {
        **row(id, score=score, repairs=repairs, caption=caption)._asdict(),
        "flags": [],
        "repairs": list(repairs),
        "alternatives": [{"caption": caption, "score": score}],
    }


def test_the_gallery_has_a_sample_and_the_extremes() -> None:
    gallery = Gallery(12)
    gallery.pass_by([as_read(str(n), -n / 100, ("grey-to-rgb",) if n % 10 == 5 else ()) for n in range(100)])
    choices = gallery.choices()
    members = {
        group: [choice.row.id for choice in choices if group in choice.groups]
        for group in (SAMPLED, BEST, WORST, REPAIRED)
    }
    assert members[BEST] == ["0", "1"]
    assert members[WORST] == ["98", "99"]
    assert len(members[SAMPLED]) >= 6
    assert len(members[REPAIRED]) == 2
    assert all(int(id) % 10 == 5 for id in members[REPAIRED])
    assert len({choice.row.id for choice in choices}) == len(choices) == 12
    assert [choice.row.score for choice in choices] == sorted((c.row.score for c in choices), reverse=True)


@given(st.integers(0, 1000), st.integers(1, 5))
def test_the_gallery_does_not_depend_on_files_and_their_order(seed: int, files: int) -> None:
    rows = [as_read(str(n), -(n % 7) / 10, ("grey-to-rgb",) if n % 3 else ()) for n in range(40)]
    whole = Gallery(12)
    whole.pass_by(rows)
    random.Random(seed).shuffle(rows)
    parts = Gallery(12)
    for start in range(files):
        parts.pass_by(rows[start::files])
    assert parts.choices() == whole.choices()


def test_all_images_are_shown_if_they_are_no_more_than_wanted() -> None:
    gallery = Gallery(12)
    gallery.pass_by([as_read(str(n), -n / 100, ("grey-to-rgb",) if n % 3 == 0 else ()) for n in range(12)])
    choices = gallery.choices()
    assert len(choices) == 12
    assert all(SAMPLED in choice.groups for choice in choices)


def test_a_gallery_of_one() -> None:
    gallery = Gallery(1)
    gallery.pass_by([as_read("a"), as_read("b")])
    assert [choice.groups for choice in gallery.choices()] == [(SAMPLED,)]


def test_the_survey_counts() -> None:
    survey = Survey()
    survey.count([as_read("a", -0.5), as_read("b", -0.55, ("grey-to-rgb",)), as_read("c", -0.3, caption="A cat.")])
    assert survey.captions == 3
    assert survey.mean_score == pytest.approx(-0.45)
    assert survey.length_bars() == [Bar(2, 3, 1), Bar(3, 4, 2)]
    bars = survey.score_bars()
    assert [bar.captions for bar in bars] == [1, 1, 0, 1]
    assert [(round(bar.low, 1), round(bar.high, 1)) for bar in bars][0] == (-0.6, -0.5)
    assert survey.most_frequent() == [("A dog runs.", 2)]
    assert (survey.flags, survey.repairs) == ({}, {"grey-to-rgb": 1})
    assert Survey().mean_score is None
    assert Survey().score_bars() == []


def test_bars_are_as_long_as_their_counts() -> None:
    lines = histogram([Bar(5, 6, 10), Bar(6, 7, 0), Bar(7, 8, 5)], digits=0)
    assert lines == (Line("5", 10, 100), Line("6", 0, 0), Line("7", 5, 50))
    sides = histogram([Bar(-0.2, -0.1, 1), Bar(-0.1, 0, 1)], digits=1)
    assert [line.label for line in sides] == ["−0.2 to −0.1", "−0.1 to 0.0"]
    assert histogram([], digits=0) == ()


@given(st.lists(st.integers(0, 100), min_size=1, max_size=300), st.integers(-250, 50))
def test_many_bars_are_counted_together(counts: list[int], first: int) -> None:
    bars = [Bar(0.1 * (first + n), 0.1 * (first + n + 1), count) for n, count in enumerate(counts)]
    found = coarser(bars)
    assert len(found) <= 14
    assert sum(bar.captions for bar in found) == sum(counts)
    assert found[0].low <= bars[0].low + 1e-9
    assert found[-1].high >= bars[-1].high - 1e-9
    wide = found[0].high - found[0].low
    assert all(bar.low / wide == pytest.approx(round(bar.low / wide), abs=1e-6) for bar in found)


def test_minus_signs() -> None:
    assert (signed(-0.04), signed(1.25, 2), signed(-3)) == ("0.0", "1.25", "−3.0")


def test_a_photograph_is_found_where_it_was_or_below_a_new_root(tmp_path: Path) -> None:
    data = photograph(80, 60)
    (tmp_path / "new" / "b").mkdir(parents=True)
    (tmp_path / "new" / "a.jpg").write_bytes(photograph(80, 60, seed=1))
    (tmp_path / "new" / "b" / "a.jpg").write_bytes(data)
    item = row("a.jpg", data)._replace(image_uri="file:///old/b/a.jpg")
    with pytest.raises(MissingPictureError, match=r"cannot be read \(FileNotFoundError\); --images-root"):
        read_photograph(item, HERE)
    assert read_photograph(item, HERE._replace(root=str(tmp_path / "new"))) == data
    elsewhere = item._replace(image_uri="file:///old/c/a.jpg")
    with pytest.raises(MissingPictureError, match="Another photograph"):
        read_photograph(elsewhere, HERE._replace(root=str(tmp_path / "new")))
    assert read_photograph(item._replace(image_uri=f"file://{tmp_path}/new/b/a.jpg"), HERE) == data


def test_the_web_is_read_only_where_it_is_allowed() -> None:
    with pytest.raises(MissingPictureError, match="--allow-http"):
        read_photograph(row("a.jpg")._replace(image_uri="https://example.org/a.jpg"), HERE)


@pytest.mark.parametrize("size", [(640, 480), (300, 900), (20, 10), (3000, 40)])
@pytest.mark.parametrize("room", [40_000, 10_000, 3_000])
def test_thumbnails_fit(size: tuple[int, int], room: int) -> None:
    data = photograph(*size)
    picture = thumbnail(row("a.jpg", data), data, room)
    stored = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
    assert len(stored) <= room
    assert Image.open(io.BytesIO(stored)).size == (picture.width, picture.height)
    assert max(picture.width, picture.height) <= 480
    assert picture.width / picture.height == pytest.approx(size[0] / size[1], rel=0.2)


def test_what_does_not_decode_is_said() -> None:
    with pytest.raises(MissingPictureError, match="does not decode here: NotAnImage"):
        thumbnail(row("a.jpg"), b"hello", 1000)


def test_maps_are_one_byte_a_cell() -> None:
    from beamscribe.model.attention_maps import WordAttention

    class Maps:
        grid = (2, 2)

    words = [WordAttention("A", np.array([[0.1, 0.2], [0.3, 0.4]])), WordAttention("dog.", np.full((2, 2), 0.25))]
    found = small(words, Maps())  # type: ignore[arg-type]
    assert (found.words, found.rows, found.columns) == (("A", "dog."), 2, 2)
    assert list(base64.b64decode(found.maps)) == [0, 85, 170, 255, 0, 0, 0, 0]


def test_scores_are_read_with_their_rows(tmp_path: Path) -> None:
    rows = ParquetRows("", score_row.SCHEMA, score_row.VERSION)
    one = ScoreRow("1", "a.jpg", "file:///a.jpg", "A dog.", ("A dog runs.", "Dogs."), 0.1, 0.2, 0.3, 0.4)
    (tmp_path / "scores.parquet").write_bytes(rows.encode([one]))
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    scores = dict.fromkeys(("bleu_4", "meteor", "rouge_l", "cider"), score)
    found = {
        "schema_version": 1,
        "images": 7,
        "confidence": 0.95,
        "captions": {
            "rows": "scores.parquet",
            "scores": scores,
        },
    }
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(found))
    read = read_scores(str(path), {})
    assert read.images == 7
    assert read.scores["CIDEr"].high == 0.6
    assert read.by_uri["file:///a.jpg"].references == ("A dog runs.", "Dogs.")
    assert read.by_uri["file:///a.jpg"].scores["CIDEr"] == 0.4
    path.write_text(json.dumps({**found, "schema_version": 99}))
    with pytest.raises(RefusedError, match="schema version 99"):
        read_scores(str(path), {})
    path.write_text("{}")
    with pytest.raises(RefusedError, match="is not what beamscribe evaluate --output wrote"):
        read_scores(str(path), {})


def test_a_folder_without_speech_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no index"):
        spoken(Storage(str(tmp_path)))


def test_audio_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"no sound")
    (tmp_path / "b.tar").write_bytes(b"no tar")
    places = [SpokenAt("a.mp3", None), SpokenAt("b.tar", "b.mp3"), SpokenAt("c.mp3", None)]
    assert sounds(Storage(str(tmp_path)), places) == {}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_audio_of_every_layout_is_found(tmp_path: Path, layout: str) -> None:
    captions = write_captions(tmp_path / "captions", {"1": "A cat sits.", "2": "Two dogs run.", "3": "A cat sits."})
    flags = ["--output", str(tmp_path / "speech"), "--layout", layout]
    assert speak(["--captions", captions, *flags]) == DONE
    output = Storage(str(tmp_path / "speech"))
    spoken_texts = spoken(output)
    assert ("1", "Two dogs run.") not in spoken_texts
    places = {id: place for (id, _), place in spoken_texts.items()}
    found = sounds(output, places.values())
    assert [found[places[id]].uri[:22] for id in "123"] == ["data:audio/mpeg;base64"] * 3
    assert 0.3 < found[places["1"]].seconds < 3
    assert found[places["1"]] == found[places["3"]] != found[places["2"]]


def test_a_photograph_in_an_archive_is_found(tmp_path: Path) -> None:
    data = photograph(80, 60)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("more/a.jpg", data)
    (reference,) = list_images([str(tmp_path / "photos.zip")], {}).references
    item = row("a.jpg", data)._replace(image_uri=reference.uri)
    assert read_photograph(item, HERE, reference) == data
    moved = reference._replace(container="file:///nowhere/photos.zip")
    with pytest.raises(MissingPictureError, match="--images-root"):
        read_photograph(item, HERE, moved)
    assert read_photograph(item, HERE._replace(root=str(tmp_path)), moved) == data


def test_odd_numbers_of_strangers_make_no_endless_chart() -> None:
    counted = Survey()
    for score in (float("nan"), float("inf"), -3e38, 3e38, -0.5):
        fields = row("x", caption="w " * 5000, score=score)._asdict()
        counted.count([{**fields, "flags": [], "repairs": []}])
    assert counted.captions == 5
    assert len(counted.score_bars()) <= 401
    assert len(counted.length_bars()) <= 201
    assert counted.mean_score == pytest.approx(-0.5 / 3)


def test_a_row_does_not_raise_the_limit_of_pixels() -> None:
    data = photograph(64, 48)
    claimed = row("x", data)._replace(width=100_000, height=100_000)
    with pytest.raises(MissingPictureError, match="does not decode here"):
        thumbnail(claimed, data, 45_000, max_pixels=64 * 48 - 1)
    with pytest.raises(MissingPictureError, match="has no size"):
        thumbnail(claimed._replace(width=0, height=-5), data, 45_000)
