"""Is the audio of an output there, and is it as it was written? For all layouts."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from beamscribe.pipelines.speech.layout import CONTAINERS
from beamscribe.pipelines.speech.speech_index import NamedAudio, named_audio
from beamscribe.schemas import audio_row
from beamscribe.storage.storage import Storage

MISSING = "audio files that the index names are missing"
RESIZED = "audio files of another size than the index says"
CHANGED = "audio files are not as they were written: their checksum differs"
UNREADABLE = "audio files are damaged"
NAMELESS = "audio files that no row names"
"""The findings: what is wrong with one or more audio files, each named by its file or `file: member`."""


class AudioFindings(NamedTuple):
    """What is wrong with the audio of an output.

    Attributes:
        wrong: finding → names of audio.
        remove: files of which nothing can be kept, and index files whose images are to be spoken again.
        orphans: files that no row names.
    """

    wrong: dict[str, set[str]]
    remove: set[str]
    orphans: set[str]


def check_audio_of(output: Storage, finished: bool) -> AudioFindings:
    """Reads all audio that the index names.

    Args:
        output: of `beamscribe speak`.
        finished: whether every image is accounted for. An unfinished shard has spoken before it has rows; the next run
            finds its audio there.

    Raises:
        ValueError: if an index file is damaged, so that nothing can be said of the audio.
        OSError: if the storage does not answer.
    """
    by_file: dict[str, list[NamedAudio]] = defaultdict(list)
    for audio in named_audio(output):
        by_file[audio.uri].append(audio)
    there = {entry.name for entry in output.walk(audio_row.FOLDER)}
    wrong: dict[str, set[str]] = defaultdict(set)
    remove: set[str] = set()
    files = sorted(by_file)
    checks = output.prefetch(lambda uri: _wrong_with(output, by_file[uri], uri in there), files)
    for uri, found in zip(files, checks, strict=True):
        for what, audio in found:
            wrong[what].add(f"{uri}: {audio.member}" if audio.member else uri)
            # Spoken again from the text, together with the rows that name it.
            remove |= {named.named_by for named in by_file[uri]} | ({uri} & there)
    nameless = there - by_file.keys() if finished else set()
    if nameless:
        wrong[NAMELESS] = nameless
    return AudioFindings(dict(wrong), remove, nameless)


def _wrong_with(output: Storage, named: Sequence[NamedAudio], there: bool) -> list[tuple[str, NamedAudio]]:
    """What is wrong with the audio that rows name in one file."""
    if not there:
        return [(MISSING, audio) for audio in named]
    uri = named[0].uri
    try:
        found = _members(output.read(uri), uri)
    except FileNotFoundError:
        return [(MISSING, audio) for audio in named]
    except ValueError:
        return [(UNREADABLE, named[0]._replace(member=None))]
    wrong = ((_compare(audio, found.get(audio.member)), audio) for audio in named)
    return [(what, audio) for what, audio in wrong if what]


def _members(data: bytes, uri: str) -> dict[str | None, tuple[int, str]]:
    """Size and SHA-256 of each audio in a file, by its name there; of a file of its own that is None.

    Raises:
        ValueError: if it is a damaged file of many.
    """
    for container in CONTAINERS.values():
        if uri.endswith(container.suffix):
            rows = list(container.decode(data, uri))
            if not container.is_as_written(data, rows):
                raise ValueError(f"{uri} is not as it was written")
            return {row.audio.path: _stamp(row.audio.bytes) for row in rows}
    return {None: _stamp(data)}


def _stamp(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def _compare(audio: NamedAudio, found: tuple[int, str] | None) -> str | None:
    """What is wrong with one audio, if anything."""
    if found is None:
        return MISSING
    size, sha256 = found
    if size != audio.size:
        return RESIZED
    # The index did not know it in schema version 1.
    return CHANGED if audio.sha256 not in (sha256, None) else None
