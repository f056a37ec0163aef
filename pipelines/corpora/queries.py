"""URLs without the queries that sign them: asked for as they are, stored without."""

from collections.abc import Iterator

from model.location import without_query
from pipelines.corpora.corpus import Corpus
from pipelines.corpora.reference import Reference
from pipelines.corpora.references import References
from schemas.command import RefusedError


def strip_queries(corpus: Corpus) -> Corpus:
    """Takes the queries out of what is stored of each image on the web: its URI, and its id where that is the URI.

    Raises:
        RefusedError: if two images differ in nothing else.
    """
    references = References.of(map(_stripped, corpus.references))
    if len(references.ids.unique()) < len(references):
        twice = next(_repeated(references))
        raise RefusedError(
            f"--strip-query: {twice} is there with several queries, and without them it is one image: leave the flag "
            "out, or give ids of their own (--id-column)"
        )
    return corpus._replace(references=references)


def _stripped(reference: Reference) -> Reference:
    file = reference.container or reference.uri
    kept = without_query(file)
    if kept == file:
        return reference
    uri = kept + reference.uri.removeprefix(file)
    id = kept + reference.id.removeprefix(file) if reference.id.startswith(file) else reference.id
    container = kept if reference.container else ""
    return reference._replace(id=id, uri=uri, container=container, query=file.removeprefix(kept))


def _repeated(references: References) -> Iterator[str]:
    seen: set[str] = set()
    for reference in references:
        if reference.id in seen:
            yield reference.id
        seen.add(reference.id)
