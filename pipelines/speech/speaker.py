"""Speaks the texts of a shard: what is there is found, the rest is made once and stored, and what fails is said."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from beamscribe.pipelines.services.lanes import Lanes
from beamscribe.pipelines.services.rate_limiter import RateLimiter
from beamscribe.pipelines.services.retry_policy import Breaker, RetryPolicy
from beamscribe.pipelines.speech import SpeechError, SpeechSettings, open_engine
from beamscribe.pipelines.speech.clip import Clip, Style, artist, make_clip
from beamscribe.pipelines.speech.layout import Shelf, Speech, open_shelf
from beamscribe.pipelines.speech.spoken import SpokenText
from beamscribe.pipelines.work.run import Run

THREADS = 4
"""Threads of an engine on this machine: one text is synthesised at a time; encoding and checking of others overlap
it."""

THREADS_OF_SERVICE = 16
"""Threads of an engine that asks a service: most of them wait, for its answer or to try again."""

TRIES_OF_AUDIO = 3
"""Times that a service is asked for a text whose audio turns out to be none."""

FAULTS_OF_TEXT = frozenset(("NothingToSpeak", "TextTooLong"))
"""Error types of texts that no service was asked for: they say nothing of it."""

Outcome = SpokenText | SpeechError


@dataclass(frozen=True)
class Manner:
    """How a job speaks.

    Attributes:
        settings: engine, voice and speed.
        style: of the files.
        layout: where audio lies, a name in `beamscribe.pipelines.runtime.flags.speak.LAYOUTS`.
        requests_per_minute: that the whole job may make; None for an engine that asks no service.
    """

    settings: SpeechSettings
    style: Style
    layout: str = "files"
    requests_per_minute: float | None = None


class Speaker:
    """A process's engine, ready to speak shard after shard.

    Args:
        manner: how to speak.
        run: of the job.
    """

    def __init__(self, manner: Manner, run: Run) -> None:
        self._manner = manner
        self._breaker: Breaker | None = None
        threads = THREADS
        if manner.requests_per_minute is None:
            self._engine = open_engine(manner.settings)
        else:
            self._breaker = Breaker()
            lanes = Lanes(run.output, run.started.strftime("%Y%m%dT%H%M%S%f"))
            pace = RateLimiter(manner.requests_per_minute, lanes.count, sleep=self._breaker.sleep)
            self._engine = open_engine(manner.settings, RetryPolicy(pace.wait, self._breaker))
            threads = THREADS_OF_SERVICE
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="speak")
        self.speech = Speech(run.output, run.fingerprint, manner.style.format, *artist(self._engine))

    def find(self, shard: str, texts: Mapping[str, str]) -> dict[str, SpokenText]:
        """The audio that is there, by key.

        Args:
            shard: its name.
            texts: key → normalised text.
        """
        shelf = open_shelf(self._manner.layout, self.speech, shard, texts)
        return {key: found for key in texts if (found := shelf.find(key))}

    def speak(self, shard: str, texts: Mapping[str, str]) -> Iterator[tuple[str, Outcome]]:
        """Speaks texts unless their audio is there already; yields key and outcome of each as it is done.

        Once the iterator has ended, all audio is stored.

        Raises:
            OSError: if the output cannot be written, or the service refuses everything.
        """
        shelf = open_shelf(self._manner.layout, self.speech, shard, texts)
        futures: dict[Future[Outcome], str] = {}
        try:
            for key, text in texts.items():
                futures[self._pool.submit(self._speak_one, shelf, key, text)] = key
            for future in as_completed(futures):
                # What holds the result, and its audio's facts, may go.
                yield futures.pop(future), future.result()
        finally:
            for future in futures:
                future.cancel()
        shelf.close()

    def _speak_one(self, shelf: Shelf, key: str, text: str) -> Outcome:
        found = shelf.find(key)
        if found:
            return found
        if self._breaker:
            self._breaker.check()
        try:
            clip = self._make(text)
        except SpeechError as error:
            if self._breaker and error.error_type not in FAULTS_OF_TEXT:
                self._breaker.refused(text, error)
            return error
        if self._breaker:
            self._breaker.succeeded()
        return shelf.put(key, clip)

    def _make(self, text: str) -> Clip:
        """Speaks a text; a service is asked again for audio that is none."""
        for _ in range(TRIES_OF_AUDIO - 1 if self._breaker else 0):
            try:
                return make_clip(text, self._engine, self._manner.style)
            except SpeechError as error:
                if error.error_type != "BadAudio":
                    raise
        return make_clip(text, self._engine, self._manner.style)
