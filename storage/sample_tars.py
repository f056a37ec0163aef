"""The tars of samples beside rows of captions, told from the files of an output."""

from beamscribe.schemas.receipt import FileStamp, stamp
from beamscribe.schemas.rows import CAPTIONS, RowFormat
from beamscribe.schemas.sample_tar import FOLDER, SUFFIX, Captioned, differences, tar_of
from beamscribe.storage.storage import Entry, Storage


class LostTarError(ValueError):
    """The tar that a file of rows says is beside it is not there, or holds other samples."""


def sample_tars(output: Storage, form: RowFormat) -> list[Entry]:
    """The tars of an output by name, whether rows are beside them or not.

    Raises:
        OSError: if the folder cannot be listed.
    """
    return output.files(FOLDER, SUFFIX) if form.folder == CAPTIONS.folder else []


def stamp_of_tar(output: Storage, stem: str) -> FileStamp:
    """The tar of a commit, read as a whole and compared with the rows.

    Args:
        output: of caption.
        stem: of the commit, whose rows say that there is a tar.

    Raises:
        LostTarError: if it is not there, is damaged, or is not that of the rows.
        OSError: if one of both cannot be read.
        ValueError: if the rows are damaged.
    """
    rows_name = f"{CAPTIONS.folder}/{stem}{CAPTIONS.suffix}"
    rows = CAPTIONS.read(output.read(rows_name), output.uri(rows_name), list(Captioned._fields)).to_pylist()
    name = tar_of(stem)
    try:
        data = output.read(name)
    except FileNotFoundError:
        raise LostTarError(f"{name} is not there, which belongs to {rows_name}") from None
    try:
        wrong = differences(data, name, (Captioned(**row) for row in rows))
    except ValueError as error:
        raise LostTarError(str(error)) from error
    if wrong:
        raise LostTarError("; ".join(wrong))
    return stamp(name, data, ())
