"""Manifests of text: a URI a line, CSV, or JSON; a line that is wrong costs only itself."""

from collections.abc import Callable, Iterable, Iterator
from typing import IO

from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.csv_rows import DELIMITERS, csv_rows
from beamscribe.pipelines.sources.json_rows import json_lines, json_rows, json_values
from beamscribe.pipelines.sources.text_lines import Named, checked, lines_of

LINES_SUFFIXES = (".jsonl", ".ndjson")
JSON_SUFFIX = ".json"
CSV_SUFFIX, TSV_SUFFIXES = ".csv", (".tsv", ".tab")


def read_rows(
    file: IO[bytes],
    name: str,
    columns: Columns,
    see_names: Callable[[Iterable[str]], None] = lambda names: None,
) -> Iterator[Named]:
    """What a text, CSV or JSON file names; the suffix of its name says which one it is.

    Args:
        file: from its beginning.
        name: of it.
        columns: what the user says.
        see_names: is told the names of columns.

    Raises:
        ValueError: if it cannot be read, or has rows and none of them can be used.
    """
    name = name.lower()
    lines = lines_of(file)
    if name.endswith((CSV_SUFFIX, *TSV_SUFFIXES)):
        return csv_rows(lines, columns, "\t" if name.endswith(TSV_SUFFIXES) else DELIMITERS, see_names)
    if name.endswith(LINES_SUFFIXES):
        return json_rows(json_lines(lines), columns, see_names)
    if name.endswith(JSON_SUFFIX):
        return json_rows(json_values(lines), columns, see_names)
    return (checked(Named(line.text.strip(), place=f"line {line.number}")) for line in lines if line.text.strip())
