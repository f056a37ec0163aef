"""Captions in the forms of other programs, read back by those programs' own rules."""

import csv
import errno
import io
import json
import unicodedata
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import fsspec
import pyarrow.csv
import pyarrow.json
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.pipelines import speak
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.outputs.caption_lines import coco_results, csv_lines
from beamscribe.pipelines.outputs.export import run
from beamscribe.pipelines.outputs.sidecar_places import Captioned, sidecar_names
from beamscribe.pipelines.outputs.sidecars import content
from beamscribe.schemas import caption_row
from beamscribe.schemas.caption_json import json_lines
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.schemas.matching import ANNOTATIONS, MANIFEST
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS
from tests.pipelines.outputs.report.made_report import row
from tests.pipelines.outputs.test_verify import go
from tests.training.made_captions import FINGERPRINT, caption, write_output

WILD = 'A "dog", <b>&\u00e9.'


@pytest.fixture
def captions(tmp_path: Path) -> Storage:
    """An output of three captions, of photographs in two folders."""
    output = Storage(str(tmp_path / "captions"))
    assert go(output, "abc") == DONE
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for entry in output.files("captions"):
        rows = ROWS.read(output.read(entry.name), "").to_pylist()
        changed = []
        for found in rows:
            name = {"a": "a.jpg", "b": "b.jpg", "c": "more/a.jpg"}[found["id"]]
            item = row("x", caption=WILD if found["id"] == "b" else "A dog runs.")
            uri = f"file://{tmp_path}/photos/{name}"
            changed.append(item._replace(id=found["id"], image_uri=uri, fingerprint=found["fingerprint"]))
        output.write(entry.name, ROWS.encode(changed))
    for entry in output.files("_beamscribe/shards"):
        output.delete(entry.name)
    assert go(output, "abc") == DONE
    return output


def export(captions: Storage, to: str, *flags: str) -> int:
    return run([captions.root, "--to", to, *flags])


def test_csv(captions: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "captions.csv"
    assert export(captions, "csv", "--output", str(path)) == DONE
    assert capsys.readouterr().out.splitlines()[-1] == f"beamscribe export: 3 captions as csv → {path}"
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert list(rows[0]) == ["image_uri", "id", "caption", "score", "confidence", "flags"]
    assert {found["id"]: found["caption"] for found in rows}["b"] == WILD
    assert {len(found["score"].split(".")[1]) for found in rows} == {3}
    assert not any(letter in "".join(found.values()) for found in rows for letter in "[{")
    assert pyarrow.csv.read_csv(path).num_rows == 3
    assert sorted(found.name for found in path.parent.iterdir()) == ["captions.csv"]


def test_the_data_of_the_output_stay_alone(captions: Storage) -> None:
    before = captions.walk("captions")
    with pytest.raises(RefusedError, match="choose another place"):
        export(captions, "csv", "--output", f"{captions.root}/captions/x.csv")
    assert captions.walk("captions") == before


def test_columns_of_a_table(captions: Storage, tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    assert export(captions, "csv", "--output", str(path), "--columns", "all") == DONE
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert list(rows[0]) == caption_row.SCHEMA.names
    assert json.loads(rows[0]["alternatives"])[1]["score"] == -1.5
    assert rows[0]["run_started"].endswith("+00:00")
    # Whatever its columns are, the file is one of ours.
    assert export(captions, "csv", "--output", str(path), "--columns", "caption,id") == DONE
    assert path.read_text().splitlines()[0] == "caption,id"
    for wrong in ("caption,caption", "nothing", "audio"):
        with pytest.raises(RefusedError, match="--columns"):
            export(captions, "csv", "--output", str(path), "--columns", wrong)


def spoken(tmp_path: Path, captions: Storage, layout: str) -> str:
    output = str(tmp_path / f"speech-{layout}")
    flags = ["--captions", captions.root, "--output", output, "--layout", layout, "--format", "wav"]
    assert speak.run(flags) == DONE
    return output


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["files", "tar"])
def test_sound_by_photograph(captions: Storage, tmp_path: Path, layout: str) -> None:
    speech = spoken(tmp_path, captions, layout)
    for name in ("a.jpg", "b.jpg", "more/a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    folder = tmp_path / "sound"
    assert run([speech, "--to", "files", "--output", str(folder)]) == DONE
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == ["a.wav", "b.wav", "more/a.wav"]
    assert run([speech, "--to", "sidecar", "--beside", str(tmp_path / "photos")]) == DONE
    assert (tmp_path / "photos" / "more" / "a.wav").read_bytes() == (folder / "a.wav").read_bytes()
    assert (folder / "a.wav").read_bytes() != (folder / "b.wav").read_bytes()
    table = tmp_path / "sound.csv"
    assert run([speech, "--to", "csv", "--output", str(table)]) == DONE
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))
    by_photograph = {one["image_uri"].split("photos/")[1]: one for one in rows}
    assert float(by_photograph["b.jpg"]["duration_seconds"]) > 0.3
    # The table of captions says the same of each photograph.
    path = tmp_path / "captions.csv"
    assert export(captions, "csv", "--output", str(path), "--speech", speech) == DONE
    for one in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")):
        assert one["audio"] == by_photograph[one["image_uri"].split("photos/")[1]]["audio"]
    if layout == "files":
        audio = by_photograph["b.jpg"]["audio"].removeprefix("file://")
        assert Path(audio).read_bytes() == (folder / "b.wav").read_bytes()
    # Files of others stay.
    (folder / "b.wav").write_bytes(b"theirs")
    assert run([speech, "--to", "files", "--output", str(folder)]) == DONE
    assert (folder / "b.wav").read_bytes() == b"theirs"
    assert run([speech, "--to", "files", "--output", str(folder), "--replace"]) == DONE
    assert (folder / "b.wav").read_bytes() != b"theirs"
    for wrong in (["--to", "jsonl"], ["--to", "csv", "--columns", "id"]):
        with pytest.raises(RefusedError, match="holds sound"):
            run([speech, *wrong, "--output", str(tmp_path / "x")])
    with pytest.raises(RefusedError, match="--to files is for sound"):
        export(captions, "files", "--output", str(folder))


