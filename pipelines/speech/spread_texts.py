"""Texts of so many images that many shards hold them: spoken once, before the shards that need them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.utils.shared import Shared

from beamscribe.pipelines.commits.liveness import LivenessReporter
from beamscribe.pipelines.speech import SpeechError
from beamscribe.pipelines.speech.captioned import is_spread
from beamscribe.pipelines.speech.speaker import Manner, Speaker
from beamscribe.pipelines.speech.spoken import audio_key, normalize_text
from beamscribe.pipelines.work.run import Run
from beamscribe.pipelines.work.shards import Shard, bucket_name
from beamscribe.schemas import manifest

UNSPOKEN = f"{manifest.FOLDER}/unspoken"
"""What such a text lacks audio for, a file each: the shards that need it are told there."""


@dataclass
class SpeakSpreadTexts(beam.PTransform):
    """Shards of what is still to do (`Shard`) → names of the shards (`str`) in which their spread texts were spoken.

    Attributes:
        manner: how to speak.
        run: of the job.
        shards: that loose images of the run are hashed into.
    """

    manner: Manner
    run: Run
    shards: int

    def expand(self, input_or_inputs: PCollection[Shard]) -> PCollection[str]:
        """Builds the transform."""
        return (  # pyright: ignore[reportReturnType]
            input_or_inputs
            | "SpreadTexts" >> beam.FlatMap(spread_texts, self.shards)
            | "DedupCache" >> beam.Distinct()
            | "GroupTexts" >> beam.GroupByKey()
            | "Speak" >> beam.ParDo(_Speak(self.manner, self.run, Shared()))
        )


def spread_texts(shard: Shard, count: int) -> Iterator[tuple[str, str]]:
    """The spread texts of a shard, each with the shard that would be its own if it were not spread.

    Args:
        shard: some of whose images may have such texts.
        count: shards that loose images of the run are hashed into.
    """
    for text in {normalize_text(item.reference.text) for item in shard.todo if is_spread(item.reference)}:
        yield bucket_name(text, count), text


class _Speak(beam.DoFn):
    """Opens the engine once a process, and only when there is a text to speak."""

    def __init__(self, manner: Manner, run: Run, shared: Shared) -> None:
        self._manner = manner
        self._run = run
        self._shared = shared

    def process(self, element: tuple[str, Iterable[str]]) -> Iterator[str]:
        name, found = element
        run = self._run
        texts = {audio_key(text, run.fingerprint): text for text in sorted(found)}
        speaker: Speaker = self._shared.acquire(lambda: Speaker(self._manner, run))
        with LivenessReporter(run.output, f"spread-{name}", run.stall_timeout_seconds) as reporter:
            for key, outcome in speaker.speak(name, texts):
                if isinstance(outcome, SpeechError):
                    reason = [run.started.isoformat(), outcome.error_type, outcome.message]
                    run.output.write(f"{UNSPOKEN}/{key}.json", json.dumps(reason).encode())
                reporter.heartbeat()
        yield name


def reason_unspoken(run: Run, key: str) -> SpeechError:
    """Why a spread text has no audio.

    Raises:
        OSError: if it was not tried in this run, or its audio was removed since.
    """
    started, error_type, message = json.loads(run.output.read(f"{UNSPOKEN}/{key}.json"))
    if started != run.started.isoformat():
        raise OSError(f"the audio {key}, which many images share, is gone since it was spoken")
    return SpeechError(error_type, message)
