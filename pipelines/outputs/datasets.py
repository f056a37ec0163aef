"""Captions together with their photographs, as data that training programs stream: WebDataset tars, or Parquet.

One file for each committed file of captions, in their order. Each is written whole or not at all, and a record after
it says what it holds: an export that was stopped goes on where it was, and one that lacked photographs tries them.
"""

import functools
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from beamscribe.errors import RefusedError
from beamscribe.model.image_formats import suffix_of
from beamscribe.pipelines.images.read_ahead import read_width
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.outputs.captions import Captions, rows_by_file
from beamscribe.pipelines.outputs.report.pictures import MissingPictureError, PictureReading, read_photograph
from beamscribe.pipelines.sources.asked import asked_items
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import sample_tar
from beamscribe.schemas.caption_json import Row, json_lines
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.storage import Storage

WEBDATASET, HF = "webdataset", "hf"

RECORDS = "_beamscribe"
CLAIM = f"{RECORDS}/export.json"

_OWN = re.compile(r"[0-9]{5,}\.tar|data/train-[0-9]{5,}-of-[0-9]{5,}\.parquet|_beamscribe/[0-9]{5,}\.json")
"""Names that an export gives, and may take away again."""


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        samples: photographs with their captions.
        files: that hold them.
        left_out: captions whose photograph cannot be had, by reason.
    """

    samples: int
    files: int
    left_out: Counter[str]


class Sample(NamedTuple):
    """A photograph and its row."""

    data: bytes
    row: Row


def write_dataset(
    captioned: Captions,
    form: str,
    folder: str,
    reading: PictureReading,
    replace: bool = False,
    least: float = 0.0,
) -> Exported:
    """Writes captions with their photographs.

    Args:
        captioned: output of beamscribe caption.
        form: `WEBDATASET` or `HF`.
        folder: path or URI.
        reading: where and how to find photographs; they must be those that were captioned.
        replace: whether another export in the folder is written over.
        least: confidence of a caption that is taken.

    Raises:
        RefusedError: if the folder holds something else.
        ValueError: if a file of captions is damaged.
        OSError: if a file cannot be read or written.
    """
    storage = Storage(folder, reading.storage_options)
    _claim(storage, {"form": form, "captions": captioned.output.uri()}, replace)
    digests = [_digest(rows) for rows in rows_by_file(captioned, least) if rows]
    name_of: Callable[[int], str] = (
        (lambda number: f"{number:05}.tar")
        if form == WEBDATASET
        else (lambda number: f"data/train-{number:05}-of-{len(digests):05}.parquet")
    )
    encode = _as_tar if form == WEBDATASET else functools.partial(_as_parquet, captioned.format.schema)
    members = functools.cache(lambda: _members(captioned.output))
    samples, files, left_out = 0, 0, Counter[str]()
    for number, rows in enumerate(rows for rows in rows_by_file(captioned, least) if rows):
        name, record = name_of(number), f"{RECORDS}/{number:05}.json"
        done = _done(storage, record, name, digests[number])
        if done is None:
            found = list(_samples(rows, reading, members))
            good = [one for one in found if isinstance(one, Sample)]
            data = encode(good, number)
            storage.write(name, data)
            left = Counter(one for one in found if isinstance(one, str))
            done = {"file": name, "size": len(data), "of": digests[number], "samples": len(good), "left_out": left}
            storage.write(record, json.dumps(done).encode())
        samples, files = samples + done["samples"], files + 1
        left_out.update(done["left_out"])
    wanted = {name_of(number) for number in range(files)} | {f"{RECORDS}/{number:05}.json" for number in range(files)}
    for entry in [entry for folder in ("", "data", RECORDS) for entry in storage.files(folder)]:
        if _OWN.fullmatch(entry.name) and entry.name not in wanted:
            storage.delete(entry.name)
    return Exported(samples, files, left_out)


def _claim(storage: Storage, claim: Mapping[str, str], replace: bool) -> None:
    """Makes sure that a folder is empty, or that of this export.

    Raises:
        RefusedError: if it is not.
    """
    if storage.is_file():
        raise RefusedError(f"--output {storage.root} is a file: --to {claim['form']} needs a folder")
    try:
        found = json.loads(storage.read(CLAIM))
    except FileNotFoundError:
        found = None
    except ValueError:
        found = {}
    if found == claim:
        return
    empty = not any(storage.files(folder) for folder in ("", "data", RECORDS))
    if not (replace or (found is None and empty)):
        raise RefusedError(
            f"--output {storage.uri()} holds other files than this export's: --replace writes over another export, or "
            "name another folder"
        )
    storage.write(CLAIM, json.dumps(claim).encode())


def _digest(rows: Sequence[Row]) -> str:
    """A digest of everything that a file is made of."""
    digest = hashlib.blake2b(digest_size=16)
    for line in json_lines(rows):
        digest.update(line.encode())
    return digest.hexdigest()


def _done(storage: Storage, record: str, name: str, digest: str) -> dict[str, Any] | None:
    """The record of a file that is there as it should be; None: it is to be written."""
    try:
        found = json.loads(storage.read(record))
        there = (found["file"], found["of"], found["left_out"]) == (name, digest, {})
        size = {entry.name: entry.size for entry in storage.files(name.rpartition("/")[0])}.get(name)
        return found if there and size == found["size"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _members(output: Storage) -> dict[str, WorkItem]:
    """The images that a job read from files of many, by id."""
    return {one.id: one for one in asked_items(output) if one.member}


def _samples(
    rows: Sequence[Row], reading: PictureReading, members: Callable[[], Mapping[str, WorkItem]]
) -> Iterator[Sample | str]:
    """Photographs in the order of their rows; why there is none, for those that cannot be had."""

    def sample(row: Row) -> Sample | str:
        fields: dict[str, Any] = {field: row.get(field) for field in CaptionRow._fields}
        named = CaptionRow(**fields)
        member = members().get(row["id"]) if "::" in row["image_uri"] else None
        try:
            return Sample(read_photograph(named, reading, member), row)
        except MissingPictureError as error:
            return str(error)

    places = [WorkItem("", row["image_uri"].partition("::")[0]) for row in rows]
    width = read_width(places, Reading(reading.storage_options))
    return prefetch(sample, rows, width, 2 * width)


def _as_tar(samples: Sequence[Sample], number: int) -> bytes:
    """A tar as WebDataset reads it."""
    return sample_tar.encode(
        sample_tar.sample(f"{number:05}{place:06}", suffix_of(data), data, row)
        for place, (data, row) in enumerate(samples)
    )


def _as_parquet(captions: pa.Schema, samples: Sequence[Sample], number: int) -> bytes:
    """A table as the library `datasets` loads it: a column of images beside those of the captions."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([pa.field("image", image), *captions])
    features = {"image": {"_type": "Image"}} | {field.name: _feature(field.type) for field in captions}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    rows = [
        {**row, "image": {"bytes": data, "path": f"{number:05}{place:06}.{suffix_of(data)}"}}
        for place, (data, row) in enumerate(samples)
    ]
    buffer = io.BytesIO()
    # Viewers and shuffling readers take a row group at a time, and photographs are large.
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd", row_group_size=100)
    return buffer.getvalue()


def _feature(dtype: pa.DataType) -> Any:
    """A type as `datasets` writes it."""
    if pa.types.is_list(dtype):
        return [_feature(dtype.value_type)]
    if pa.types.is_large_list(dtype):
        return {"feature": _feature(dtype.value_type), "_type": "LargeList"}
    if pa.types.is_struct(dtype):
        return {field.name: _feature(field.type) for field in dtype}
    names = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}
    return {"dtype": names.get(str(dtype), str(dtype)), "_type": "Value"}
