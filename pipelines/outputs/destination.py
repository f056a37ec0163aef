"""Where what is made of an output may be written."""

from beamscribe.errors import RefusedError
from beamscribe.schemas import (
    audio_row,
    caption_row,
    failure_row,
    feature_example,
    manifest,
    output_parts,
    sample_tar,
    speech_row,
)
from beamscribe.storage.location import UriError, locate

_OWN = (audio_row, caption_row, failure_row, feature_example, manifest, output_parts, sample_tar, speech_row)
_FOLDERS = {module.FOLDER for module in _OWN}


def refuse_own_folders(place: str, output: str) -> None:
    """Refuses to write among the files of an output, which `verify` would call wrong.

    Args:
        place: that `--output` names.
        output: folder or URI that is read.

    Raises:
        RefusedError: if the place is in one of the output's own folders.
    """
    try:
        above, there = locate(output).uri.rstrip("/") + "/", locate(place).uri
    except UriError:
        return  # Where it is opened it is told what is wrong.
    folder = there.removeprefix(above).partition("/")[0]
    if there.startswith(above) and folder in _FOLDERS:
        raise RefusedError(f"--output {place} is in {folder}/ of {output}, which holds its data: choose another place")
