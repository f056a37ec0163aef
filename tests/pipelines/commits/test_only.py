"""Files of some of their rows: what a replaced commit keeps of images that were not done again."""

import io

import pyarrow.parquet as pq
import pytest

from beamscribe.model.feature_records import FeatureRecords
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.schemas.rows import ParquetRows, RowFormat
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS, caption, references, run_of

EXAMPLES = [
    FeatureExample(id, "", f"u{id}", "", 1, 1, (), bytes(8), (1, 2, 2), ("A cat.",), (7,), "f", "") for id in "abc"
]


@pytest.mark.parametrize("form", [ROWS, FeatureRecords()], ids=["parquet", "tfrecord"])
def test_the_rows_of_some_ids_alone(form: RowFormat, local: Storage) -> None:
    rows = (
        EXAMPLES
        if isinstance(form, FeatureRecords)
        else [caption(one, "oil", run_of(local)) for one in references(*"abc")]
    )
    data = form.encode(rows)
    kept, expected = form.only(data, "x", {"a", "c", "z"}), form.encode([rows[0], rows[2]])
    assert form.read_keys(kept, "x") == form.read_keys(expected, "x")
    if isinstance(form, ParquetRows):
        assert form.read(kept, "x") == form.read(expected, "x")
    else:
        assert kept == expected
    with pytest.raises(ValueError, match="x "):
        form.only(data[:-9], "x", {"a"})


def test_columns_of_another_version_stay(local: Storage) -> None:
    table = pq.read_table(io.BytesIO(ROWS.encode([caption(one, "oil", run_of(local)) for one in references(*"ab")])))
    older = io.BytesIO()
    pq.write_table(table.drop_columns(["flags"]), older)
    kept = pq.read_table(io.BytesIO(ROWS.only(older.getvalue(), "x", {"b"})))
    assert kept == table.drop_columns(["flags"]).slice(1)
