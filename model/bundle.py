"""The bundle: one folder that holds a trained captioner. Described here without loading TensorFlow.

config.json      sizes, backbone, decode policy, digests of the files below; written last
vocabulary.txt   one token a line, in the order of the ids
captioner.npz    weights as float16, one array a variable
backbone.…       the backbone's weights as they were given (absent when Keras downloads them or they are random)
backbone.int8.…  the backbone in int8, where beamscribe quantize made one
metrics.json     what training reached, measured with the rounded weights
README.md        the model card
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from beamscribe.model.backbone import quantized
from beamscribe.model.backbone.quantized import Quantized
from beamscribe.model.backbone.spec import BACKBONES, IMAGENET, RANDOM, BackboneSpec, ResolvedWeights
from beamscribe.model.bundle_files import read_bundle_file
from beamscribe.model.bundle_folder import is_leftover, write_folder
from beamscribe.model.description import (
    BACKBONE_FILES,
    CONFIG,
    VERSION,
    VOCABULARY,
    WEIGHTS,
    BundleError,
    captioner_config,
    parse_description,
)
from beamscribe.model.npz import ArraysError, read_arrays
from beamscribe.schemas.printable import printable
from beamscribe.storage.fetched import fetched
from beamscribe.storage.location import UriError, named_uri, shown
from beamscribe.storage.storage import Storage

__all__ = [
    "CONFIG",
    "METRICS",
    "MODEL_CARD",
    "VERSION",
    "VOCABULARY",
    "WEIGHTS",
    "Bundle",
    "BundleError",
    "backbone_file",
    "copy_bundle",
    "is_unfinished",
    "open_bundle",
    "write_bundle",
]

METRICS, MODEL_CARD = "metrics.json", "README.md"
CALIBRATION = "confidence.npz"
"""What makes a captioner's signals a confidence, see `beamscribe.model.confidence`; not every bundle has it."""

NAMES = (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    CALIBRATION,
    METRICS,
    MODEL_CARD,
    *BACKBONE_FILES,
    quantized.XML,
    quantized.WEIGHTS,
)
"""Names of all files that a bundle can have."""

NOTICE_LETTERS = 2000


def backbone_file(weights: str) -> str:
    """The bundle's name for a copy of backbone weights."""
    return next(name for name in BACKBONE_FILES if name == BACKBONE_FILES[-1] or weights.endswith(name[8:]))


