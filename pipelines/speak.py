"""`beamscribe speak`: captions to one audio file for each distinct text, and an index of the images."""

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apache_beam import PCollection

from beamscribe.errors import RefusedError
from beamscribe.pipelines.images.reading import READ
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.dry_run import dry_run
from beamscribe.pipelines.runtime.flags import jobs
from beamscribe.pipelines.runtime.flags.speak import LAYOUTS, parser
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_dry
from beamscribe.pipelines.sources.opened import UnreadableMemberError
from beamscribe.pipelines.speech import SpeechEngine, SpeechError, SpeechSettings, open_engine
from beamscribe.pipelines.speech.captioned import images_a_shard, is_spread, list_captions, spread
from beamscribe.pipelines.speech.clip import Style
from beamscribe.pipelines.speech.parts import PARTS_VERSION
from beamscribe.pipelines.speech.speaker import Manner, Outcome, Speaker
from beamscribe.pipelines.speech.speech_index import index_row, refuse_other_captions, remove_unnamed
from beamscribe.pipelines.speech.spoken import TEXT_NORMALISATION, audio_key, normalize_text
from beamscribe.pipelines.speech.spread_texts import SpeakSpreadTexts, reason_unspoken
from beamscribe.pipelines.work.failure import failure
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.pipelines.work.shards import PendingItem, Shard, shard_count
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import INDEX, ParquetRows
from beamscribe.schemas.speech_row import SpeechRow
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage

SPEAK = "speak"


@dataclass(frozen=True)
class SpeakJob:
    """Texts to audio.

    Attributes:
        manner: how to speak.
        spread_over: shards that images are hashed into, where texts have so many images that many shards hold them; 0
            where no text has.
    """

    manner: Manner
    spread_over: int = 0
    name: str = "speak"
    shards_at_once: int = 1
    format: ParquetRows = dataclasses.field(default_factory=lambda: INDEX)

    @property
    def requests_per_minute(self) -> float | None:
        """That the engine's service may be asked; None for an engine that asks none."""
        return self.manner.requests_per_minute

    def prepare(self, shards: PCollection[Shard], run: Run) -> PCollection[str] | None:
        """Speaks what many shards need before the first of them; None if there is no such text."""
        if not self.spread_over:
            return None
        return shards | "SpeakSpreadTexts" >> SpeakSpreadTexts(self.manner, run, self.spread_over)  # pyright: ignore[reportReturnType]

    def stage_artifacts(self, output: Storage) -> "SpeakJob":
        """The same: engines are installed on every worker."""
        return self

    def open(self, run: Run) -> Process:
        """Opens the engine."""
        speaker = Speaker(self.manner, run)

        def process(shard: Shard) -> Iterator[SpeechRow | FailureRow]:
            for item in shard.todo:
                if (unread := item.reference.member) is not None:
                    yield failure(item, READ, UnreadableMemberError.__name__, unread.detail, run.started)
            spoken_here, spoken_before = by_text(shard, run)
            for key, outcome in speaker.speak(shard.name, texts_of(spoken_here)):
                yield from rows(spoken_here[key], outcome)
            found = speaker.find(shard.name, texts_of(spoken_before))
            for key, items in spoken_before.items():
                yield from rows(items, found[key] if key in found else reason_unspoken(run, key))

        def rows(items: Sequence[PendingItem], outcome: Outcome) -> Iterator[SpeechRow | FailureRow]:
            for item in items:
                if isinstance(outcome, SpeechError):
                    yield failure(item, SPEAK, outcome.error_type, outcome.message, run.started)
                else:
                    yield index_row(item.reference, outcome, speaker.speech, run)

        return process

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """None: every audio file was checked before it was committed."""
        return []

    def tidy(self, output: Storage) -> None:
        """Removes audio that no index row names."""
        remove_unnamed(output)


Images = dict[str, list[PendingItem]]
"""Images of a shard by the key of their text."""


