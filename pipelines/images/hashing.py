"""`--deduplicate`: images with equal bytes are put into one shard, so that one worker computes them once."""

import hashlib

from beamscribe.pipelines.images.read_ahead import read_width
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.counted import counted
from beamscribe.storage.prefetch import prefetch
from beamscribe.storage.uri import read_uri


def grouped_by_content(corpus: Corpus, reading: Reading) -> Corpus:
    """The corpus with the digest of its bytes as each image's group, which decides on the shard.

    Reads every image, a second time before the job does. What cannot be read keeps its place; the job will say why.

    Args:
        corpus: images; records of containers keep their place too.
        reading: how to read them.
    """

    def grouped(reference: WorkItem) -> WorkItem:
        if reference.container:
            return reference
        try:
            data = read_uri(reference.to_read().uri, reading.storage_options, reading.allow_private, reading.max_bytes)
        except Exception:  # noqa: BLE001 - the job reads it again, and its failure row says why it cannot be
            return reference
        return reference._replace(group=hashlib.sha256(data).hexdigest())

    print(
        f"beamscribe: --deduplicate reads {counted(len(corpus.references), 'image')} now, and once more to caption them"
    )
    threads = read_width((reference for reference in corpus.references if not reference.container), reading)
    references = WorkItems.of(prefetch(grouped, corpus.references, threads, ahead=2 * threads))
    distinct = len({reference.group or reference.id for reference in references})
    print(f"beamscribe: {len(references) - distinct} of them equal another one")
    return corpus._replace(references=references)
