"""Sentences without images: the decoder reads them first, and photographs with few captions are given the nearest."""

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from beamscribe.errors import RefusedError
from beamscribe.storage import whole_files
from beamscribe.storage.uri import read_uri

BLOCK = 100
"""Images whose similarity to all sentences is in memory at once, 80 MB of float32 with 200,000 sentences."""

EVERYWHERE = 0.05
"""N-grams in more than this share of the sentences say nothing of what a sentence is about."""


class Sentences(NamedTuple):
    """Sentences in the order of their files.

    Attributes:
        texts: a sentence each.
        digest: of all of them.
    """

    texts: tuple[str, ...] = ()
    digest: str = ""


def read_sentences(uris: Sequence[str], options: dict[str, Any]) -> Sentences:
    """Reads text files with a sentence a line, as they are or with GZIP (told by the first bytes).

    Args:
        uris: paths or URIs.
        options: passed to fsspec for remote storage.

    Raises:
        RefusedError: if one cannot be read, is no UTF-8 text, or holds no sentence.
    """
    texts: list[str] = []
    for uri in uris:
        try:
            data = read_uri(uri, options)
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            found = [line.strip() for line in data.decode().splitlines() if line.strip()]
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise RefusedError(f"--texts {uri} cannot be read: {error}") from error
        if not found:
            raise RefusedError(f"--texts {uri} holds no sentence: give text files with a sentence a line")
        texts += found
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] if texts else ""
    return Sentences(tuple(texts), digest)


def nearest_once(
    captions: Sequence[Sequence[str]], sentences: Sentences, count: int, least: float, cache: str
) -> list[tuple[str, ...]]:
    """`nearest`, kept in a file of the local folder `cache` for the next run."""
    key = hashlib.sha256(json.dumps([captions, sentences.digest, count, least]).encode()).hexdigest()[:16]
    path = os.path.join(cache, f"nearest-{key}.json")
    if not os.path.exists(path):
        found = nearest(captions, sentences.texts, count, least)
        os.makedirs(cache, exist_ok=True)
        whole_files.replace(path, json.dumps(found, ensure_ascii=False).encode())
    with open(path, encoding="utf-8") as file:
        return [tuple(row) for row in json.load(file)]


def nearest(
    captions: Sequence[Sequence[str]], sentences: Sequence[str], count: int, least: float
) -> list[tuple[str, ...]]:
    """For each image the sentences that are most like what is said of it already.

    The similarity is the mean cosine, over the image's captions, of tf-idf weights of words and pairs of words: a
    sentence that shares the rare words of several captions is most probably true of the image as well.

    Args:
        captions: of each image.
        sentences: to choose from.
        count: sentences an image at most.
        least: similarity below which a sentence is not taken.

    Returns:
        For each image its sentences, the most similar first, no text twice.
    """
    if not sentences:
        return [()] * len(captions)
    distinct = list(dict.fromkeys(sentences))
    counts, columns = _counts(distinct, {})
    present = np.bincount(counts.indices, minlength=len(columns))
    rarity = np.log(len(distinct) / np.maximum(present, 1)).astype(np.float32)
    rarity[present > max(1.0, EVERYWHERE * len(distinct))] *= 0.0
    weighted = unit_rows(counts.multiply(rarity).tocsr())
    columns_of = weighted.T.tocsr()
    found: list[tuple[str, ...]] = []
    for start in range(0, len(captions), BLOCK):
        block = captions[start : start + BLOCK]
        texts = [text for row in block for text in row]
        own, _ = _counts(texts, columns, grow=False)
        own = unit_rows(own.multiply(rarity).tocsr())
        of = np.repeat(np.arange(len(block)), [len(row) for row in block])
        share = np.repeat([1 / max(1, len(row)) for row in block], [len(row) for row in block]).astype(np.float32)
        mean = scipy.sparse.csr_matrix((share, (of, np.arange(len(texts)))), (len(block), len(texts))) @ own
        similarity = (mean @ columns_of).toarray()
        best = np.argpartition(-similarity, min(count, similarity.shape[1] - 1), axis=1)[:, :count]
        for row, places in enumerate(best):
            ranked = sorted(places, key=lambda place: (-similarity[row, place], place))
            found.append(tuple(distinct[place] for place in ranked if similarity[row, place] >= least))
    return found


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def _counts(
    texts: Sequence[str], columns: dict[tuple[str, ...], int], grow: bool = True
) -> tuple[scipy.sparse.csr_matrix, dict[tuple[str, ...], int]]:
    """Counts of words and pairs of words (texts, n-grams), float32; `columns` says which column is whose."""
    indices: list[int] = []
    offsets = [0]
    for text in texts:
        words = _words(text)
        for ngram in [*zip(words, strict=True), *zip(words[:-1], words[1:], strict=True)]:
            column = columns.setdefault(ngram, len(columns)) if grow else columns.get(ngram)
            if column is not None:
                indices.append(column)
        offsets.append(len(indices))
    data = np.ones(len(indices), np.float32)
    counts = scipy.sparse.csr_matrix((data, indices, offsets), (len(texts), len(columns)))
    counts.sum_duplicates()
    return counts, columns


def unit_rows(rows: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Each row with length 1; empty rows stay so."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return scipy.sparse.diags_array(1 / np.maximum(lengths, 1e-9)).astype(np.float32) @ rows
