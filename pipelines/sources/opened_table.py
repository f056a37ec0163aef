"""Opens a table as what its name says that it is."""

from beamscribe.pipelines.sources.arrow_table import ArrowTable
from beamscribe.pipelines.sources.parquet_table import ParquetTable
from beamscribe.pipelines.sources.tables import ARROW_SUFFIXES, Source


def open_table(source: str | Source, name: str, size: int) -> ParquetTable | ArrowTable:
    """A table: Arrow if its name says so, else Parquet.

    Args:
        source: a local path, or what reads a file.
        name: of the file.
        size: in bytes.
    """
    return (ArrowTable if name.lower().endswith(ARROW_SUFFIXES) else ParquetTable)(source, size)
