"""Tars of captioned images as programs for training stream them, in the form of WebDataset.

A sample is members that follow each other and share what is before the first dot of their names: the image file as it
was read, its caption as text, and its row as JSON.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from beamscribe.schemas.caption_json import Row, json_lines

FOLDER, SUFFIX = "webdataset", ".tar"
TEXT, JSON = "txt", "json"
SHOWN = 3
"""Ids that a message names."""


class Sample(NamedTuple):
    """An image with its caption.

    Attributes:
        key: of its members; without a dot.
        suffix: of the image file, without a dot.
        image: the file.
        text: its caption, UTF-8.
        row: a JSON object, UTF-8.
    """

    key: str
    suffix: str
    image: bytes
    text: bytes
    row: bytes


def tar_of(stem: str) -> str:
    """The tar of a commit, below the output; see `beamscribe.storage.committed.stem_of`."""
    return f"{FOLDER}/{stem}{SUFFIX}"


def key_of(id: str) -> str:
    """A key that no other id has and that is the same in every run: ids may hold dots and slashes."""
    return hashlib.blake2b(id.encode(), digest_size=16).hexdigest()


def sample(key: str, suffix: str, image: bytes, row: Row) -> Sample:
    """The sample of a row."""
    return Sample(key, suffix, image, row["caption"].encode(), next(json_lines([row])).encode())


def encode(samples: Iterable[Sample]) -> bytes:
    """Samples as the bytes of one tar, taken one by one. Without times and owners equal samples are equal bytes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, suffix, image, text, row in samples:
            for name, part in ((suffix, image), (TEXT, text), (JSON, row)):
                tar.addfile(_info(f"{key}.{name}", len(part)), io.BytesIO(part))
    return file.getvalue()


def decode(data: bytes, name: str) -> Iterator[tuple[str, Sample]]:
    """The samples of a tar, each with the id of its row.

    Args:
        data: the tar.
        name: of it, for people.

    Raises:
        ValueError: if it is damaged, or is not as `encode` writes it.
    """
    try:
        parts: list[tuple[str, str, bytes]] = []
        for member, part in _members(data):
            key, _, suffix = member.partition(".")
            parts.append((key, suffix, part))
            if len(parts) == 3:
                yield _sample(parts)
                parts = []
        if parts:
            raise ValueError(f"{parts[0][0]} is no whole sample")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is no tar of Beamscribe, or is damaged: {error}") from error


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and bytes. Headers are compared whole with those that are written: tarfile takes many others too."""
    place = 0
    while (header := data[place : place + tarfile.BLOCKSIZE]).strip(b"\0"):
        name, size = header[:100].rstrip(b"\0").decode("ascii"), int(header[124:135], 8)
        place += tarfile.BLOCKSIZE
        if header != _info(name, size).tobuf(tarfile.USTAR_FORMAT) or place + size > len(data):
            raise ValueError(f"{name} is no whole file")
        yield name, data[place : place + size]
        place += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    if len(data) % tarfile.RECORDSIZE or len(data) < place + 2 * tarfile.BLOCKSIZE or data[place:].strip(b"\0"):
        raise ValueError("it has another end")


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _sample(parts: Sequence[tuple[str, str, bytes]]) -> tuple[str, Sample]:
    (key, suffix, image), (_, second, text), (_, third, row) = parts
    if {one[0] for one in parts} != {key} or (second, third) != (TEXT, JSON):
        raise ValueError(f"{key} is no whole sample")
    id = json.loads(row)["id"]
    if not isinstance(id, str):
        raise ValueError(f"{key} has no id")
    return id, Sample(key, suffix, image, text, row)


def only(data: bytes, name: str, ids: Collection[str]) -> bytes:
    """A tar with the samples of some ids alone.

    Raises:
        ValueError: if it is damaged.
    """
    return encode(one for id, one in decode(data, name) if id in ids)


class Captioned(NamedTuple):
    """What a row says of its sample."""

    id: str
    sha256: str
    caption: str


def differences(data: bytes, name: str, rows: Iterable[Captioned]) -> list[str]:
    """What of a tar is not as the rows beside it say, a line each.

    Args:
        data: the tar.
        name: of it, for people.
        rows: of its twin.

    Raises:
        ValueError: if the tar is damaged.
    """
    wanted = {row.id: row for row in rows}
    found: set[str] = set()
    wrong: dict[str, list[str]] = {}

    def note(what: str, id: str) -> None:
        wrong.setdefault(what, []).append(id)

    for id, one in decode(data, name):
        row = wanted.get(id)
        if id in found:
            note("more than one sample", id)
        elif row is None:
            note("a sample, but no row,", id)
        elif one.key != key_of(id):
            note("a sample under another name", id)
        elif hashlib.sha256(one.image).hexdigest() != row.sha256:
            note("another image than its row", id)
        elif one.text != row.caption.encode() or json.loads(one.row).get("caption") != row.caption:
            note("another caption than its row", id)
        found.add(id)
    for id in wanted.keys() - found:
        note("no sample", id)
    return [f"{name} has {what} of {_named(ids)}" for what, ids in wrong.items()]


def _named(ids: list[str]) -> str:
    ids = sorted(ids)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{', '.join(ids[:SHOWN])}{more}"