def test_copies_hold_their_captions(captions: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    Image.effect_noise((31, 17), 80).convert("RGB").save(photos / "a.jpg")
    Image.effect_noise((31, 17), 80).save(photos / "more" / "a.jpg", "PNG")
    (photos / "b.jpg").write_bytes(b"no image")
    folder = tmp_path / "copies"
    assert export(captions, "sidecar", "--embed", "--output", str(folder)) == DONE
    assert "1 photograph without a file beside them (1 no JPEG, PNG or WebP)" in capsys.readouterr().out
    for name in ("a.jpg", "more/a.jpg"):
        with Image.open(photos / name) as before, Image.open(folder / name) as after:
            assert before.tobytes() == after.tobytes()
        assert b"A dog runs." in (folder / name).read_bytes()
    assert not (folder / "b.jpg").exists()
    with pytest.raises(RefusedError, match="--embed writes copies"):
        export(captions, "sidecar", "--embed", "--beside", str(photos))


def test_of_what_is_not_sure_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [caption(str(n), f"Photograph {n}.", f"file:///d/{n}.jpg") for n in (1, 2, 3)]
    rows = [one._replace(confidence=sure) for one, sure in zip(rows, (0.1, 0.9, None), strict=True)]
    output = committed(tmp_path / "captions", rows, None)
    folder = tmp_path / "beside"
    flags = ["--output", str(folder), "--min-confidence", "0.3", "--sidecar", "xmp"]
    assert run([output, "--to", "sidecar", *flags]) == DONE
    assert "3 captions as sidecar, 1 of them decorative (confidence below 0.3)" in capsys.readouterr().out
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert "Photograph" not in texts["1.xmp"]
    assert '<rdf:li xml:lang="x-default"></rdf:li>' in texts["1.xmp"]
    assert all(f"Photograph {n}." in texts[f"{n}.xmp"] for n in (2, 3))


def test_json_lines(captions: Storage, tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    assert export(captions, "jsonl", "--output", str(path)) == DONE
    table = pyarrow.json.read_json(path)
    assert table.column_names == caption_row.SCHEMA.names
    assert sorted(table["id"].to_pylist()) == ["a", "b", "c"]
    assert table["alternatives"][0][0]["caption"].as_py() in (WILD, "A dog runs.")


def test_a_file_on_remote_storage(captions: Storage) -> None:
    uri = f"memory://{uuid.uuid4().hex}/captions.jsonl"
    assert export(captions, "jsonl", "--output", uri) == DONE
    with fsspec.open(uri) as file:
        assert len(file.read().splitlines()) == 3


def annotated(tmp_path: Path, names: dict[int, str]) -> str:
    images = [{"id": id, "file_name": name} for id, name in names.items()]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": []}))
    return str(tmp_path / "captions.json")


def test_coco_results_have_the_ids_of_the_file_names(captions: Storage, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    flags = [
        "--output",
        str(path),
        "--annotations",
        annotated(tmp_path, {7: "b.jpg", 8: "photos/a.jpg", 9: "more/a.jpg"}),
    ]
    assert export(captions, "coco-results", *flags) == DONE
    found = [(item["image_id"], item["caption"]) for item in json.loads(path.read_text())]
    assert sorted(found) == [(7, WILD), (8, "A dog runs."), (9, "A dog runs.")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({7: "b.jpg", 8: "a.jpg"}, r"may both be a.jpg \(id 8\)"),
        ({7: "b.jpg", 8: "x/a.jpg", 9: "y/a.jpg"}, "a.jpg may be x/a.jpg .* or y/a.jpg"),
        (
            {8: "photos/a.jpg", 9: "more/a.jpg"},
            "id of .*b.jpg .* is not known: no image of --annotations",
        ),
    ],
)
def test_coco_results_hold_no_id_that_may_be_wrong(
    captions: Storage, tmp_path: Path, names: dict[int, str], message: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text("[]\n")
    with pytest.raises(RefusedError, match=message):
        export(captions, "coco-results", "--output", str(path), "--annotations", annotated(tmp_path, names))
    assert path.read_text() == "[]\n"


def test_ids_of_a_manifest_are_not_those_of_coco(tmp_path: Path) -> None:
    rows = [caption(str(n), f"Photograph {name}.", f"file:///d/{name}.jpg") for n, name in ((1, 3), (2, 1), (3, 2))]
    names = {n: f"{n}.jpg" for n in (1, 2, 3)}
    for ids, flags, expected in (
        (MANIFEST, ["--annotations", annotated(tmp_path, names)], {1: "1", 2: "2", 3: "3"}),
        (MANIFEST, ["--by-id"], {1: "3", 2: "1", 3: "2"}),
        (MANIFEST, [], None),
        (None, [], None),
        (ANNOTATIONS, [], {1: "3", 2: "1", 3: "2"}),
    ):
        output = committed(tmp_path / uuid.uuid4().hex, rows, ids)
        path = tmp_path / "results.json"
        command = [output, "--to", "coco-results", "--output", str(path), *flags]
        if expected is None:
            with pytest.raises(RefusedError, match="did not come from annotations.*--annotations JSON.*--by-id"):
                run(command)
        else:
            assert run(command) == DONE
            found = {item["image_id"]: item["caption"] for item in json.loads(path.read_text())}
            assert found == {id: f"Photograph {name}." for id, name in expected.items()}


def committed(folder: Path, rows: list[CaptionRow], ids: str | None = None) -> str:
    """An output of caption with receipts."""
    output = Storage(write_output(folder, rows, ids=ids))
    Ledger(output, ROWS).settle(FINGERPRINT)
    return output.root


def test_ids_without_end_are_refused() -> None:
    rows = [{"id": "9" * 5000, "image_uri": "file:///a.jpg", "caption": "A dog."}]
    with pytest.raises(RefusedError, match="is none of COCO's"):
        list(coco_results(rows, None))
    assert json.loads("".join(coco_results([{"id": "-7", "caption": "x"}], None))) == [{"image_id": -7, "caption": "x"}]
    assert json.loads("".join(coco_results([], None))) == []


def test_sidecars_beside_the_photographs(captions: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    for name in ("a.jpg", "b.jpg", "more/a.jpg"):
        (photos / name).write_bytes(b"")
    (photos / "a.txt").write_text("Mine.")
    beside = ["--beside", str(photos)]
    assert export(captions, "sidecar", *beside) == DONE
    assert "1 left as they were, since they say something else (--replace" in capsys.readouterr().out
    assert (photos / "a.txt").read_text() == "Mine."
    assert (photos / "b.txt").read_text() == WILD + "\n"
    assert (photos / "more" / "a.txt").read_text() == "A dog runs.\n"
    assert export(captions, "sidecar", "--replace", *beside) == DONE
    assert (photos / "a.txt").read_text() == "A dog runs.\n"
    assert "left" not in capsys.readouterr().out


def test_xmp_in_a_folder_of_their_own(captions: Storage, tmp_path: Path) -> None:
    assert export(captions, "sidecar", "--sidecar", "xmp", "--output", str(tmp_path / "side")) == DONE
    assert sorted(str(path.relative_to(tmp_path / "side")) for path in (tmp_path / "side").rglob("*.xmp")) == [
        "a.xmp",
        "b.xmp",
        "more/a.xmp",
    ]
    root = ET.fromstring((tmp_path / "side" / "b.xmp").read_text(encoding="utf-8"))
    found = root.find(".//{http://purl.org/dc/elements/1.1/}description//{*}li")
    assert found is not None
    assert found.text == WILD


def named(*places: str) -> list[str]:
    return sidecar_names([Captioned(place, f"file:///{place}", "") for place in places], places, "txt")


def test_two_photographs_do_not_share_a_sidecar() -> None:
    assert named("a/x.jpg", "a/x.png", "b/x.jpg", "a/y") == ["a/x.jpg.txt", "a/x.png.txt", "b/x.txt", "a/y.txt"]
    assert named("x.jpg", "x.png", "x.jpg.png") == ["x.jpg.txt", "x.png.txt", "x.jpg.png.txt"]
    assert named("x.jpg", "x.png", "x.jpg.png", "x.jpg.gif")[2:] == ["x.jpg.png.txt", "x.jpg.gif.txt"]
    assert named("a/X.jpg", "A/x.png") == ["a/X.jpg.txt", "A/x.png.txt"]
    assert named("a.jpg", "a.txt/b.jpg") == ["a.jpg.txt", "a.txt/b.txt"]
    one, other = named("x.jpg", "X.JPG")
    assert (one[:6], other[:6]) == ("x.jpg~", "X.JPG~")


def test_a_sidecar_has_a_name_that_a_file_system_takes() -> None:
    assert named("m" * 240 + ".jpg", "m" * 251 + ".gif") == ["m" * 240 + ".txt", "m" * 251 + ".txt"]
    for place in named("m" * 251 + ".jpg", "m" * 251 + ".png", "字" * 85):
        assert len(place.encode()) <= 255


_PLACES = st.lists(
    st.lists(
        st.sampled_from(["x", "X", "x.jpg", "x.png", "x.jpg.png", "x.txt", "é", "e\u0301", "ß", "SS"]), min_size=1
    ).map("/".join),
    unique=True,
    max_size=12,
)


@given(_PLACES)
def test_no_two_sidecars_share_a_name_where_case_makes_no_difference(places: list[str]) -> None:
    names = named(*places)
    keys = [unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()) for name in names]
    assert len(set(keys)) == len(places)
    folders = {key.rsplit("/", depth)[0] for key in keys for depth in range(1, key.count("/") + 1)}
    assert not folders & set(keys)


HOSTILE = {
    "file:///data/evil.tar::../../../escaped/a.jpg": "__/__/__/escaped/a.txt",
    "file:///data/evil.tar::/etc/cron.d/b.jpg": "etc/cron.d/b.txt",
    "file:///data/evil.tar::..\\..\\c.jpg": "__/__/c.txt",
    "file:///data/evil.tar::d/./../e.jpg": "d/__/e.txt",
    "file:///data/evil.tar::f\x1b[2J\n.jpg": "f_[2J_.txt",
    "file:///data/evil.tar::..": "__.txt",
    "file:///data/evil.tar::" + "n" * 300 + ".jpg": None,
}


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    output = committed(tmp_path / "captions", [caption(uri, f"Said of {uri}.") for uri in HOSTILE])
    assert run([output, "--to", "sidecar", "--output", str(tmp_path / "a" / "b" / "side")]) == DONE
    side = tmp_path / "a" / "b" / "side"
    written = {str(path.relative_to(side)) for path in side.rglob("*") if path.is_file()}
    assert len(written) == len(HOSTILE)
    assert {name for name in HOSTILE.values() if name} <= written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "captions"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_that_is_a_link_elsewhere_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    output = committed(tmp_path / "captions", [caption("file:///d/1.jpg", "A."), caption("file:///d/x/2.jpg", "B.")])
    (tmp_path / "elsewhere").mkdir()
    side = tmp_path / "side"
    side.mkdir()
    (side / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="is a link that leaves"):
        run([output, "--to", "sidecar", "--output", str(side)])
    (side / "x").unlink()
    (side / "x").write_text("a file")
    with pytest.raises(RefusedError, match="is a file where .*2.txt needs a folder"):
        run([output, "--to", "sidecar", "--output", str(side), "--replace"])
    assert [path.name for path in side.iterdir()] == ["x"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_hostile_rows_write_nothing_beside_what_is_no_photograph_below_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, home = tmp_path / "photos", tmp_path / "home"
    for folder in (photos, home):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"")
    (photos / "notes.md").write_text("")
    (photos / "pipe.jpg").mkdir()
    (photos / "link").symlink_to(home)
    uris = [f"file://{home}/a.jpg", f"file://{photos}/../home/a.jpg", f"file://{photos}/link/a.jpg"]
    uris += [f"file://{photos}/notes.md", f"file://{photos}/none.jpg", f"file://{photos}/pipe.jpg"]
    uris += ["https://host/a.jpg", f"file://{photos}/a.zip::x/../../../home/a.jpg", f"file://{photos}/\0.jpg"]
    output = committed(tmp_path / "captions", [caption(uri, "Evil.") for uri in [*uris, f"file://{photos}/a.jpg"]])
    assert run([output, "--to", "sidecar", "--beside", str(photos)]) == DONE
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt")] == ["photos/a.txt"]
    told = capsys.readouterr().out
    assert "9 photographs without a file beside them (1 no image by its suffix, 6 not below --beside, 2 not" in told
    (photos / "a.jpg").unlink()
    with pytest.raises(RefusedError, match="holds none of the photographs"):
        run([output, "--to", "sidecar", "--beside", str(photos)])


def test_three_photographs_give_three_sidecars_whatever_the_length_of_their_names(tmp_path: Path) -> None:
    names = ["x.jpg", "x.png", "x.jpg.png", "a.jpg", "m" * 240 + ".jpg", "z.jpg"]
    output = committed(tmp_path / "captions", [caption(f"file:///d/{name}", name) for name in names])
    side = tmp_path / "side"
    for flags in ([], ["--replace"]):
        assert run([output, "--to", "sidecar", "--output", str(side), *flags]) == DONE
        assert sorted(path.read_text() for path in side.iterdir()) == sorted(f"{name}\n" for name in names)


def test_members_of_one_name_in_an_archive_have_a_sidecar_each(tmp_path: Path) -> None:
    rows = [caption(f"t.tar::a.jpg{end}", text, "file:///t.tar::a.jpg") for end, text in (("", "One."), ("#2", "Two."))]
    assert run([committed(tmp_path / "captions", rows), "--to", "sidecar", "--output", str(tmp_path / "side")]) == DONE
    assert sorted(path.read_text() for path in (tmp_path / "side").iterdir()) == ["One.\n", "Two.\n"]


def test_files_that_are_no_sidecars_stay(captions: Storage, tmp_path: Path) -> None:
    side = tmp_path / "side"
    (side / "more").mkdir(parents=True)
    (tmp_path / "target").write_text("precious")
    (side / "a.xmp").write_text("<x:xmpmeta><rating>5</rating></x:xmpmeta>")
    (side / "b.xmp").symlink_to(tmp_path / "target")
    (side / "more" / "a.xmp").mkdir()
    assert export(captions, "sidecar", "--sidecar", "xmp", "--output", str(side), "--replace") == DONE
    assert (side / "a.xmp").read_text() == "<x:xmpmeta><rating>5</rating></x:xmpmeta>"
    assert (tmp_path / "target").read_text() == "precious"
    (side / "b.xmp").unlink()
    (side / "b.xmp").write_bytes(content("An older caption.", "xmp"))
    assert export(captions, "sidecar", "--sidecar", "xmp", "--output", str(side), "--replace") == DONE
    assert (side / "b.xmp").read_bytes() == content(WILD, "xmp")


def test_xmp_holds_what_xml_can() -> None:
    root = ET.fromstring(content("A\x1b[31m dog\0.\ud800\n<b>", "xmp").decode())
    assert root.findtext(".//{*}li") == "A\ufffd[31m dog\ufffd.\ufffd\n<b>"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\uff1d1", "\n=1"])
def test_a_spreadsheet_runs_no_formula(text: str) -> None:
    fields = row("x", caption=text)._asdict()
    fields |= {"id": text, "image_uri": text, "flags": [text], "repairs": [], "alternatives": []}
    for formulas, before in ((False, "'"), (True, "")):
        [_, line] = csv_lines([fields], formulas)
        [found] = csv.DictReader(io.StringIO("".join([*csv_lines([], formulas), line]), newline=""))
        assert (found["id"], found["image_uri"], found["caption"]) == (before + text,) * 3
        assert (found["score"], found["flags"]) == ("-0.500", before + text)


def test_lines_of_json_are_json() -> None:
    fields = row("x", caption="a\u2028b\x85c\nd", score=float("nan"))._asdict() | {"alternatives": [], "flags": []}
    [line] = json_lines([fields])
    assert len(line.splitlines()) == 1
    found = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert (found["caption"], found["score"]) == ("a\u2028b\x85c\nd", None)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["csv", "jsonl", "coco-results"])
def test_a_file_that_is_none_of_ours_stays(captions: Storage, tmp_path: Path, to: str) -> None:
    path = tmp_path / "file"
    flags = ["--output", str(path)]
    if to == "coco-results":
        flags += ["--annotations", annotated(tmp_path, {7: "b.jpg", 8: "photos/a.jpg", 9: "more/a.jpg"})]
    path.write_text("precious")
    with pytest.raises(RefusedError, match="is there and no .* that beamscribe export wrote: --replace"):
        export(captions, to, *flags)
    assert path.read_text() == "precious"
    assert export(captions, to, *flags, "--replace") == DONE
    first = path.read_bytes()
    assert export(captions, to, *flags) == DONE
    assert path.read_bytes() == first


def test_a_disk_that_is_full_leaves_what_was_there(
    captions: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "captions.csv"
    assert export(captions, "csv", "--output", str(path)) == DONE
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert export(captions, "csv", "--output", str(path)) == STOPPED
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left on device" in error
    assert path.read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == ["captions", "captions.csv", "photos"]


def test_a_damaged_file_of_captions_is_refused(captions: Storage, tmp_path: Path) -> None:
    entry = captions.files("captions")[0]
    captions.write(entry.name, b"x" * entry.size)
    with pytest.raises(RefusedError, match="cannot be exported: .*is not readable Parquet"):
        export(captions, "csv", "--output", str(tmp_path / "captions.csv"))
    assert not (tmp_path / "captions.csv").exists()


def test_refusals(captions: Storage, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="--to csv needs --output"):
        export(captions, "csv")
    with pytest.raises(RefusedError, match="invalid choice: 'xml'"):
        export(captions, "xml")
    with pytest.raises(RefusedError, match="--annotations /nowhere"):
        export(captions, "coco-results", "--output", "x", "--annotations", "/nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be written"):
        export(captions, "csv", "--output", str(tmp_path / "file" / "x.csv"))
    for flags in ([], ["--output", "x", "--beside", "y"]):
        with pytest.raises(RefusedError, match="--to sidecar needs --output, .* or --beside"):
            export(captions, "sidecar", *flags)
    with pytest.raises(RefusedError, match="--beside is for sidecars"):
        export(captions, "csv", "--output", "x", "--beside", "y")
