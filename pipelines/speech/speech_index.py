"""The index of spoken images: its rows, the audio that they name, and what would contradict them."""

from typing import NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.speech.layout import Speech
from beamscribe.pipelines.speech.spoken import SpokenText
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import OWN_NAME
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import audio_row
from beamscribe.schemas.rows import INDEX
from beamscribe.schemas.speech_row import SpeechRow
from beamscribe.storage.storage import Storage


class NamedAudio(NamedTuple):
    """Audio as the index names it.

    Attributes:
        uri: the file, below the output.
        member: its name in a file of many; None in a file of its own.
        size: bytes of the audio.
        sha256: of the audio; None in an index of schema version 1.
        named_by: the index file.
    """

    uri: str
    member: str | None
    size: int
    sha256: str | None
    named_by: str


def index_row(reference: WorkItem, spoken: SpokenText, speech: Speech, run: Run) -> SpeechRow:
    """The row of one image."""
    return SpeechRow(
        image_uri=reference.uri,
        id=reference.id,
        caption=reference.text,
        audio_uri=spoken.uri,
        audio_member=spoken.member,
        audio_key=spoken.key,
        sha256=spoken.sha256,
        **spoken.facts._asdict(),
        engine=speech.engine,
        voice=speech.voice,
        fingerprint=run.fingerprint,
        run_started=run.started,
    )


def named_audio(output: Storage) -> list[NamedAudio]:
    """The audio that the index names.

    Raises:
        ValueError: if an index file is damaged.
    """
    named: list[NamedAudio] = []
    names = [entry.name for entry in output.files(INDEX.folder, INDEX.suffix)]
    for name, data in zip(names, output.read_each(names), strict=True):
        table = INDEX.read(data, name, ["audio_uri", "bytes"], newer=["audio_member", "sha256"])
        columns = [table[column].to_pylist() for column in ("audio_uri", "audio_member", "bytes", "sha256")]
        named += [
            NamedAudio(uri, member, size, sha256, name) for uri, member, size, sha256 in zip(*columns, strict=True)
        ]
    return named


def remove_unnamed(output: Storage) -> None:
    """Removes audio files of which no index row names anything; files of others stay."""
    named = {audio.uri for audio in named_audio(output)}
    for entry in output.walk(audio_row.FOLDER):
        if entry.name not in named and OWN_NAME.fullmatch(entry.name):
            output.delete(entry.name)


def refuse_other_captions(corpus: Corpus, output: Storage) -> None:
    """Ids say what is done, so an image whose caption has changed since it was spoken would keep its old audio.

    Raises:
        RefusedError: if there is one.
    """
    texts = {reference.id: reference.text for reference in corpus.references}
    for entry in output.files(INDEX.folder, INDEX.suffix):
        try:
            table = INDEX.read(output.read(entry.name), output.uri(entry.name), ["id", "caption"])
        except ValueError:
            # The launcher tells of damaged files.
            continue
        for id, caption in zip(table["id"].to_pylist(), table["caption"].to_pylist(), strict=True):
            if texts.get(id, caption) != caption:
                raise RefusedError(
                    f"{output.uri()} has spoken {id} as {caption!r}, --captions now says {texts[id]!r}: "
                    "choose another --output for the new captions"
                )
