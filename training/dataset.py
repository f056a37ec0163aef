"""Images with captions, and what a model is given of each, in one memory-mapped file."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from beamscribe.errors import RefusedError
from beamscribe.model.examples import DamagedRecordError, decode_file
from beamscribe.model.feature_records import FeatureRecords
from beamscribe.model.views import WHOLE
from beamscribe.schemas.counted import counted
from beamscribe.schemas.feature_example import DTYPE, FeatureExample
from beamscribe.schemas.printable import printable
from beamscribe.schemas.table import NewerSchemaError
from beamscribe.storage import whole_files
from beamscribe.storage.output_reader import OutputReader, open_output
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import read_uri
from beamscribe.training.failures import why_empty

UNPACKED_VERSION = 6
"""The version of the unpacked files; raise it with any change to them, so that older ones are not read."""


class FeatureSet(NamedTuple):
    """Images with captions.

    Attributes:
        ids: of the images.
        uris: of the images.
        file_names: of the images, as their annotations give them.
        views: int (images,), which view of the photograph each is, see `beamscribe.model.views`.
        features: float16 (rows of the file, cells, channels), memory-mapped: the system's page cache keeps what fits.
            While a backbone is tuned, what its frozen layers give instead.
        places: int (images,), the row of each image in `features`.
        captions: raw texts of each image.
        grid: (rows, columns, channels).
        backbone: name of the backbone.
        weights: where the backbone's weights came from.
        weights_digest: of the backbone's weights.
        without_captions: images that were left out because nothing is said of them.
        sources: int (images,), which of the outputs that were read each image is from.
    """

    ids: tuple[str, ...]
    uris: tuple[str, ...]
    file_names: tuple[str, ...]
    views: np.ndarray
    features: np.ndarray
    places: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    grid: tuple[int, int, int]
    backbone: str
    weights: str
    weights_digest: str
    without_captions: int
    sources: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the model is given of one image: (cells, channels), see `features`."""
        return self.features.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Type of what the model is given."""
        return self.features.dtype

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What the model is given of some images: features, float16 (n, cells, channels)."""
        return self.features[self.places[images]]

    def select(self, images: np.ndarray) -> "FeatureSet":
        """These images alone."""
        return self._replace(
            ids=tuple(self.ids[image] for image in images),
            uris=tuple(self.uris[image] for image in images),
            file_names=tuple(self.file_names[image] for image in images),
            views=self.views[images],
            places=self.places[images],
            captions=tuple(self.captions[image] for image in images),
            sources=self.sources[images],
        )


def split(features: FeatureSet, held_out: float) -> tuple[FeatureSet, FeatureSet]:
    """Holds out a share of the images, by the digest of their ids: the same ones whatever else is there.

    Args:
        features: all images; those with equal ids (views of one photograph) stay together.
        held_out: share.

    Returns:
        Images to learn from, and images held out, each of these once.

    Raises:
        RefusedError: if one part would be empty.
    """
    digests = [hashlib.sha256(identifier.encode()).digest() for identifier in features.ids]
    out = np.array([int.from_bytes(digest[:8], "big") < held_out * 2**64 for digest in digests])
    _, first = np.unique(features.ids, return_index=True)
    held = np.array(sorted(image for image in first if out[image]), dtype=np.int64)
    if not len(held) or out.all():
        raise RefusedError(
            f"{counted(len(features.ids), 'image is', 'images are')} too few to hold out {held_out:.0%} "
            "of them: give --validation OUTPUT"
        )
    return features.select(np.flatnonzero(~out)), features.select(held)


def computed(source: FeatureSet, path: str, compute: Callable[[np.ndarray], np.ndarray], batch_size: int) -> FeatureSet:
    """The same images with something else computed of each, once.

    Args:
        source: images.
        path: of the file for what is computed, as float16; what is there already is used again.
        compute: from images of the source, int (n,), to float (n, …).
        batch_size: images that are computed together.
    """
    count = len(source.ids)
    if not os.path.exists(path):
        began = time.monotonic()
        with whole_files.replacing(path) as file:
            for start in range(0, count, batch_size):
                file.write(compute(np.arange(start, min(start + batch_size, count))).astype("<f2").tobytes())
        print(f"{counted(count, 'image')} in {time.monotonic() - began:.0f} s → {path}", flush=True)
    shape = compute(np.arange(1)).shape[1:]
    features = np.memmap(path, DTYPE, mode="r", shape=(count, *shape))
    return source._replace(features=features, places=np.arange(count))


