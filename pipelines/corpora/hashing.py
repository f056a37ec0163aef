"""`--deduplicate`: images with equal bytes are put into one shard, so that one worker computes them once."""

import hashlib

from model.ahead import map_ahead
from model.uri import read_uri
from pipelines.corpora.corpus import Corpus
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References
from pipelines.images.reading import Reading

THREADS = 8


def grouped_by_content(corpus: Corpus, reading: Reading) -> Corpus:
    """The corpus with the digest of its bytes as each image's group, which decides on the shard.

    Reads every image, a second time before the job does. What cannot be read keeps its place; the job will say why.

    Args:
        corpus: images; records of containers keep their place too.
        reading: how to read them.
    """

    def grouped(reference: Reference) -> Reference:
        if reference.container:
            return reference
        try:
            data = read_uri(reference.to_read().uri, reading.storage_options, reading.allow_private, reading.max_bytes)
        except Exception:  # noqa: BLE001 - the job reads it again, and its failure row says why it cannot be
            return reference
        return reference._replace(group=hashlib.sha256(data).hexdigest())

    print(f"beamscribe: --deduplicate reads {len(corpus.references)} images now, and once more to caption them")
    references = References.of(map_ahead(grouped, corpus.references, THREADS, ahead=2 * THREADS))
    distinct = len({reference.group or reference.id for reference in references})
    print(f"beamscribe: {len(references) - distinct} of them equal another one")
    return corpus._replace(references=references)
