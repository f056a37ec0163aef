"""What a job that wrote captions ends with: some of them, and what can be done with them next."""

import os
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.schemas.caption_row import FOLDER
from beamscribe.schemas.rows import ParquetRows
from beamscribe.storage.storage import Storage

SHOWN = 3
NAME_LETTERS = 24


class Sample(NamedTuple):
    """A photograph and its caption."""

    image_uri: str
    caption: str


def spread_out(count: int, wanted: int) -> list[int]:
    """Places of so many of a number of things, from the first to the last at equal distances."""
    if count <= wanted:
        return list(range(count))
    return [place * (count - 1) // max(1, wanted - 1) for place in range(wanted)]


def read_samples(output: Storage, rows: ParquetRows, wanted: int = SHOWN) -> list[Sample]:
    """Captions from committed files that stand far apart; no more files are read than captions are wanted.

    Raises:
        OSError: if one cannot be read.
        ValueError: if one is damaged.
    """
    names = sorted(entry.name for entry in output.files(FOLDER, ".parquet"))
    chosen = [names[place] for place in spread_out(len(names), wanted)]
    of_each: list[list[Sample]] = []
    for name in chosen:
        table = rows.read(output.read(name), name, ["image_uri", "caption"])
        uris, captions = table["image_uri"], table["caption"]
        places = spread_out(len(table), wanted)
        of_each.append([Sample(uris[place].as_py(), captions[place].as_py()) for place in places])
    found = [sample for samples in of_each for sample in samples]
    return [found[place] for place in spread_out(len(found), wanted)]


def closing_lines(samples: Sequence[Sample], output: str, has_page: bool = False) -> list[str]:
    """Captions with the names of their photographs, and the commands that make a page, a table and sound of them.

    Args:
        samples: to show.
        output: as it was typed.
        has_page: whether the page is written anyway.
    """
    names = [_short(os.path.basename(sample.image_uri.rstrip("/"))) for sample in samples]
    width = max(map(len, names), default=0)
    told = [f"  {name:<{width}}  {sample.caption}" for name, sample in zip(names, samples, strict=True)]
    where = output.rstrip("/") or output
    told.append("next:")
    told += [
        f"  {shlex.join(['beamscribe', *words])}"
        for words in (
            *(() if has_page else (("report", output, "--output", f"{where}-report.html"),)),
            ("export", output, "--to", "csv", "--output", f"{where}.csv"),
            ("speak", "--captions", output, "--output", f"{where}-speech"),
        )
    ]
    return told


def _short(name: str) -> str:
    return name if len(name) <= NAME_LETTERS else f"…{name[-NAME_LETTERS + 1 :]}"
