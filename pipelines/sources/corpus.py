"""A corpus: what a job was asked to do, each image once, and the count of everything that its sources name."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.kept_rows import KeptRows
from beamscribe.pipelines.work.container import Container
from beamscribe.pipelines.work.shards import bucket
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".apng", ".gif", ".webp", ".avif", ".avifs", ".bmp", ".dib", ".tif", ".tiff"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
    *(".heic", ".heif", ".hif"),
)
"""Files of a directory that count as images, in any case: what `model.images` decodes, and HEIF, of which it says what
is missing. A glob or a manifest may name any file."""


NO_IMAGE_SUFFIX = "no image suffix"
BEYOND_LIMIT = "beyond --limit"
NOT_SAMPLED = "not in --sample"
"""Reasons for which a job leaves out what its sources name."""


class Skipped(NamedTuple):
    """What a source names and a job leaves out.

    Attributes:
        reason: in a few words, which are counted together: the same words for the same reason.
        count: of files, members or rows.
    """

    reason: str
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls on this


class Corpus(NamedTuple):
    """A listing. What its sources name is exactly references + repeated + skipped, which `listed` counts on its own.

    Attributes:
        references: distinct by id, in the order found; of containers whose members nobody has listed, none.
        repeated: references beyond the first of their id.
        skipped: what was left out, counted by reason.
        listed: everything that the sources name.
        containers: that workers go through; their members count when they are known.
        kept: columns of the sources that are kept, where there are any.
    """

    references: WorkItems
    repeated: int = 0
    skipped: Mapping[str, int] = {}
    listed: int = 0
    containers: tuple[Container, ...] = ()
    kept: KeptRows | None = None


def distinct(
    found: Iterable[WorkItem | Skipped],
    limit: int | None = None,
    source: str = "the corpus",
    remedy: str = "give each an id of its own, or --id-column '' makes each URI the id",
    rename: Callable[[WorkItems], WorkItems] = lambda references: references,
) -> Corpus:
    """Keeps the first reference of each id, `limit` of them at most, and counts all that is found.

    Args:
        found: the listing.
        limit: of ids; what comes after the first so many is skipped.
        source: what was listed, for people.
        remedy: what to do where an id is not one image's.
        rename: gives ids of their own to what is no repeat.

    Raises:
        RefusedError: if two of an id have different URIs: then neither is a repeat of the other.
    """
    skipped: Counter[str] = Counter()
    listed = 0

    def references() -> Iterator[WorkItem]:
        nonlocal listed
        for one in found:
            if isinstance(one, WorkItem):
                listed += 1
                yield one
            else:
                listed += one.count
                skipped[one.reason] += one.count

    packed = rename(WorkItems.of(references() if limit is None else _of_first_ids(references(), limit, skipped)))
    first, again, earlier = packed.repeats()
    uris, earlier_uris = packed.uris(again), packed.uris(earlier)
    if len(others := np.flatnonzero(pc.not_equal(uris, earlier_uris))):  # pyright: ignore[reportAttributeAccessIssue]
        place = int(others[0])
        raise RefusedError(
            f"{source} gives the id {packed[again[place]].id} to different images, {earlier_uris[place]} and "
            f"{uris[place]}{f' ({len(others):,} such references)' if len(others) > 1 else ''}: {remedy}"
        )
    kept = packed if len(first) == len(packed) else packed.take(first)
    return Corpus(kept, len(again), dict(skipped), listed)


def _of_first_ids(references: Iterable[WorkItem], limit: int, skipped: Counter[str]) -> Iterator[WorkItem]:
    """Work items of the first so many ids; counts the others."""
    ids: set[str] = set()
    for reference in references:
        if reference.id in ids or len(ids) < limit:
            ids.add(reference.id)
            yield reference
        else:
            skipped[BEYOND_LIMIT] += 1


def sampled(corpus: Corpus, size: int | None) -> Corpus:
    """So many references that the digests of their ids choose: the same after every restart; all without a size."""
    if size is None or size >= len(corpus.references):
        return corpus
    digests = (bucket(reference.id, 2**64) for reference in corpus.references)
    order = np.argsort(np.fromiter(digests, np.uint64, len(corpus.references)), kind="stable")
    skipped = {**corpus.skipped, NOT_SAMPLED: len(corpus.references) - size}
    return corpus._replace(references=corpus.references.take(np.sort(order[:size])), skipped=skipped)
