"""Rows of scores to Parquet and back."""

import io

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.schemas import score_row
from beamscribe.schemas.score_row import ScoreRow
from beamscribe.schemas.table import schema_version, to_table

SCORES = st.floats(0, 10)
ROWS = st.builds(
    ScoreRow,
    id=st.text(),
    file_name=st.text(),
    image_uri=st.text(),
    caption=st.text(),
    references=st.lists(st.text(), max_size=3).map(tuple),
    bleu_4=SCORES,
    meteor=SCORES,
    rouge_l=SCORES,
    cider=SCORES,
)


@settings(deadline=None)
@given(st.lists(ROWS, max_size=4))
def test_rows_come_back(rows: list[ScoreRow]) -> None:
    file = io.BytesIO()
    pq.write_table(to_table(rows, score_row.SCHEMA), file)
    table = pq.read_table(io.BytesIO(file.getvalue()))
    found = [ScoreRow(**row | {"references": tuple(row["references"])}) for row in table.to_pylist()]
    assert found == rows
    assert schema_version(table.schema) == score_row.VERSION


def test_columns_are_the_fields_in_order_each_described_and_never_null() -> None:
    assert tuple(score_row.SCHEMA.names) == ScoreRow._fields
    assert all(field.metadata[b"description"] and not field.nullable for field in score_row.SCHEMA)
