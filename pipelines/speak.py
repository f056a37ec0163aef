"""`beamscribe speak`: captions to one audio file for each distinct text, and an index of the images."""

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from model.storage import Storage
from pipelines import options
from pipelines.caption import CAPTIONS
from pipelines.commit import Process, Receipt, Run
from pipelines.corpus import Corpus, Reference, distinct
from pipelines.launch import Request, launch
from pipelines.reading import failure
from pipelines.rows import ParquetRows
from pipelines.shards import Shard
from pipelines.speech import ENGINES, SpeechEngine, SpeechError, SpeechSettings, open_engine
from pipelines.speech.audio import FORMATS, AudioFacts, check_audio, transcode
from schemas import speech_row
from schemas.command import FlagParser, RefusedError
from schemas.failure_row import FailureRow
from schemas.fingerprint import Fingerprint
from schemas.speech_row import SpeechRow

TEXT_NORMALISATION = "nfc-spaces-1"
"""Name of `normalize_text` in the fingerprint; a change of the function changes it."""

SPEAK = "speak"
THREADS = 2
"""One text is synthesised at a time a process; encoding and checking of others overlap it."""

INDEX = ParquetRows(speech_row.FOLDER, speech_row.SCHEMA, speech_row.VERSION)


class SpokenText(NamedTuple):
    """One audio file.

    Attributes:
        key: digest of text and speech fingerprint, the file's name.
        name: below the output.
        facts: read back from the file.
    """

    key: str
    name: str
    facts: AudioFacts


def normalize_text(caption: str) -> str:
    """The text that is spoken: NFC, white space collapsed; case and punctuation kept, for they change the voice."""
    return " ".join(unicodedata.normalize("NFC", caption).split())


def audio_key(text: str, fingerprint: str) -> str:
    """Names the audio of a text: equal texts spoken in the same way share it."""
    return hashlib.blake2b(f"{fingerprint}\0{text}".encode(), digest_size=16).hexdigest()


def audio_name(key: str, audio_format: str) -> str:
    """Where a text's audio lies below the output; two levels of folders keep millions of files listable."""
    return f"{speech_row.AUDIO_FOLDER}/{key[:2]}/{key[2:4]}/{key}.{audio_format}"


def speak_text(text: str, engine: SpeechEngine, audio_format: str, run: Run) -> SpokenText:
    """Speaks one text unless its audio is there already, checks it and commits it.

    Raises:
        SpeechError: if there is no good audio for the text.
    """
    key = audio_key(text, run.fingerprint)
    name = audio_name(key, audio_format)
    if run.output.exists(name):
        with contextlib.suppress(SpeechError):
            return SpokenText(key, name, check_audio(run.output.read(name), text))
    data = transcode(engine.synthesize(text), audio_format)
    facts = check_audio(data, text)
    run.output.write(name, data)
    return SpokenText(key, name, facts)


