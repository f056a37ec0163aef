"""Reads the files of a bundle's folder: regular files of a size that belongs there, and nothing else."""

import os
import stat
from typing import Any

from beamscribe.model.description import CONFIG, VOCABULARY, BundleError
from beamscribe.storage.uri import read_uri

LIMITS = {CONFIG: 2**20, VOCABULARY: 2**25}
LIMIT = 2**31
"""Bytes of a bundle's files at most: the largest backbone of keras.applications has 1.4 GB."""


def read_bundle_file(path: str, name: str, options: dict[str, Any]) -> bytes:
    """One of a bundle's files.

    Args:
        path: local path or URI of the bundle's folder.
        name: of the file.
        options: passed to fsspec for remote storage.

    Raises:
        BundleError: if it cannot be read, or is no file that belongs into a bundle.
    """
    file = f"{path}/{name}"
    try:
        if "://" not in path:
            _refuse_odd_file(file, LIMITS.get(name, LIMIT))
        return read_uri(file, options)
    except (OSError, ValueError) as error:
        # Only a missing storage client, and a file that is none, have more to say than a name.
        told = isinstance(error, BundleError) or isinstance(error.__cause__, ImportError)
        reason = str(error) if told else type(error).__name__
        raise BundleError(
            f"{path} is not a bundle: {name} cannot be read ({reason}): give a folder that beamscribe train wrote"
        ) from error


def _refuse_odd_file(file: str, limit: int) -> None:
    """A pipe would be waited for, a device has no end.

    Raises:
        BundleError: if it is no regular file of a size that belongs into a bundle.
        OSError: if it is not there.
    """
    found = os.stat(file)
    if not stat.S_ISREG(found.st_mode):
        raise BundleError("it is no regular file")
    if found.st_size > limit:
        raise BundleError(f"it has {found.st_size:,} bytes, {limit:,} at most belong there")