@dataclass(frozen=True)
class Bundle:
    """A bundle as its `config.json` describes it.

    Attributes:
        path: local folder; of a remote bundle, where it was fetched to.
        config: the parsed `config.json`.
        options: passed to fsspec for the backbone's weights where they are remote.
    """

    path: str
    config: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def backbone(self) -> BackboneSpec:
        """The backbone that the captioner was trained on."""
        return BACKBONES[self.config["backbone"]["name"]]

    @property
    def backbone_weights(self) -> ResolvedWeights:
        """Its weights: the bundle's own copy where there is one."""
        entry = self.config["backbone"]
        if entry["file"]:
            return ResolvedWeights(f"{self.path}/{entry['file']}", entry["digest"])
        return ResolvedWeights(entry["weights"], entry["digest"], self.options if "://" in entry["weights"] else None)

    @property
    def notice(self) -> str:
        """What everyone who uses it must be told first, such as the terms of its training data; often empty.

        A stranger may have written it: it is safe to print.
        """
        return printable(self.config.get("notice", ""), lines=True, length=NOTICE_LETTERS)

    @property
    def captioner(self) -> dict[str, Any]:
        """Kind and sizes of the captioner, or of several that write together, as `model.ensemble.from_config` takes.

        Raises:
            BundleError: if no captioner can be built so.
        """
        return captioner_config(self.config, self.path)

    @property
    def longest_caption(self) -> int:
        """Tokens of a caption at most, without those of start and end, which have positions too.

        Raises:
            BundleError: if no captioner can be built so.
        """
        return self.captioner["config"]["max_length"] - 2

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the captioner's stored weights."""
        return self.config["files"][WEIGHTS]

    @property
    def vocabulary_digest(self) -> str:
        """SHA-256 of the vocabulary."""
        return self.config["files"][VOCABULARY]

    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids.

        Raises:
            BundleError: if they are no text.
        """
        try:
            return self._checked(VOCABULARY).decode().removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.path}/{VOCABULARY} is no text: train or copy the bundle again") from error

    def arrays(self) -> dict[str, np.ndarray]:
        """The captioner's weights by variable path, float16.

        Raises:
            BundleError: if they are damaged, or no numbers.
        """
        data = self._checked(WEIGHTS)
        try:
            # They are not compressed, so what they declare is there.
            found = read_arrays(data, limit_bytes=len(data))
        except ArraysError as error:
            raise BundleError(f"{self.path}/{WEIGHTS} is damaged: {error}: train or copy the bundle again") from error
        if wrong := [name for name, values in found.items() if not np.isfinite(values).all()]:
            raise BundleError(
                f"{self.path}/{WEIGHTS} is damaged: {wrong[0]} is not finite: train or copy the bundle again"
            )
        return found

    @property
    def is_quantized(self) -> bool:
        """Whether it holds the backbone in int8 as well."""
        return quantized.XML in self.config["files"]

    def quantized(self) -> Quantized | None:
        """The backbone in int8, if there is one."""
        if not self.is_quantized:
            return None
        return Quantized(self._checked(quantized.XML), self._checked(quantized.WEIGHTS))

    @property
    def quantized_digest(self) -> str:
        """Stands for the backbone in int8; empty if there is none."""
        names = (quantized.XML, quantized.WEIGHTS)
        joined = "".join(self.config["files"].get(name, "") for name in names)
        return hashlib.sha256(joined.encode()).hexdigest() if joined else ""

    def calibration(self) -> bytes | None:
        """What makes signals a confidence, if it is there."""
        return self._checked(CALIBRATION) if CALIBRATION in self.config["files"] else None

    @property
    def calibration_digest(self) -> str:
        """SHA-256 of the same; empty if there is none."""
        return self.config["files"].get(CALIBRATION, "")

    def contents(self) -> dict[str, bytes]:
        """All files by name but `config.json`, those without a digest too where they are there."""
        files = {name: self._checked(name) for name in self.config["files"]}
        for name in (METRICS, MODEL_CARD):
            with contextlib.suppress(BundleError):
                files[name] = read_bundle_file(self.path, name, {})
        return files

    def check(self) -> None:
        """Reads every file and compares its digest.

        Raises:
            BundleError: if one is missing or not as `config.json` says.
        """
        for name in self.config["files"]:
            self._checked(name)

    def _checked(self, name: str) -> bytes:
        data = read_bundle_file(self.path, name, {})
        if hashlib.sha256(data).hexdigest() != self.config["files"][name]:
            raise BundleError(f"{self.path}/{name} is not what config.json says: train or copy the bundle again")
        return data


def open_bundle(path: str, options: dict[str, Any] | None = None, named_by_file: bool = False) -> Bundle:
    """Reads a bundle's description; a remote bundle is fetched first.

    Args:
        path: local path or URI of the folder.
        options: passed to fsspec for remote storage.
        named_by_file: whether a file says where it is, such as an output's manifest, and not a command line.

    Raises:
        BundleError: if it is not a bundle that this Beamscribe can use.
    """
    if named_by_file:
        _check_named(path, path)
    remote = "://" in path
    path = path.rstrip("/") if remote else os.path.abspath(os.path.expanduser(path))
    data = read_bundle_file(path, CONFIG, options or {})
    bundle = Bundle(path, parse_description(data, path), options or {})
    backbone = bundle.config["backbone"]
    if not backbone["file"] and backbone["weights"] not in (IMAGENET, RANDOM):
        _check_named(backbone["weights"], path)
    if not remote:
        return bundle
    digests = {**bundle.config["files"], CONFIG: hashlib.sha256(data).hexdigest()}
    try:
        return replace(bundle, path=fetched(path, digests, options or {}))
    except OSError as error:
        raise BundleError(f"{path} cannot be fetched: {error}") from error


def _check_named(uri: str, path: str) -> None:
    """Looks at a URI that a file names.

    Raises:
        BundleError: if it is not read where it stands.
    """
    try:
        named_uri(uri, allow_http=False)
    except UriError as error:
        raise BundleError(f"{shown(path)} cannot be opened: {error}") from error


def copy_bundle(bundle: Bundle, output: Storage, folder: str) -> str:
    """Copies a bundle's files below a folder of an output, once; they are named by what they hold.

    Returns:
        The copy's URI.

    Raises:
        OSError: if it cannot be written.
    """
    config = read_bundle_file(bundle.path, CONFIG, {})
    copy = f"{folder}/{hashlib.sha256(config).hexdigest()[:16]}"
    if not output.exists(f"{copy}/{CONFIG}"):
        for name in bundle.config["files"]:
            output.write(f"{copy}/{name}", read_bundle_file(bundle.path, name, {}))
        output.write(f"{copy}/{CONFIG}", config)
    return output.uri(copy)


def write_bundle(path: str, files: dict[str, bytes], config: dict[str, Any]) -> Bundle:
    """Writes a bundle, which is there at once; over an earlier one file by file, so that a mixture has false digests.

    Args:
        path: local folder.
        files: contents by name, without `config.json`.
        config: everything of `config.json` but versions and digests.

    Returns:
        The bundle as read back.

    Raises:
        OSError: if it cannot be written.
    """
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in files if name not in (METRICS, MODEL_CARD)}
    described = {**config, "schema_version": VERSION, "files": digests}
    contents = {**files, CONFIG: (json.dumps(described, indent=2, sort_keys=True) + "\n").encode()}
    write_folder(path, contents, CONFIG, replaced=NAMES)
    return open_bundle(path)


def is_unfinished(path: str) -> bool:
    """Whether a folder holds only what a process that was killed had written of a bundle."""
    return is_leftover(path, NAMES, CONFIG, (WEIGHTS, *BACKBONE_FILES))
