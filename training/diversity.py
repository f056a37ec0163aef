"""How much captions differ from each other, and what they never say."""

from collections import Counter
from collections.abc import Iterable, Sequence

from beamscribe.schemas.evaluation import Diversity, MissingWord

SHOWN_WORDS = 20
"""Words never produced that are named."""


def measure_diversity(captions: Sequence[str], tokenized: Iterable[str], references: Iterable[str]) -> Diversity:
    """Measures one set of captions.

    Args:
        captions: at least one, as written.
        tokenized: the same captions, as the metrics see them.
        references: tokenised, of all images.
    """
    lengths, said = [], set()
    for text in tokenized:
        words = text.split()
        lengths.append(len(words))
        said.update(words)
    wanted = Counter(word for text in references for word in text.split())
    missing = [MissingWord(word, count) for word, count in wanted.items() if word not in said]
    missing.sort(key=lambda item: (-item.references, item.word))
    caption, count = Counter(captions).most_common(1)[0]
    return Diversity(
        distinct_captions=len(set(captions)),
        mean_words=sum(lengths) / len(lengths),
        most_frequent_caption=caption,
        most_frequent_share=count / len(captions),
        reference_words=len(wanted),
        words_never_produced=len(missing),
        missing_words=tuple(missing[:SHOWN_WORDS]),
    )
