"""Features of one or more outputs as arrays: features in one memory-mapped file, captions as tokens."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import fsspec
import numpy as np

from model.examples import DamagedRecordError, decode_file
from model.tokenizer import PAD, Tokenizer
from schemas import feature_example, manifest
from schemas.command import RefusedError
from schemas.feature_example import DTYPE
from schemas.manifest import Manifest, ManifestError
from schemas.table import NewerSchemaError


class FeatureSet(NamedTuple):
    """Images with captions.

    Attributes:
        ids: of the images.
        features: float16 (images, cells, channels), memory-mapped: the system's page cache keeps what fits.
        captions: raw texts of each image.
        grid: (rows, columns, channels).
        backbone: name of the backbone.
        weights: where the backbone's weights came from.
        weights_digest: of the backbone's weights.
        without_captions: images that were left out because nothing is said of them.
    """

    ids: tuple[str, ...]
    features: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    grid: tuple[int, int, int]
    backbone: str
    weights: str
    weights_digest: str
    without_captions: int


def read_features(outputs: list[str], cache: str, options: dict[str, Any]) -> FeatureSet:
    """Unpacks outputs of featurize once into the cache, and opens it.

    Args:
        outputs: folders or URIs that featurize wrote.
        cache: local folder; what is there already for the same files is used again.
        options: passed to fsspec for remote storage.

    Raises:
        RefusedError: if an output is none, is empty or damaged, or two are of different backbones.
    """
    manifests = [_manifest(output, options) for output in outputs]
    first = manifests[0].details
    for output, other in zip(outputs, manifests, strict=True):
        if other.details != first:
            raise RefusedError(
                f"{output} holds features of {other.details['backbone']} with weights {other.details['weights']}, "
                f"{outputs[0]} of {first['backbone']} with {first['weights']}: featurize both with the same backbone"
            )
    files = [file for output in outputs for file in _files(output, options)]
    if not files:
        raise RefusedError(f"{' '.join(outputs)} holds no features: run beamscribe featurize to its end")
    key = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    stem = os.path.join(cache, key)
    if not os.path.exists(f"{stem}.json"):
        os.makedirs(cache, exist_ok=True)
        _unpack([uri for uri, _ in files], stem, options)
    with open(f"{stem}.json", encoding="utf-8") as file:
        found = json.load(file)
    if not found["ids"]:
        raise RefusedError(f"{' '.join(outputs)} holds no image with a caption: featurize annotations with captions")
    rows, columns, channels = found["grid"]
    shape = (len(found["ids"]), rows * columns, channels)
    return FeatureSet(
        ids=tuple(found["ids"]),
        features=np.memmap(f"{stem}.{DTYPE}", DTYPE, mode="r", shape=shape),
        captions=tuple(tuple(captions) for captions in found["captions"]),
        grid=(rows, columns, channels),
        backbone=first["backbone"],
        weights=first["weights"],
        weights_digest=first["weights_digest"],
        without_captions=found["without_captions"],
    )


def _manifest(output: str, options: dict[str, Any]) -> Manifest:
    uri = f"{output.rstrip('/')}/{manifest.FOLDER}/{manifest.FILE}"
    try:
        with fsspec.open(uri, "rb", **(options if "://" in uri else {})) as file:
            found = Manifest.from_json(file.read(), uri)
    except (OSError, ManifestError, NewerSchemaError) as error:
        raise RefusedError(f"{output} is not an output of beamscribe featurize: {error}") from error
    if found.job != "featurize":
        raise RefusedError(f"{output} is an output of beamscribe {found.job}, not of featurize")
    return found


def _files(output: str, options: dict[str, Any]) -> list[tuple[str, int]]:
    """URI and size of each features file, by name."""
    fs, path = fsspec.core.url_to_fs(output, **(options if "://" in output else {}))
    found = fs.glob(f"{path}/{feature_example.FOLDER}/*.tfrecord.gz", detail=True)
    return [(fs.unstrip_protocol(name), found[name]["size"]) for name in sorted(found)]


def _unpack(uris: list[str], stem: str, options: dict[str, Any]) -> None:
    """Writes `stem.float16` and, when that is whole, `stem.json`."""
    ids: list[str] = []
    captions: list[tuple[str, ...]] = []
    grid: tuple[int, int, int] | None = None
    without = 0
    with open(f"{stem}.{DTYPE}", "wb") as values:
        for uri in uris:
            try:
                with fsspec.open(uri, "rb", **(options if not uri.startswith("file://") else {})) as file:
                    data = file.read()
                for example in decode_file(data, uri):
                    if not example.captions:
                        without += 1
                        continue
                    if grid not in (None, example.shape):
                        raise RefusedError(f"{uri} holds features of {example.shape}, other files of {grid}")
                    grid = example.shape
                    ids.append(example.id)
                    captions.append(example.captions)
                    values.write(example.features)
            except (OSError, DamagedRecordError, NewerSchemaError) as error:
                raise RefusedError(f"{uri} cannot be read: {error}") from error
    found = {"ids": ids, "captions": captions, "grid": grid or (0, 0, 0), "without_captions": without}
    with open(f"{stem}.json.tmp", "w", encoding="utf-8") as file:
        json.dump(found, file, ensure_ascii=False)
    os.replace(f"{stem}.json.tmp", f"{stem}.json")


class TokenSet(NamedTuple):
    """Captions of a `FeatureSet` as tokens.

    Attributes:
        rows: int32 (captions, length), all captions one after another.
        offsets: int (images + 1,), where each image's captions begin.
    """

    rows: np.ndarray
    offsets: np.ndarray


def tokenize(features: FeatureSet, tokenizer: Tokenizer, length: int) -> TokenSet:
    """Tokenises every caption once."""
    counts = [len(captions) for captions in features.captions]
    texts = [text for captions in features.captions for text in captions]
    return TokenSet(tokenizer.tokenize(texts, length), np.concatenate([[0], np.cumsum(counts)]))


class Material(NamedTuple):
    """What a training run works on.

    Attributes:
        training: images to learn from.
        training_tokens: their captions.
        validation: images to stop by.
        validation_tokens: their captions.
        tokenizer: learned from the training captions.
    """

    training: FeatureSet
    training_tokens: TokenSet
    validation: FeatureSet
    validation_tokens: TokenSet
    tokenizer: Tokenizer


Batch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]
"""((features (batch, cells, channels), tokens in (batch, captions, length - 1)), tokens wanted of the same shape)."""


def _batch(
    features: FeatureSet, tokens: TokenSet, images: np.ndarray, chosen: list[np.ndarray], size: int, captions: int
) -> Batch:
    """A batch of one shape for ever; places without an image or a caption are padding, which no loss counts."""
    rows = np.full((size, captions, tokens.rows.shape[1]), PAD, np.int32)
    for place, indices in enumerate(chosen):
        rows[place, : len(indices)] = tokens.rows[indices]
    grids = np.zeros((size, *features.features.shape[1:]), DTYPE)
    grids[: len(images)] = features.features[images]
    return (grids, rows[:, :, :-1]), rows[:, :, 1:]


def training_batches(
    features: FeatureSet, tokens: TokenSet, batch_size: int, captions: int, seed: int, first_epoch: int
) -> Iterator[Batch]:
    """Batches without end, in an order that depends on the seed and the epoch alone, so that a resumed run repeats it.

    Args:
        features: the images.
        tokens: their captions.
        batch_size: images a batch; what does not fill one is left for another epoch's order.
        captions: of an image in a batch, sampled where it has more.
        seed: of the order.
        first_epoch: where to begin.
    """
    size = min(batch_size, len(features.ids))
    epoch = first_epoch
    while True:
        random = np.random.default_rng((seed, epoch))
        order = random.permutation(len(features.ids))
        for start in range(0, len(order) - size + 1, size):
            # Sorted within a batch: a memory-mapped file is read faster forwards.
            images = np.sort(order[start : start + size])
            chosen = [
                random.permutation(np.arange(tokens.offsets[image], tokens.offsets[image + 1]))[:captions]
                for image in images
            ]
            yield _batch(features, tokens, images, chosen, size, captions)
        epoch += 1


def validation_batches(features: FeatureSet, tokens: TokenSet, batch_size: int, captions: int) -> Iterator[Batch]:
    """Every image once, with its first `captions` captions, in order; the last batch is padded."""
    size = min(batch_size, len(features.ids))
    for start in range(0, len(features.ids), size):
        images = np.arange(start, min(start + size, len(features.ids)))
        chosen = [
            np.arange(tokens.offsets[image], min(tokens.offsets[image + 1], tokens.offsets[image] + captions))
            for image in images
        ]
        yield _batch(features, tokens, images, chosen, size, captions)
