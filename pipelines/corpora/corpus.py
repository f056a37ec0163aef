"""References: what a corpus names."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from schemas.coco import CocoCaption

IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a directory that count as images, in any case; a glob or a manifest may name any file."""


class Member(NamedTuple):
    """Where an image is inside a file that holds many.

    Attributes:
        kind: how to read it, one of the constants below.
        place: its turn in the file.
        start: first byte (tar), number in the directory (zip), row group or batch (tables).
        size: bytes (tar), row in the group or batch (tables).
        detail: column (tables), or why it cannot be read (unreadable).
    """

    kind: str
    place: int
    start: int = 0
    size: int = 0
    detail: str = ""


TAR, INFLATED_TAR, ZIP, PARQUET, ARROW, UNREADABLE = "tar", "inflated tar", "zip", "parquet", "arrow", "unreadable"


class Reference(NamedTuple):
    """One image that the corpus names.

    Attributes:
        id: COCO image id, else the manifest's id, else the canonical absolute URI.
        uri: where the image is; `container::member` inside a file that holds many.
        file_name: as in the annotations, if there are any.
        captions: what is already said of it.
        text: what is to be spoken.
        container: the file that holds the item, where many share one; such items are read in order.
        member: where in that file; None for records of featurize, which are told by their ids.
        group: references of one group share a shard; empty: each stands for itself.
    """

    id: str
    uri: str
    file_name: str = ""
    captions: tuple[CocoCaption, ...] = ()
    text: str = ""
    container: str = ""
    group: str = ""
    member: Member | None = None


class Corpus(NamedTuple):
    """A listing: distinct references, and what was not taken.

    Attributes:
        references: distinct by id, in the order found.
        repeated: references beyond the first of their id.
        skipped: files of a directory that are no images by their suffix.
    """

    references: tuple[Reference, ...]
    repeated: int = 0
    skipped: int = 0


def distinct(references: Iterable[Reference], limit: int | None = None, skipped: int = 0) -> Corpus:
    """Keeps the first reference of each id, `limit` of them at most."""
    kept: dict[str, Reference] = {}
    repeated = 0
    for reference in references:
        if reference.id in kept:
            repeated += 1
        elif limit is None or len(kept) < limit:
            kept[reference.id] = reference
    return Corpus(tuple(kept.values()), repeated, skipped)


def sampled(corpus: Corpus, size: int | None) -> Corpus:
    """So many references that the digests of their ids choose: the same after every restart; all without a size."""
    if size is None or size >= len(corpus.references):
        return corpus
    digests = [hashlib.blake2b(reference.id.encode(), digest_size=8).digest() for reference in corpus.references]
    chosen = sorted(sorted(range(len(digests)), key=digests.__getitem__)[:size])
    return corpus._replace(references=tuple(corpus.references[index] for index in chosen))
