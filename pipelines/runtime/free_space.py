"""Whether an output can be written, and what room there is."""

import os
import shutil

from beamscribe.errors import RefusedError
from beamscribe.schemas.manifest import FOLDER
from beamscribe.storage.storage import Storage


def check_writable(output: Storage) -> int | None:
    """Free bytes where the output is or would be; None where that is not known.

    Raises:
        RefusedError: if it cannot be written.
    """
    try:
        if not output.local:
            probe = f"{FOLDER}/plan"
            output.write(probe, b"plan")
            output.delete(probe)
            return None
        path = output.path("")
        while not os.path.exists(path):
            path = os.path.dirname(path)
        if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"{path} is no folder that can be written")
        return shutil.disk_usage(path).free
    except OSError as error:
        raise RefusedError(f"--output {output.uri()} cannot be written: {error}") from error
