"""`config.json` of a bundle: a stranger may have written it, so each field is checked before it is used."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from beamscribe.model.backbone.spec import BACKBONES, IMAGENET, RANDOM
from beamscribe.model.decoder_names import DECODERS
from beamscribe.schemas.printable import printable
from beamscribe.schemas.table import NewerSchemaError, check_version

VERSION = 1
CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocabulary.txt", "captioner.npz"

BACKBONE_FILES = ("backbone.weights.h5", "backbone.npz", "backbone.h5")
"""Names of a copy of backbone weights; the format is read off the suffix."""

MEMBERS, BLOCKS, LENGTH, CELLS, SIDE, TOKENS = 64, 256, 4096, 256, 2**16, 2**20
"""What is built at most, far above anything that was ever trained here: members, blocks, positions, cells a side of the
grid, widths, tokens."""

_SIZES = {
    "vocabulary_size": (5, TOKENS),
    "max_length": (3, LENGTH),
    "width": (1, SIDE),
    "heads": (1, SIDE),
    "feed_forward": (1, SIDE),
    "encoder_blocks": (0, BLOCKS),
    "decoder_blocks": (1, BLOCKS),
}
_RATES = ("dropout", "visual_dropout")
_SHA256 = re.compile("[0-9a-f]{64}")
_MEND = "train or copy the bundle again"


class BundleError(ValueError):
    """A folder that is no bundle, or a damaged one; the message says what, where and how to mend."""

    def __init__(self, message: str) -> None:
        # Much of it may be what a stranger wrote.
        super().__init__(printable(message, length=2000))


def parse_description(data: bytes, path: str) -> dict[str, Any]:
    """Parses `config.json` and checks everything that is needed to open the bundle.

    Args:
        data: of the file.
        path: of the bundle, named for people.

    Raises:
        BundleError: if it does not describe a bundle that this Beamscribe can use.
    """
    what = f"{path}/{CONFIG}"
    try:
        config = json.loads(data, parse_constant=_refuse_constant)
        check_version(what, config["schema_version"], VERSION)
        files, entry = config["files"], config["backbone"]
        if not {WEIGHTS, VOCABULARY} <= files.keys() or not {"name", "weights", "digest", "file"} <= entry.keys():
            raise BundleError(f"{what} is incomplete: train the bundle again")
    except NewerSchemaError as error:
        raise BundleError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"{what} is not a bundle's description ({error}): give a folder that beamscribe train wrote"
        ) from error
    _check_files(files, what)
    _check_backbone(entry, files, path)
    if not isinstance(config.get("notice", ""), str):
        raise BundleError(f"{what} has a notice that is no text: {_MEND}")
    return config


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_files(files: Mapping[str, Any], what: str) -> None:
    # The names become local paths when a bundle is fetched.
    if any(os.path.basename(name) != name or name in ("", ".", "..", CONFIG) or "\0" in name for name in files):
        raise BundleError(f"{what} names files outside its folder: train the bundle again")
    if not all(isinstance(digest, str) for digest in files.values()):
        raise BundleError(f"{what} has a digest that is none: {_MEND}")


def _check_backbone(entry: Mapping[str, Any], files: Mapping[str, Any], path: str) -> None:
    name, file, weights, digest = (entry[field] for field in ("name", "file", "weights", "digest"))
    if not isinstance(name, str) or name not in BACKBONES:
        raise BundleError(f"{path} needs the backbone {str(name)[:100]}, which this Beamscribe does not have")
    if not isinstance(weights, str) or not isinstance(digest, str):
        raise BundleError(f"{path}/{CONFIG} does not say which weights its backbone has: {_MEND}")
    if file is not None and file not in BACKBONE_FILES:
        raise BundleError(f"{path}/{CONFIG} calls the backbone's weights {str(file)[:100]}: {_MEND}")
    if file is not None and file not in files:
        raise BundleError(f"{path}/{CONFIG} gives no digest of the backbone's weights {str(file)[:100]}: {_MEND}")
    # Nobody has compared a local file elsewhere with its digest, and another machine does not have it.
    if file is None and weights not in (IMAGENET, RANDOM) and "://" not in weights:
        raise BundleError(f"{path}/{CONFIG} names weights of the backbone outside its folder: {_MEND}")


def captioner_config(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The entry `captioner` of a description: kind and sizes, each within what can be built.

    Raises:
        BundleError: naming the field that cannot be.
    """
    entry = config.get("captioner")
    sizes = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(sizes, dict):
        raise _unfit(path, "captioner", entry)
    grid = sizes.get("grid")
    if not isinstance(grid, list | tuple) or len(grid) != 3 or not all(type(side) is int for side in grid):
        raise _unfit(path, "grid", grid)
    if not all(1 <= side <= most for side, most in zip(grid, (CELLS, CELLS, SIDE), strict=True)):
        raise _unfit(path, "grid", grid)
    if sizes.get("decoder") not in DECODERS:
        raise _unfit(path, "decoder", sizes.get("decoder"))
    for name, (least, most) in _SIZES.items():
        if type(sizes.get(name)) is not int or not least <= sizes[name] <= most:
            raise _unfit(path, name, sizes.get(name))
    for name in _RATES:
        if type(sizes.get(name)) not in (int, float) or not 0 <= sizes[name] < 1:
            raise _unfit(path, name, sizes.get(name))
    if sizes["width"] % sizes["heads"]:
        raise _unfit(path, "heads", sizes["heads"])
    if unknown := sizes.keys() - {"grid", "decoder", *_SIZES, *_RATES}:
        raise _unfit(path, min(unknown), sizes[min(unknown)])
    members = entry.get("members", 1)
    if type(members) is not int or not 1 <= members <= MEMBERS:
        raise _unfit(path, "members", members)
    return entry


def _unfit(path: str, name: str, value: Any) -> BundleError:
    return BundleError(f"{path}/{CONFIG}: no captioner can be built with {name} {str(value)[:60]}: {_MEND}")