def read_features(outputs: list[str], cache: str, options: dict[str, Any]) -> FeatureSet:
    """Unpacks outputs of featurize once into the cache, and opens it.

    Args:
        outputs: folders or URIs that featurize wrote.
        cache: local folder; what is there already for the same files is used again.
        options: passed to fsspec for remote storage.

    Raises:
        RefusedError: if an output is none, is empty or damaged, or two are of different backbones.
    """
    readers = [_open(Storage(output, options)) for output in outputs]
    first = readers[0].manifest.details
    for output, reader in zip(outputs, readers, strict=True):
        if (other := reader.manifest.details) != first:
            raise RefusedError(
                f"{output} holds features of {other['backbone']} with weights {other['weights']}, "
                f"{outputs[0]} of {first['backbone']} with {first['weights']}: featurize both with the same backbone"
            )
    try:
        files = [
            (
                reader.output.uri(file.name),
                file.size,
                int(reader.manifest.fingerprint.fields.get("view", WHOLE)),
                reader.manifest.kept_fingerprints,
                number,
            )
            for number, reader in enumerate(readers)
            for file in reader.files()
        ]
        if not files:
            raise RefusedError(f"{' '.join(outputs)} holds no features: {why_empty(readers[0].output)}")
    except OSError as error:
        raise RefusedError(f"{' '.join(outputs)} cannot be listed: {error}") from error
    key = hashlib.sha256(json.dumps([UNPACKED_VERSION, files]).encode()).hexdigest()[:16]
    stem = os.path.join(cache, key)
    if not os.path.exists(f"{stem}.json"):
        os.makedirs(cache, exist_ok=True)
        _unpack([(uri, view, kept, number) for uri, _, view, kept, number in files], stem, options)
    with open(f"{stem}.json", encoding="utf-8") as file:
        found = json.load(file)
    if not found["ids"]:
        raise RefusedError(f"{' '.join(outputs)} holds no image with a caption: featurize annotations with captions")
    rows, columns, channels = found["grid"]
    shape = (len(found["ids"]), rows * columns, channels)
    return FeatureSet(
        ids=tuple(found["ids"]),
        uris=tuple(found["uris"]),
        file_names=tuple(found["file_names"]),
        views=np.array(found["views"]),
        features=np.memmap(f"{stem}.{DTYPE}", DTYPE, mode="r", shape=shape),
        places=np.arange(len(found["ids"])),
        captions=tuple(tuple(captions) for captions in found["captions"]),
        grid=(rows, columns, channels),
        backbone=first["backbone"],
        weights=first["weights"],
        weights_digest=first["weights_digest"],
        without_captions=found["without_captions"],
        sources=np.array(found["sources"]),
    )


def _open(output: Storage) -> OutputReader[FeatureRecords]:
    try:
        found = open_output(output, FeatureRecords())
    except RefusedError as error:
        raise RefusedError(f"{output.root} is not an output of beamscribe featurize: {error}") from error
    if found.manifest.job != "featurize":
        raise RefusedError(f"{output.root} is an output of beamscribe {found.manifest.job}, not of featurize")
    return found


def _unpack(files: list[tuple[str, int, list[str], int]], stem: str, options: dict[str, Any]) -> None:
    """Writes `stem.float16` and, when that is whole, `stem.json`.

    Args:
        files: URI, view, digests of the settings whose records count, and the output's number, of each.
        stem: local path without suffixes.
        options: passed to fsspec for remote storage.

    Raises:
        RefusedError: if a file cannot be read, or holds what cannot be learned from.
        OSError: if nothing can be written.
    """
    columns: dict[str, list[Any]] = {"ids": [], "uris": [], "file_names": [], "captions": [], "views": []}
    columns["sources"] = []
    grid: tuple[int, int, int] | None = None
    without = 0
    odd: list[str] = []
    with open(f"{stem}.{DTYPE}", "wb") as features:
        for uri, view, kept, source in files:
            for example in _examples(uri, options):
                # Records of settings that are being replaced wait for their end.
                if example.fingerprint not in kept:
                    continue
                if not example.captions:
                    without += 1
                    continue
                if grid not in (None, example.shape) or min(example.shape) < 1:
                    raise RefusedError(f"{uri} holds features of {example.shape}, other files of {grid}")
                # One of them would make the loss of every batch that it is in no number.
                if not np.isfinite(np.frombuffer(example.features, "<f2")).all():
                    odd.append(example.id)
                    continue
                grid = example.shape
                values = (example.id, example.uri, example.file_name, example.captions, view, source)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                features.write(example.features)
    if odd:
        print(
            f"beamscribe train: {counted(len(odd), 'image is', 'images are')} left out, whose features are "
            f"not finite, such as {printable(odd[0], length=100)}",
            flush=True,
        )
    found = {**columns, "grid": grid or (0, 0, 0), "without_captions": without}
    whole_files.replace(f"{stem}.json", json.dumps(found, ensure_ascii=False).encode())


def _examples(uri: str, options: dict[str, Any]) -> Iterator[FeatureExample]:
    try:
        yield from decode_file(read_uri(uri, options), uri)
    except (OSError, DamagedRecordError, NewerSchemaError) as error:
        raise RefusedError(f"{uri} cannot be read: {error}") from error
