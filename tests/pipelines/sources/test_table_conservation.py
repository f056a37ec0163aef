"""Every row of a table is an item or a repeat, whatever stands in it; an image that is read is that of its row."""

import contextlib
import csv
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources import manifests
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.manifests import read_manifests
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.sources.table_process import TableProcess
from beamscribe.pipelines.work.work_item import UNREADABLE

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8)
URIS = st.sampled_from(
    [
        "a.jpg",
        "b c.jpg",
        "ü/ö.png",
        "s3://b/k",
        "HTTP://x.org/1",
        "htp://x/1",
        "zip://a::b://c",
        "http://u:p@x/",
        "",
        "[",
        "~",
    ]
)
NAMED = st.lists(st.tuples(URIS | TEXT | st.none(), st.booleans()), min_size=1, max_size=12)
HELD = st.lists(
    st.none() | st.fixed_dictionaries({"bytes": st.none() | st.binary(max_size=6), "path": st.none() | URIS}),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module", autouse=True)
def one_process():
    """Listings share a process: there are many of them."""
    with pytest.MonkeyPatch.context() as patch, TableProcess() as process:
        patch.setattr(manifests, "TableProcess", lambda: contextlib.nullcontext(process))
        yield


def listed(path):
    corpus = read_manifests([str(path)], Columns(), {})
    assert len(corpus.references) + corpus.repeated + sum(corpus.skipped.values()) == corpus.listed
    return corpus


def write_named(path, rows):
    """Rows of a URI and an id, in the format of the name."""
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([("uri", "id"), *((uri or "", id or "") for uri, id in rows)])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"uri": uri, "id": id}) + "\n" for uri, id in rows))
    else:
        table = pa.table({"uri": pa.array([row[0] for row in rows], pa.string()), "id": [row[1] for row in rows]})
        pq.write_table(table, path, row_group_size=3)


@settings(max_examples=EXAMPLES, deadline=None)
@given(NAMED, st.sampled_from(["t.csv", "t.jsonl", "t.parquet"]))
def test_rows_that_name_images(rows, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_named(path, [(uri, f"id {number}" if has_id else None) for number, (uri, has_id) in enumerate(rows)])
        corpus = listed(path)
        assert corpus.listed == len(rows)
        # A row that fails keeps its id.
        ids = {one.id for one in corpus.references}
        assert {f"id {number}" for number, (_, has_id) in enumerate(rows) if has_id} <= ids


@settings(max_examples=EXAMPLES, deadline=None)
@given(HELD, st.sampled_from(["t.parquet", "t.arrow", "t.stream.arrow"]), st.integers(1, 4), st.booleans())
def test_rows_that_hold_images(rows, name, group, dictionary):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        table = pa.table({"image": pa.array(rows, STRUCT)})
        if path.suffix == ".parquet":
            pq.write_table(table, path, row_group_size=group, use_dictionary=dictionary)
        else:
            with (pa.ipc.new_stream if "stream" in name else pa.ipc.new_file)(str(path), table.schema) as writer:
                writer.write_table(table, max_chunksize=group)
        corpus = listed(path)
        assert corpus.listed == len(rows)
        held = {
            f"file://{path}::{number}": row["bytes"]
            for number, row in enumerate(rows)
            if row is not None and row["bytes"] is not None
        }
        found = {one.id: read_reference(one, {}) for one in corpus.references if one.container and _is_held(one)}
        assert found == held


def _is_held(reference):
    return reference.member is not None and reference.member.kind != UNREADABLE
