"""A corpus: what a job was asked to do, each image once."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipelines.commits.shards import bucket
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References

IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a directory that count as images, in any case; a glob or a manifest may name any file."""


class Corpus(NamedTuple):
    """A listing: distinct references, and what was not taken.

    Attributes:
        references: distinct by id, in the order found.
        repeated: references beyond the first of their id.
        skipped: files of a directory that are no images by their suffix.
    """

    references: References
    repeated: int = 0
    skipped: int = 0


def distinct(references: Iterable[Reference], limit: int | None = None) -> Corpus:
    """Keeps the first reference of each id, `limit` of them at most."""
    found = References.of(references if limit is None else _of_first_ids(references, limit))
    # Numbers count distinct ids in the order in which they first come, so a new one is above all before it.
    numbers = found.ids.dictionary_encode().indices.to_numpy()
    highest = np.maximum.accumulate(numbers)
    first = np.flatnonzero(np.diff(highest, prepend=-1))
    return Corpus(found if len(first) == len(found) else found.take(first), len(found) - len(first))


def _of_first_ids(references: Iterable[Reference], limit: int) -> Iterator[Reference]:
    """References of the first so many ids."""
    ids: set[str] = set()
    for reference in references:
        if reference.id in ids or len(ids) < limit:
            ids.add(reference.id)
            yield reference


def sampled(corpus: Corpus, size: int | None) -> Corpus:
    """So many references that the digests of their ids choose: the same after every restart; all without a size."""
    if size is None or size >= len(corpus.references):
        return corpus
    digests = (bucket(reference.id, 2**64) for reference in corpus.references)
    order = np.argsort(np.fromiter(digests, np.uint64, len(corpus.references)), kind="stable")
    return corpus._replace(references=corpus.references.take(np.sort(order[:size])))
