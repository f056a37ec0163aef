"""The files of a folder below an output, written together in the place of all that were there."""

from collections.abc import Iterable

from beamscribe.storage.storage import Storage


def replace_parts(output: Storage, folder: str, parts: Iterable[tuple[str, bytes]]) -> list[str]:
    """Replaces all files of a folder by others.

    Args:
        output: below which the folder is.
        folder: which one.
        parts: names in the folder, with content.

    Returns:
        The names below the output.

    Raises:
        OSError: if one cannot be written.
    """

    def write(part: tuple[str, bytes]) -> str:
        name = f"{folder}/{part[0]}"
        output.write(name, part[1])
        return name

    names = list(output.prefetch(write, parts))
    for entry in output.files(folder):
        if entry.name not in names:
            output.delete(entry.name)
    return names
