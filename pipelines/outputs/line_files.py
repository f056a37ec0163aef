"""Files of lines that an export writes: whole or not at all, and never over those of others."""

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.caption_lines import DURATION
from beamscribe.schemas.caption_json import ALL
from beamscribe.storage import whole_files
from beamscribe.storage.uri import filesystem, only_os_errors

BEGINNING = 4096
"""Bytes of a file that are looked at to tell whether an earlier export wrote it."""


def write_lines(uri: str, lines: Iterable[str], options: dict[str, Any]) -> None:
    """Writes a file of any size, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    fs, path = filesystem(uri, options)
    encoded = (line.encode() for line in lines)
    if isinstance(fs, LocalFileSystem):
        with whole_files.replacing(path) as file:
            file.writelines(encoded)
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "export")
        with open(temporary, "wb") as file:
            file.writelines(encoded)
        with only_os_errors():
            fs.put_file(temporary, path)


def refuse_foreign(uri: str, form: str, options: dict[str, Any], kept: Sequence[str] = ()) -> None:
    """Leaves files alone that an earlier export of this form did not write.

    Args:
        uri: of the file.
        form: of the export.
        options: for storage.
        kept: columns that the output has kept of its source.

    Raises:
        RefusedError: if there is one.
    """
    fs, path = filesystem(uri, options)
    with only_os_errors():
        if not fs.exists(path):
            return
        begun: Any = fs.cat_file(path, start=0, end=BEGINNING) if fs.isfile(path) else None
    if begun is None or not _is_ours(begun, form, kept):
        raise RefusedError(
            f"--output {uri} is there and no {form} that beamscribe export wrote: --replace writes over it, or name "
            "another file"
        )


def _is_ours(begun: bytes, form: str, kept: Sequence[str]) -> bool:
    if form == "csv":
        header = set(next(csv.reader([begun.split(b"\n", 1)[0].decode("utf-8", "replace").strip()]), []))
        return bool({"caption", "image_uri"} & header) and header <= {*ALL, DURATION, *kept}
    if form == "jsonl":
        return begun == b"" or begun.startswith(b'{"image_uri": ')
    return begun.startswith((b"[]\n", b'[{"image_id": '))
