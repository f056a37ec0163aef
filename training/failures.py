"""Why an output of featurize holds nothing: its failure rows, counted."""

import io
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.schemas import failure_row
from beamscribe.schemas.printable import printable
from beamscribe.storage.storage import Storage


def why_empty(output: Storage) -> str:
    """What to say of an output without features, and how to mend it.

    Raises:
        OSError: if it cannot be listed.
    """
    reasons: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for file in output.files(failure_row.FOLDER, ".parquet"):
        try:
            columns = ["stage", "error_type", "message"]
            rows = pq.ParquetFile(io.BytesIO(output.read(file.name))).read(columns=columns).to_pylist()
        except (OSError, ValueError, pa.ArrowException):
            continue
        for row in rows:
            reason = (str(row["stage"]), str(row["error_type"]))
            reasons[reason] += 1
            example.setdefault(reason, str(row["message"]))
    if not reasons:
        return "run beamscribe featurize to its end"
    (stage, error_type), count = reasons.most_common(1)[0]
    return printable(
        f"{'its only image has' if reasons.total() == 1 else f'all its {reasons.total():,} images have'} failed, "
        f"{count:,} of them with {stage}: {error_type} "
        f"({example[stage, error_type]}): mend that, and run beamscribe featurize again with --retry-failed",
        length=600,
    )