@dataclass(frozen=True)
class SpeakJob:
    """Texts to audio.

    Attributes:
        settings: engine, voice and speed.
        audio_format: of the files.
    """

    settings: SpeechSettings
    audio_format: str
    name: str = "speak"
    format: ParquetRows = dataclasses.field(default_factory=lambda: INDEX)

    def open(self, run: Run) -> Process:
        """Opens the engine."""
        engine = open_engine(self.settings)

        def speak(text: str) -> SpokenText | SpeechError:
            try:
                return speak_text(text, engine, self.audio_format, run)
            except SpeechError as error:
                return error

        def process(shard: Shard) -> Iterator[SpeechRow | FailureRow]:
            # Sorted by group, so images of one text lie together.
            by_text = itertools.groupby(shard.todo, lambda item: item.reference.group)
            texts = [(text, list(items)) for text, items in by_text]
            with ThreadPoolExecutor(THREADS, thread_name_prefix="speak") as pool:
                for (_, items), spoken in zip(texts, pool.map(speak, (text for text, _ in texts)), strict=True):
                    for item in items:
                        if isinstance(spoken, SpeechError):
                            yield failure(item, SPEAK, spoken.error_type, spoken.message, run.started)
                        else:
                            yield index_row(item.reference, spoken, engine, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """None: every audio file was checked before it was committed."""
        return []

    def tidy(self, output: Storage) -> None:
        """Removes audio that no index row names."""
        named = {audio.name for audio in named_audio(output)}
        for entry in output.walk(speech_row.AUDIO_FOLDER):
            if entry.name not in named:
                output.delete(entry.name)


class NamedAudio(NamedTuple):
    """An audio file as the index names it: its name below the output, its size in bytes, and the index file."""

    name: str
    size: int
    named_by: str


def named_audio(output: Storage) -> list[NamedAudio]:
    """The audio files that the index names.

    Raises:
        ValueError: if an index file is damaged.
    """
    named: list[NamedAudio] = []
    for entry in output.files(INDEX.folder, INDEX.suffix):
        table = INDEX.read(output.read(entry.name), entry.name, ["audio_uri", "bytes"])
        columns = (table["audio_uri"].to_pylist(), table["bytes"].to_pylist())
        named += [NamedAudio(name, size, entry.name) for name, size in zip(*columns, strict=True)]
    return named


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


def index_row(reference: Reference, spoken: SpokenText, engine: SpeechEngine, run: Run) -> SpeechRow:
    """The row of one image."""
    return SpeechRow(
        image_uri=reference.uri,
        id=reference.id,
        caption=reference.text,
        audio_uri=spoken.name,
        audio_key=spoken.key,
        duration_seconds=spoken.facts.duration_seconds,
        sample_rate=spoken.facts.sample_rate,
        channels=spoken.facts.channels,
        bytes=spoken.facts.bytes,
        engine=f"{engine.name} {engine.version}",
        voice=engine.voice,
        fingerprint=run.fingerprint,
        run_started=run.started,
    )


def list_captions(path: str, storage_options: dict[str, Any], limit: int | None) -> Corpus:
    """Captioned images, grouped by text so that each text is spoken in one shard.

    Raises:
        RefusedError: if the folder holds no captions.
    """
    output = Storage(path, storage_options)
    try:
        files = output.files(CAPTIONS.folder, CAPTIONS.suffix)
    except OSError as error:
        raise RefusedError(f"--captions {path} cannot be listed: {error}") from error
    if not files:
        raise RefusedError(f"--captions {path} holds no captions/*.parquet: give an output of beamscribe caption")
    return distinct(_captioned(output, [entry.name for entry in files]), limit)


def _captioned(output: Storage, names: list[str]) -> Iterator[Reference]:
    for name in names:
        try:
            table = CAPTIONS.read(output.read(name), output.uri(name), ["id", "image_uri", "caption"])
        except (OSError, ValueError) as error:
            raise RefusedError(f"--captions: {error}") from error
        columns = (table[column].to_pylist() for column in ("id", "image_uri", "caption"))
        for id, uri, caption in zip(*columns, strict=True):
            yield Reference(id, uri, text=caption, group=normalize_text(caption))


def add_speech_flags(flags: argparse.ArgumentParser) -> None:
    """The flags that say how to speak."""
    flags.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="espeak needs no network")
    flags.add_argument("--lang", default="en", help="IETF language tag, such as en or pt-br")
    flags.add_argument("--voice", default="", help="espeak's voice, such as en-us+f3 [the language's]")
    flags.add_argument("--words-per-minute", type=int, default=175, help="espeak's speed, 80 to 450")
    flags.add_argument("--tld", default="com", help="gtts speaks to translate.google.TLD, which picks the accent")
    flags.add_argument("--slow", action="store_true", help="gtts's slow speed")


def speech_settings(ours: argparse.Namespace) -> SpeechSettings:
    """The settings that the flags give."""
    return SpeechSettings(ours.engine, ours.lang, ours.voice, ours.words_per_minute, ours.tld, ours.slow)


def open_or_refuse(settings: SpeechSettings) -> SpeechEngine:
    """Opens the engine on the launcher, so that a wrong voice is refused before anything runs.

    Raises:
        RefusedError: if it does not open.
    """
    try:
        return open_engine(settings)
    except SpeechError as error:
        raise RefusedError(str(error)) from error


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        prog="beamscribe speak",
        description="Captions to one audio file for each distinct text, and an index of the images in Parquet.",
        epilog=options.BEAM_EPILOG,
    )
    flags.add_argument("--captions", required=True, metavar="OUTPUT", help="output of beamscribe caption")
    flags.add_argument("--output", required=True, help="folder or URI for audio/, index/, failures/ and _beamscribe/")
    flags.add_argument("--format", choices=FORMATS, default="mp3", help="of the audio files")
    add_speech_flags(flags)
    options.add_job_flags(flags, batch_size=None)
    return flags


def run(argv: Sequence[str]) -> int:
    """Parses, builds, runs.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours, beam_options = options.parse(parser(), argv)
    flags = options.job_flags(ours)
    settings = speech_settings(ours)
    engine = open_or_refuse(settings)
    spoken = {f"speech_{name}": value for name, value in dataclasses.asdict(settings).items()}
    del spoken["speech_timeout_seconds"]
    fingerprint = Fingerprint(
        {
            **spoken,
            "text_normalisation": TEXT_NORMALISATION,
            "engine_version": engine.version,
            "engine_voice": engine.voice,
            "format": ours.format,
        }
    )
    engine.close()
    corpus = list_captions(ours.captions, flags.storage_options, flags.limit)
    output = Storage(ours.output, flags.storage_options)
    refuse_other_captions(corpus, output)
    return launch(
        Request(
            job=SpeakJob(settings, ours.format),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={"captions": ours.captions},
            flags=flags,
            options=beam_options,
        )
    )
