"""Files with the audio of many texts: tar as WebDataset reads it, Parquet as Hugging Face's `datasets` reads it."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from beamscribe.schemas import audio_row
from beamscribe.schemas.audio_row import AudioFile, AudioRow
from beamscribe.schemas.rows import ParquetRows
from beamscribe.schemas.table import NewerSchemaError, check_version


class Container(Protocol):
    """A kind of file that holds audio rows."""

    @property
    def suffix(self) -> str:
        """How the files' names end."""
        ...

    def encode(self, rows: Sequence[AudioRow]) -> bytes:
        """The rows as the bytes of one file; a function of the rows alone."""
        ...

    def decode(self, data: bytes, name: str) -> Iterator[AudioRow]:
        """The rows in a file.

        Raises:
            ValueError: if it is damaged or newer than this reader.
        """
        ...

    def is_as_written(self, data: bytes, rows: Sequence[AudioRow]) -> bool:
        """Whether nothing was added to, or lost from, the file that gave these rows, as far as the format can tell."""
        ...


@dataclass(frozen=True)
class Tar:
    """Each text as `KEY.mp3` and `KEY.json`, side by side: what WebDataset calls a sample."""

    suffix: str = ".tar"

    def encode(self, rows: Sequence[AudioRow]) -> bytes:
        """The rows as a tar file without times and owners."""
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                for name, data in ((row.audio.path, row.audio.bytes), (f"{row.audio_key}.json", row.to_json())):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return file.getvalue()

    def decode(self, data: bytes, name: str) -> Iterator[AudioRow]:
        """The rows in a tar file."""
        _refuse_other_headers(data, name)
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                audio: AudioFile | None = None
                for member in tar:
                    content = tar.extractfile(member)
                    if content is None:
                        raise ValueError(f"{member.name} is no file")
                    if member.name.endswith(".json") and audio:
                        fields = json.loads(content.read())
                        check_version(name, fields.pop("schema_version"), audio_row.VERSION)
                        yield AudioRow(audio=audio, **fields)
                    else:
                        audio = AudioFile(content.read(), member.name)
        except NewerSchemaError:
            raise
        except (tarfile.TarError, OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{name} is damaged: {type(error).__name__}: {error}") from error

    def is_as_written(self, data: bytes, rows: Sequence[AudioRow]) -> bool:
        """Whether the rows give these bytes again: a tar has no freedom but its rows."""
        return self.encode(rows) == data


_BLOCK = 512


def _refuse_other_headers(data: bytes, name: str) -> None:
    """Only plain files with plain headers are written here; other kinds make a reader of tar build what they claim.

    Raises:
        ValueError: if there is another kind of member, or one that reaches beyond the file.
    """
    position = 0
    while position + _BLOCK <= len(data) and any(header := data[position : position + _BLOCK]):
        digits = header[124:136].rstrip(b"\0 ")
        if header[156:157] not in (b"0", b"\0") or not digits.isdigit():
            raise ValueError(f"{name} is damaged: the member at byte {position} is no plain file")
        position += _BLOCK + -(-int(digits, 8) // _BLOCK) * _BLOCK
    if position > len(data):
        raise ValueError(f"{name} is damaged: it ends within a member")


@dataclass(frozen=True)
class Parquet:
    """A row a text, see `beamscribe.schemas.audio_row`."""

    rows: ParquetRows = ParquetRows(audio_row.FOLDER, audio_row.SCHEMA, audio_row.VERSION)
    suffix: str = ".parquet"

    def encode(self, rows: Sequence[AudioRow]) -> bytes:
        """The rows as a Parquet file."""
        return self.rows.encode(rows)

    def decode(self, data: bytes, name: str) -> Iterator[AudioRow]:
        """The rows in a Parquet file."""
        for fields in self.rows.read(data, name).to_pylist():
            yield AudioRow(**{**fields, "audio": AudioFile(**fields["audio"])})

    def is_as_written(self, data: bytes, rows: Sequence[AudioRow]) -> bool:
        """Always: what is damaged does not decode, and another Parquet library writes other bytes."""
        return True
