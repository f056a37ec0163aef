"""The bundle: one folder that holds a trained captioner. Described here without loading TensorFlow.

config.json      sizes, backbone, decode policy, digests of the files below; written last
vocabulary.txt   one token a line, in the order of the ids
captioner.npz    weights as float16, one array a variable
backbone.…       the backbone's weights as they were given (absent when Keras downloads them or they are random)
metrics.json     what training reached, measured with the rounded weights
README.md        the model card
"""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np

from model.backbone.spec import BACKBONES, BackboneSpec, ResolvedWeights
from schemas.table import NewerSchemaError, check_version

VERSION = 1
CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocabulary.txt", "captioner.npz"
METRICS, MODEL_CARD = "metrics.json", "README.md"


def backbone_file(weights: str) -> str:
    """The bundle's name for a copy of backbone weights; the format is read off the suffix."""
    suffixes = (".weights.h5", ".npz")
    return "backbone" + next((suffix for suffix in suffixes if weights.endswith(suffix)), ".h5")


class BundleError(ValueError):
    """A folder that is no bundle, or a damaged one; the message says what, where and how to mend."""


@dataclass(frozen=True)
class Bundle:
    """A bundle as its `config.json` describes it.

    Attributes:
        path: local path or URI of the folder.
        config: the parsed `config.json`.
    """

    path: str
    config: dict[str, Any]

    @property
    def backbone(self) -> BackboneSpec:
        """The backbone that the captioner was trained on."""
        return BACKBONES[self.config["backbone"]["name"]]

    @property
    def backbone_weights(self) -> ResolvedWeights:
        """Its weights: the bundle's own copy where there is one."""
        entry = self.config["backbone"]
        source = f"{self.path}/{entry['file']}" if entry["file"] else entry["weights"]
        return ResolvedWeights(source, entry["digest"])

    @property
    def notice(self) -> str:
        """What everyone who uses it must be told first, such as the terms of its training data; often empty."""
        return self.config.get("notice", "")

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the captioner's stored weights."""
        return self.config["files"][WEIGHTS]

    @property
    def vocabulary_digest(self) -> str:
        """SHA-256 of the vocabulary."""
        return self.config["files"][VOCABULARY]

    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids."""
        return self._checked(VOCABULARY).decode().removesuffix("\n").split("\n")

    def arrays(self) -> dict[str, np.ndarray]:
        """The captioner's weights by variable path, float16."""
        try:
            with np.load(io.BytesIO(self._checked(WEIGHTS)), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{self.path}/{WEIGHTS} is damaged: {error}: train or copy the bundle again") from error

    def check(self) -> None:
        """Reads every file and compares its digest.

        Raises:
            BundleError: if one is missing or not as `config.json` says.
        """
        for name in self.config["files"]:
            self._checked(name)

    def _checked(self, name: str) -> bytes:
        data = _read(self.path, name)
        if hashlib.sha256(data).hexdigest() != self.config["files"][name]:
            raise BundleError(f"{self.path}/{name} is not what config.json says: train or copy the bundle again")
        return data


def open_bundle(path: str) -> Bundle:
    """Reads a bundle's description.

    Args:
        path: local path or URI of the folder.

    Raises:
        BundleError: if it is not a bundle that this Beamscribe can use.
    """
    path = path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))
    try:
        config = json.loads(_read(path, CONFIG))
        check_version(f"{path}/{CONFIG}", config["schema_version"], VERSION)
        bundle = Bundle(path, config)
        files, entry = config["files"], config["backbone"]
        if not {WEIGHTS, VOCABULARY} <= files.keys() or not {"weights", "digest", "file"} <= entry.keys():
            raise BundleError(f"{path}/{CONFIG} is incomplete: train the bundle again")
        if entry["name"] not in BACKBONES:
            raise BundleError(f"{path} needs the backbone {entry['name']}, which this Beamscribe does not have")
    except NewerSchemaError as error:
        raise BundleError(str(error)) from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path}/{CONFIG} is not a bundle's description ({error}): give a folder that beamscribe train wrote"
        ) from error
    return bundle


def write_bundle(path: str, files: dict[str, bytes], config: dict[str, Any]) -> Bundle:
    """Writes a bundle, its description last, so that a folder with one is whole.

    Args:
        path: local folder.
        files: contents by name, without `config.json`.
        config: everything of `config.json` but versions and digests.

    Returns:
        The bundle as read back.
    """
    os.makedirs(path, exist_ok=True)
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in files if name not in (METRICS, MODEL_CARD)}
    described = {**config, "schema_version": VERSION, "files": digests}
    contents = {**files, CONFIG: (json.dumps(described, indent=2, sort_keys=True) + "\n").encode()}
    for name, data in contents.items():
        temporary = os.path.join(path, f".{name}.tmp")
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, os.path.join(path, name))
    return open_bundle(path)


def _read(path: str, name: str) -> bytes:
    try:
        with fsspec.open(f"{path}/{name}", "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:
        # Only a missing storage client has more to say than its name: what to install.
        reason = str(error) if isinstance(error, ImportError) else type(error).__name__
        raise BundleError(
            f"{path} is not a bundle: {name} cannot be read ({reason}): give a folder that beamscribe train wrote"
        ) from error
