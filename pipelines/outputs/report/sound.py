"""The spoken captions of a report."""

from collections.abc import Iterable
from typing import NamedTuple

import lameenc

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.report.pictures import data_uri
from beamscribe.pipelines.speech import SpeechError
from beamscribe.pipelines.speech.audio import decode
from beamscribe.pipelines.speech.engine import Waveform
from beamscribe.pipelines.speech.layout import CONTAINERS
from beamscribe.schemas.rows import INDEX
from beamscribe.storage.output_reader import OutputReader, read_manifest_of
from beamscribe.storage.storage import Storage

KBIT_PER_SECOND = 16
HERTZ = 16_000
"""Bit rate and sample rate of the copies in the page: speech stays easy to follow, and a caption takes 5 KB instead of
20."""


class SpokenAt(NamedTuple):
    """Where the audio of an image's caption is.

    Attributes:
        uri: the file, below the output of beamscribe speak.
        member: its name in a file of many; None in a file of its own.
    """

    uri: str
    member: str | None


class Sound(NamedTuple):
    """A small copy of the audio of a caption.

    Attributes:
        uri: the MP3 as a data URI.
        seconds: its length.
    """

    uri: str
    seconds: float


def spoken(output: Storage) -> dict[tuple[str, str], SpokenAt]:
    """Image id and caption → where the audio is: ids alone may be those of other images.

    Raises:
        RefusedError: if the folder holds no index, or a damaged one.
    """
    found: dict[tuple[str, str], SpokenAt] = {}
    try:
        manifest = read_manifest_of(output)
        reader = OutputReader(output, manifest, INDEX) if manifest else None
        for table in reader.tables(["id", "caption", "audio_uri"], newer=["audio_member"]) if reader else ():
            columns = [table[name].to_pylist() for name in ("id", "caption", "audio_uri", "audio_member")]
            found.update(((id, text), SpokenAt(uri, member)) for id, text, uri, member in zip(*columns, strict=True))
    except (OSError, ValueError) as error:
        raise RefusedError(f"--speech: {error}") from error
    if not found:
        raise RefusedError(f"--speech {output.uri()} holds no index/*.parquet: give an output of beamscribe speak")
    return found


def sounds(output: Storage, places: Iterable[SpokenAt]) -> dict[SpokenAt, Sound]:
    """Small copies of audio; what cannot be read is left out."""
    found: dict[SpokenAt, Sound] = {}
    by_file: dict[str, set[SpokenAt]] = {}
    for place in places:
        by_file.setdefault(place.uri, set()).add(place)
    for uri, wanted in by_file.items():
        try:
            if ".." in uri.split("/") or uri.startswith("/"):
                raise ValueError(f"{uri} is outside the output")
            data = output.read(uri)
            if wanted == {SpokenAt(uri, None)}:
                members: dict[str | None, bytes] = {None: data}
            else:
                container = next(one for one in CONTAINERS.values() if uri.endswith(one.suffix))
                members = {row.audio.path: row.audio.bytes for row in container.decode(data, uri)}
            for place in wanted & {SpokenAt(uri, member) for member in members}:
                waveform = decode(members[place.member])
                found[place] = Sound(small_copy(waveform), len(waveform.samples) / waveform.sample_rate)
        except (OSError, ValueError, SpeechError, StopIteration):
            continue
    return found


def small_copy(waveform: Waveform) -> str:
    """Sound as a data URI that any browser plays."""
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(KBIT_PER_SECOND)
    encoder.set_in_sample_rate(waveform.sample_rate)
    encoder.set_out_sample_rate(HERTZ)
    encoder.set_channels(1)
    return data_uri("audio/mpeg", bytes(encoder.encode(waveform.samples.tobytes()) + encoder.flush()))
