"""Damaged tables of every format: what is read is a row as it was, or a problem; nothing crashes, hangs or grows.

`BEAMSCRIBE_EXAMPLES=1000` damages ten times as many files.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.text_tables import read_rows

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
LONGEST_SECONDS = 10
"""For all rows of a file. One that takes longer is read once more: a busy machine is no hang."""
MAX_BYTES = 2**20
ANY = Columns()


def picture(seed):
    """A PNG, whose checksums tell what is damaged."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(6)]
TRUE = {hashlib.sha256(Image.open(io.BytesIO(data)).tobytes()).digest() for data in PICTURES}


def write_parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2, write_page_checksum=True, **options)
    return sink.getvalue()


def write_ipc(table, new, compression):
    sink = io.BytesIO()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def tables():
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    ids = pa.array([f"id-{number}" for number in range(6)])
    structs = pa.array([{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(PICTURES)], kind)
    for table in (
        pa.table({"id": ids, "image": pa.array(PICTURES)}),
        pa.table({"image": structs}),
        pa.table({"image": pa.array(PICTURES).dictionary_encode(), "id": pa.array(range(6))}),
        pa.table({"image": pa.array([[one] for one in structs.to_pylist()], pa.list_(kind))}),
        pa.table({"url": [f"{number}.png" for number in range(6)], "id": ids.dictionary_encode()}),
    ):
        yield "t.parquet", write_parquet(table, compression="zstd")
        yield "t.parquet", write_parquet(table, compression="none", use_dictionary=False, data_page_version="2.0")
        for compression in (None, "lz4"):
            yield "t.arrow", write_ipc(table, pa.ipc.new_stream, compression)
            yield "t.arrow", write_ipc(table, pa.ipc.new_file, compression)
    yield "t.arrow", write_ipc(pa.table({"image": pa.array(PICTURES, pa.binary_view())}), pa.ipc.new_file, None)


def footer_rows(path):
    metadata = pq.read_metadata(path)
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def damaged(data, chance):
    """Some bytes changed, a number put in, a piece cut, doubled or moved."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
        place = chance.randrange(max(1, len(data)))
        kind = chance.randrange(6)
        if kind <= 1:
            data[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            number = chance.choice((0, 1, -1, 127, 255, 2**15, 2**31 - 1, -(2**31), 2**40, -(2**63), 2**63 - 1))
            packed = (number % 2**64).to_bytes(8, "little")[: chance.choice((1, 4, 8))]
            place -= place % 4
            data[place : place + len(packed)] = packed
        elif kind == 3:
            data[place : place + chance.randrange(1, 64)] = b""
        elif kind == 4:
            data[place:place] = data[place : place + chance.randrange(1, 64)]
        else:
            other = chance.randrange(max(1, len(data)))
            data[place : place + 16] = data[other : other + 16]
    return bytes(data)


def check_image(data):
    """Pixels that can be decoded are those of a true row."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = image.convert("RGB").tobytes() if image.size == (8, 8) else None
    except (OSError, ValueError, SyntaxError):
        return
    assert pixels is not None
    assert hashlib.sha256(pixels).digest() in TRUE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t.parquet", "t.arrow"])
def test_damaged_tables(tmp_path, kind):
    whole = [(name, data) for name, data in tables() if name == kind]
    chance = random.Random(7)
    read = 0
    said = []
    with TableProcess() as listing, TableProcess() as process:
        for number in range(4 * EXAMPLES):
            name, data = whole[number % len(whole)]
            path = tmp_path / f"{number}{name}"
            path.write_bytes(damaged(data, chance))
            begun = time.monotonic()
            rows, problem = read_table(listing, process, path)
            if time.monotonic() - begun > LONGEST_SECONDS:
                with TableProcess() as other_listing, TableProcess() as other_process:
                    begun = time.monotonic()
                    read_table(other_listing, other_process, path)
                    assert time.monotonic() - begun < LONGEST_SECONDS, number
            read += rows
            said.append(problem)
            path.unlink()
    assert read > EXAMPLES
    assert any(said)
    assert not any("\n" in message for message in said)


def read_table(listing, process, path):
    """Lists a table and reads its images: how many there are, and what is said of a table that cannot be read."""
    where = Where(str(path), "{}", False)
    try:
        parts = list(listing.rows(where, ANY, MAX_BYTES))
        if path.suffix == ".parquet":
            # Whatever its pages are like, the footer says how many rows there are.
            with contextlib.suppress(pa.ArrowException, OSError):
                assert sum(one.rows for one in parts[1:]) == sum(footer_rows(path))
        for one in parts[1:]:
            assert one.rows == len(one.names or range(one.rows)) == len(one.ids or range(one.rows))
        return read_parts(process, where, parts), ""
    except TableError as error:
        return 0, str(error)


def read_parts(process, where, parts):
    """Reads the images of a listing; how many there are."""
    column, *parts = parts
    read = 0
    for part in parts:
        for row in range(min(part.rows, 10)):
            if part.damage or row in part.problems or (part.names and part.names[row] is not None):
                continue
            try:
                check_image(process.row(where, part.group, part.first + row, column.name, MAX_BYTES))
                read += 1
            except UnreadableMemberError:
                continue
    return read


ROWS = [{"url": f"photo {number}.jpg", "id": str(number), "note": 'a "b", c'} for number in range(20)]
TEXTS = {
    "l.csv": "url,id,note\n" + "".join(f'{row["url"]},{row["id"]},"a ""b"", c"\n' for row in ROWS),
    "l.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "l.json": json.dumps(ROWS),
    "l.tsv": "url\tid\n" + "".join(f"{row['url']}\t{row['id']}\n" for row in ROWS),
}


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_texts(name):
    chance = random.Random(8)
    read = 0
    for number in range(5 * EXAMPLES):
        data = damaged(TEXTS[name].encode("utf-16" if number % 5 == 0 else "utf-8"), chance)
        begun = time.monotonic()
        try:
            rows = list(read_rows(io.BytesIO(data), name, ANY))
        except ValueError:
            continue
        assert time.monotonic() - begun < LONGEST_SECONDS
        read += sum(not row.problem for row in rows)
    assert read > EXAMPLES