def by_text(shard: Shard, run: Run) -> tuple[Images, Images]:
    """A shard's images by text: of texts that are spoken here, and of those that were spoken before.

    Rows that could not be read have none.
    """
    here: Images = defaultdict(list)
    before: Images = defaultdict(list)
    for item in shard.todo:
        if item.reference.member is not None:
            continue
        key = audio_key(normalize_text(item.reference.text), run.fingerprint)
        (before if is_spread(item.reference) else here)[key].append(item)
    return here, before


def texts_of(images: Images) -> dict[str, str]:
    """Key → normalised text."""
    return {key: normalize_text(items[0].reference.text) for key, items in images.items()}


def speech_settings(args: argparse.Namespace) -> SpeechSettings:
    """The settings that the flags give."""
    return SpeechSettings(args.engine, args.lang, args.voice, args.words_per_minute, args.tld, args.slow, args.endpoint)


def open_or_refuse(args: argparse.Namespace) -> SpeechEngine:
    """Opens the engine on the launcher, so that a wrong voice is refused before anything runs.

    Raises:
        RefusedError: if it does not open, or cannot do what the flags want of it.
    """
    try:
        engine = open_engine(speech_settings(args))
    except SpeechError as error:
        raise RefusedError(str(error)) from error
    if args.loudness is not None and not engine.raw:
        raise RefusedError(
            f"--loudness: {engine.name} gives files, not samples, and they stay as they are: leave it out, or take "
            "another --engine"
        )
    return engine


def budget(args: argparse.Namespace, engine: SpeechEngine) -> float | None:
    """Requests a minute that the job may make.

    Raises:
        RefusedError: if the engine makes none and the flags limit them.
    """
    wanted: float | None = args.requests_per_minute
    if engine.requests_per_minute is None and wanted is not None:
        raise RefusedError(f"--requests-per-minute: {engine.name} asks no service: leave it out")
    return engine.requests_per_minute if wanted is None else wanted


def fingerprint_of(args: argparse.Namespace, engine: SpeechEngine) -> Fingerprint:
    """What can change the sound of a text."""
    settings = speech_settings(args)
    return Fingerprint(
        {
            **{f"speech_{name}": getattr(settings, name) for name in ("engine", *engine.fingerprint_fields)},
            "text_normalisation": TEXT_NORMALISATION,
            "text_parts": PARTS_VERSION,
            "engine_version": engine.version,
            "engine_voice": engine.voice,
            "format": args.format,
            "loudness": "as spoken" if args.loudness is None else args.loudness,
        }
    )


def refuse_other_layout(layout: str, output: Storage) -> None:
    """Layouts are not mixed in one output, whatever `--on-change` says.

    Raises:
        RefusedError: if the output has another one.
    """
    earlier = read_manifest_of(output)
    if earlier and earlier.job == SPEAK and (found := earlier.details.get("layout", LAYOUTS[0])) != layout:
        raise RefusedError(f"{output.uri()} has --layout {found}, not {layout}: choose another --output")


def run(argv: Sequence[str]) -> int:
    """Parses, builds, runs.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args, beam_options = options.parse(parser(), argv)
    flags = jobs.job_flags(args)
    if is_dry(beam_options):
        unasked = Manner(speech_settings(args), Style(args.format, args.loudness), args.layout)
        return dry_run(SpeakJob(unasked), args.output, beam_options)
    output = options.output_of(args)
    engine = open_or_refuse(args)
    manner = Manner(speech_settings(args), Style(args.format, args.loudness), args.layout, budget(args, engine))
    fingerprint = fingerprint_of(args, engine)
    engine.close()
    corpus = list_captions(args.captions, flags.storage_options, flags.limit)
    shard_size = images_a_shard(corpus, flags.shard_size)
    corpus, spreads = spread(corpus, shard_size)
    refuse_other_layout(args.layout, output)
    refuse_other_captions(corpus, output)
    return launch(
        Request(
            job=SpeakJob(manner, shard_count(len(corpus.references), shard_size) if spreads else 0),
            corpus=corpus,
            output=output,
            fingerprint=fingerprint,
            details={"captions": args.captions, "layout": args.layout},
            flags=dataclasses.replace(flags, shard_size=shard_size),
            options=beam_options,
        )
    )
