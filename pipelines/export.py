"""`beamscribe export`: captions in the forms that other programs read."""

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from fsspec.implementations.local import LocalFileSystem

from model.storage import Storage
from model.uri import filesystem, read_uri
from pipelines.flags.export import parser
from pipelines.report.caption_output import open_captions
from schemas import caption_row
from schemas.coco import CocoError, parse_coco
from schemas.command import DONE, RefusedError

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
"""A description as photograph managers read it from a file beside the photograph (XMP, ISO 16684-1)."""

Row = dict[str, Any]


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Comma-separated lines with a header; lists are JSON (RFC 4180, UTF-8)."""
    names = caption_row.SCHEMA.names
    yield _csv_line(names)
    for row in rows:
        fields = _plain(row)
        yield _csv_line(
            [
                json.dumps(fields[name], ensure_ascii=False) if isinstance(fields[name], list) else fields[name]
                for name in names
            ]
        )


def _csv_line(fields: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(fields)
    return buffer.getvalue()


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object a line, with every field."""
    for row in rows:
        yield json.dumps(_plain(row), ensure_ascii=False) + "\n"


def _plain(row: Row) -> Row:
    return {**row, "run_started": row["run_started"].isoformat()}


def coco_results(rows: Iterable[Row], ids: dict[str, int | None]) -> Iterator[str]:
    """The results file of COCO's captioning task: a JSON array of `image_id` and `caption`.

    Args:
        rows: of captions.
        ids: COCO image ids by file name; None where two images have the same.

    Raises:
        RefusedError: for a row whose COCO image id is not known.
    """
    before = "["
    for row in rows:
        yield before + json.dumps({"image_id": _coco_id(row, ids), "caption": row["caption"]}, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[" else "]\n"


def _coco_id(row: Row, ids: dict[str, int | None]) -> int:
    if row["id"].isascii() and row["id"].isdigit():
        return int(row["id"])
    found = ids.get(row["image_uri"].rsplit("/", 1)[-1])
    if found is None:
        raise RefusedError(
            f"the COCO image id of {row['image_uri']} is not known: --annotations gives the ids of file names"
        )
    return found


def ids_by_name(uri: str | None, options: dict[str, Any]) -> dict[str, int | None]:
    """COCO image ids by the base name of their file; None where two images have the same.

    Raises:
        RefusedError: if the annotations cannot be read.
    """
    if uri is None:
        return {}
    try:
        images = parse_coco(read_uri(uri, options)).images
    except (OSError, CocoError) as error:
        raise RefusedError(f"--annotations {uri}: {error}") from error
    found: dict[str, int | None] = {}
    for image in images:
        name = image.file_name.rsplit("/", 1)[-1]
        found[name] = None if name in found else image.id
    return found


def sidecar_names(uris: Sequence[str], suffix: str) -> dict[str, str]:
    """The URI of each photograph's sidecar: `photo.txt`, or `photo.jpg.txt` where two would share the shorter name."""
    shorter = {uri: os.path.splitext(uri)[0] for uri in uris}
    taken: dict[str, int] = {}
    for name in shorter.values():
        taken[name] = taken.get(name, 0) + 1
    return {uri: f"{name if taken[name] == 1 else uri}.{suffix}" for uri, name in shorter.items()}


def write_sidecars(texts: dict[str, str], kind: str, output: str | None, replace: bool, options: dict[str, Any]) -> int:
    """Writes a file for each photograph.

    Args:
        texts: photograph's URI → caption.
        kind: of `SIDECARS`.
        output: folder for them, laid out as the photographs are below the folder they share; None: beside them.
        replace: whether a sidecar that says something else is written over.
        options: for storage.

    Returns:
        How many were left as they were because they say something else.

    Raises:
        OSError: if one cannot be written.
    """
    names = sidecar_names(list(texts), kind)
    shared = os.path.commonpath([os.path.dirname(uri) for uri in names]) if output and names else ""
    left = 0
    for uri, text in texts.items():
        place = names[uri] if output is None else os.path.join(output, os.path.relpath(names[uri], shared))
        content = (XMP.format(escape(text)) if kind == "xmp" else text + "\n").encode()
        folder, name = place.rsplit("/", 1)
        storage = Storage(folder, options)
        if storage.exists(name) and not replace:
            left += storage.read(name) != content
        else:
            storage.write(name, content)
    return left


def write_lines(uri: str, lines: Iterable[str], options: dict[str, Any]) -> None:
    """Writes a file of any size, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    fs, path = filesystem(uri, options)
    local = isinstance(fs, LocalFileSystem)
    with contextlib.ExitStack() as undo:
        # In the same folder, so that renaming it is all there is left to do.
        folder = os.path.dirname(path) if local else undo.enter_context(tempfile.TemporaryDirectory())
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".export.{os.getpid()}.tmp")
        undo.callback(_forget, temporary)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        if local:
            os.replace(temporary, path)
        else:
            fs.put_file(temporary, path)


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


LINES: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {"csv": csv_lines, "jsonl": json_lines}


def run(argv: Sequence[str]) -> int:
    """Exports the captions of an output.

    Returns:
        0.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours = parser().parse_strictly(argv)
    options = ours.storage_options
    if ours.to != "sidecar" and not ours.output:
        raise RefusedError(f"--to {ours.to} needs --output, the file to write")
    captioned = open_captions(ours.captions, options)
    ids = ids_by_name(ours.annotations, options)
    count = left = 0

    def rows() -> Iterator[Row]:
        nonlocal count
        for row in (row for rows in captioned.files() for row in rows):
            count += 1
            yield row

    try:
        if ours.to == "sidecar":
            texts = {row["image_uri"]: row["caption"] for row in rows()}
            left = write_sidecars(texts, ours.sidecar, ours.output, ours.replace, options)
        else:
            lines = coco_results(rows(), ids) if ours.to == "coco-results" else LINES[ours.to](rows())
            write_lines(ours.output, lines, options)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{ours.captions} cannot be exported: {error}") from error
    where = ours.output or "beside the photographs"
    kept = f", {left} left as they were, since they say something else (--replace writes over them)" if left else ""
    print(f"beamscribe export: {count} captions as {ours.to}{kept} → {where}")
    return DONE
