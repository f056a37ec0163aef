"""URLs without the queries that sign them: asked for as they are, stored without."""

from collections.abc import Iterator

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.storage.location import without_query


def strip_queries(corpus: Corpus) -> Corpus:
    """Takes the queries out of what is stored of each image on the web: its URI, and its id where that is the URI.

    Raises:
        RefusedError: if two images differ in nothing else.
    """
    references = WorkItems.of(map(_stripped, corpus.references))
    if len(references.ids.unique()) < len(references):
        twice = next(_repeated(references))
        raise RefusedError(
            f"--strip-query: {twice} is there with several queries, and without them it is one image: leave the flag "
            "out, or give ids of their own (--id-column)"
        )
    return corpus._replace(references=references)


def _stripped(reference: WorkItem) -> WorkItem:
    file = reference.container or reference.uri
    kept = without_query(file)
    if kept == file:
        return reference
    uri = kept + reference.uri.removeprefix(file)
    id = kept + reference.id.removeprefix(file) if reference.id.startswith(file) else reference.id
    container = kept if reference.container else ""
    return reference._replace(id=id, uri=uri, container=container, query=file.removeprefix(kept))


def _repeated(references: WorkItems) -> Iterator[str]:
    seen: set[str] = set()
    for reference in references:
        if reference.id in seen:
            yield reference.id
        seen.add(reference.id)
