"""Where the sound of each image is, for tables and for programs that look for it beside the photograph."""

from collections.abc import Iterator
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.report.sound import SpokenAt, spoken
from beamscribe.pipelines.speech.layout import CONTAINERS
from beamscribe.storage.storage import Storage


def audio_of(speech: str, options: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Image id and caption → URI of the audio; of one in a file of many with `::` and its name.

    Raises:
        RefusedError: if the folder is no output of speak.
    """
    output = Storage(speech, options)
    return {
        image: output.uri(place.uri) + (f"::{place.member}" if place.member else "")
        for image, place in spoken(output).items()
    }


def read_audio(output: Storage, places: set[SpokenAt]) -> Iterator[tuple[SpokenAt, bytes]]:
    """The audio at some places, file by file; each file of many is read once.

    Raises:
        RefusedError: if a place is none of the output.
        OSError: if one cannot be read.
        ValueError: if one is damaged.
    """
    for uri in sorted({place.uri for place in places}):
        if ".." in uri.split("/") or uri.startswith("/") or "://" in uri:
            raise RefusedError(f"{uri} is outside {output.uri()}: speak the captions again")
        data = output.read(uri)
        if SpokenAt(uri, None) in places:
            yield SpokenAt(uri, None), data
        container = next((one for one in CONTAINERS.values() if uri.endswith(one.suffix)), None)
        for row in container.decode(data, uri) if container else ():
            if (place := SpokenAt(uri, row.audio.path)) in places:
                yield place, row.audio.bytes
