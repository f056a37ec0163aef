"""Where audio lies: a file each, or many in one tar or Parquet file. It is found again from these files alone."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from beamscribe.pipelines.speech import SpeechError
from beamscribe.pipelines.speech.audio import AudioFacts, check_audio
from beamscribe.pipelines.speech.clip import Clip
from beamscribe.pipelines.speech.containers import Container, Parquet, Tar
from beamscribe.pipelines.speech.spoken import SpokenText
from beamscribe.pipelines.work.shards import asked_digest, bucket
from beamscribe.schemas import audio_row
from beamscribe.schemas.audio_row import AudioFile, AudioRow
from beamscribe.storage.storage import Storage

CONTAINERS: dict[str, Container] = {"tar": Tar(), "parquet": Parquet()}

_OF_SHARD = re.compile(r"(?P<index>\d+)-of-(?P<count>\d+)-.*")


class Speech(NamedTuple):
    """How the texts of a run are spoken, as far as it names and describes their audio.

    Attributes:
        output: of the job.
        fingerprint: digest of what can change the sound.
        format: of the audio files.
        engine: with its version.
        voice: of the engine.
    """

    output: Storage
    fingerprint: str
    format: str
    engine: str
    voice: str


class Shelf(Protocol):
    """The audio of one shard's texts. Threads may share it."""

    def find(self, key: str) -> SpokenText | None:
        """The audio of a text if it is there and whole."""
        ...

    def put(self, key: str, clip: Clip) -> SpokenText:
        """Takes new audio; it is stored at the latest when the shelf is closed."""
        ...

    def close(self) -> None:
        """Stores what is not stored yet."""
        ...


def open_shelf(layout: str, speech: Speech, shard: str, texts: Mapping[str, str]) -> Shelf:
    """The shelf of a shard.

    Args:
        layout: a name in `beamscribe.pipelines.runtime.flags.speak.LAYOUTS`.
        speech: of the run.
        shard: its name.
        texts: key → normalised text.
    """
    if layout in CONTAINERS:
        return open_container_shelf(CONTAINERS[layout], speech, shard, texts)
    return FileShelf(speech, texts)


@dataclass(frozen=True)
class FileShelf:
    """A file a text; two levels of folders keep millions of them listable.

    Attributes:
        speech: of the run.
        texts: key → normalised text.
    """

    speech: Speech
    texts: Mapping[str, str]

    def _name(self, key: str) -> str:
        return f"{audio_row.FOLDER}/{key[:2]}/{key[2:4]}/{key}.{self.speech.format}"

    def find(self, key: str) -> SpokenText | None:
        """The file, unless it is missing or is no speech of the text."""
        output, name = self.speech.output, self._name(key)
        if output.exists(name):
            with contextlib.suppress(SpeechError):
                data = output.read(name)
                return self._spoken(key, Clip(data, check_audio(data, self.texts[key])))
        return None

    def put(self, key: str, clip: Clip) -> SpokenText:
        """Stores it at once, so that a kill costs no more than the text in hand."""
        self.speech.output.write(self._name(key), clip.data)
        return self._spoken(key, clip)

    def _spoken(self, key: str, clip: Clip) -> SpokenText:
        return SpokenText(key, self._name(key), None, hashlib.sha256(clip.data).hexdigest(), clip.facts)

    def close(self) -> None:
        """Everything is stored."""


class ContainerShelf:
    """Many texts a file. Audio of earlier shards and runs stays in the files that have it.

    Args:
        container: kind of the files.
        speech: of the run.
        name: of the file for new audio, below the output.
        texts: key → normalised text.
        there: audio that earlier files hold.
    """

    def __init__(
        self, container: Container, speech: Speech, name: str, texts: Mapping[str, str], there: Mapping[str, SpokenText]
    ) -> None:
        self._container, self._speech, self._name, self._texts, self._there = container, speech, name, texts, there
        self._rows: list[AudioRow] = []  # Appending to a list needs no lock.

    def find(self, key: str) -> SpokenText | None:
        """The audio in an earlier file."""
        return self._there.get(key)

    def put(self, key: str, clip: Clip) -> SpokenText:
        """Keeps it until the shelf is closed."""
        speech = self._speech
        row = AudioRow(
            audio_key=key,
            text=self._texts[key],
            audio=AudioFile(clip.data, f"{key}.{speech.format}"),
            sha256=hashlib.sha256(clip.data).hexdigest(),
            **clip.facts._asdict(),
            engine=speech.engine,
            voice=speech.voice,
            fingerprint=speech.fingerprint,
        )
        self._rows.append(row)
        return _of_row(self._name, row)

    def close(self) -> None:
        """Stores the new audio in one file, sorted by key; no audio, no file."""
        if self._rows:
            self._speech.output.write(self._name, self._container.encode(sorted(self._rows)))


def _of_row(uri: str, row: AudioRow) -> SpokenText:
    facts = AudioFacts(row.duration_seconds, row.sample_rate, row.channels, row.bytes, row.loudness_lufs)
    return SpokenText(row.audio_key, uri, row.audio.path, row.sha256, facts)


def open_container_shelf(container: Container, speech: Speech, shard: str, texts: Mapping[str, str]) -> ContainerShelf:
    """Looks into the files that may hold audio of the texts; the name of the new one says what is missing."""
    there: dict[str, SpokenText] = {}
    for entry in speech.output.files(audio_row.FOLDER, container.suffix):
        if not _may_hold(entry.name, texts.values()):
            continue
        # A damaged file holds nothing: its texts are spoken again, and `verify` tells of it.
        with contextlib.suppress(ValueError):
            for row in container.decode(speech.output.read(entry.name), entry.name):
                if row.audio_key in texts and hashlib.sha256(row.audio.bytes).hexdigest() == row.sha256:
                    there[row.audio_key] = _of_row(entry.name, row)
    stem = f"{shard}-{asked_digest(speech.fingerprint, texts.keys() - there.keys())}"
    return ContainerShelf(container, speech, f"{audio_row.FOLDER}/{stem}{container.suffix}", texts, there)


def _may_hold(name: str, texts: Iterable[str]) -> bool:
    """Whether a file's shard is that of a text; a corpus of another size was cut into another number of shards."""
    found = _OF_SHARD.fullmatch(name.rsplit("/", 1)[-1])
    return found is not None and any(bucket(text, int(found["count"])) == int(found["index"]) for text in texts)
