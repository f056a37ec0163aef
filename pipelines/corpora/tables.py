"""Parquet and Arrow tables whose rows hold images."""

import functools
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpora.opened import LOCK, OPEN_CONTAINERS, UnreadableMemberError, Where
from pipelines.corpora.reference import Member


def read_parquet_row(where: Where, member: Member) -> bytes:
    """The image of a row of a Parquet file."""
    with LOCK:
        return _image_bytes(_row_group(where, member.start, member.detail)[member.size])


@functools.lru_cache(2)
def _row_group(where: Where, group: int, column: str) -> pa.ChunkedArray:
    return _parquet(where).read_row_group(group, columns=[column]).column(0)


@functools.lru_cache(OPEN_CONTAINERS)
def _parquet(where: Where) -> pq.ParquetFile:
    return pq.ParquetFile(where.open())


def read_arrow_row(where: Where, member: Member) -> bytes:
    """The image of a row of an Arrow file."""
    with LOCK:
        return _image_bytes(_arrow(where).column(member.detail)[member.start])


@functools.lru_cache(1)
def _arrow(where: Where) -> pa.Table:
    return read_arrow(where.open())


def read_arrow(file: IO[bytes]) -> pa.Table:
    """An Arrow file, or a stream as Hugging Face `datasets` keeps them."""
    try:
        return pa.ipc.open_file(file).read_all()
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file).read_all()


def _image_bytes(value: pa.Scalar) -> bytes:
    """A binary value, or the `bytes` of a struct of bytes and path."""
    found = value.as_py()
    if isinstance(found, dict):
        found = found["bytes"]
    if found is None:
        raise UnreadableMemberError("this row holds no image")
    return found
