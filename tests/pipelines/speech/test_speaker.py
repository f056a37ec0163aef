import pytest

from beamscribe.pipelines.services.retry_policy import REFUSED_IN_A_ROW, ServiceRefusesError
from beamscribe.pipelines.speech import SpeechError, SpeechSettings, open_engine
from beamscribe.pipelines.speech.audio import encode
from beamscribe.pipelines.speech.clip import Style
from beamscribe.pipelines.speech.engine import Encoded
from beamscribe.pipelines.speech.speaker import TRIES_OF_AUDIO, Manner, Speaker
from tests.pipelines.fake_job import run_of

SHARD = "00000-of-00001"
MP3 = encode(open_engine(SpeechSettings()).synthesize("A cat."), "mp3")


class Clerk:
    """Stands for an engine that asks a service: answers what it is told, text by text."""

    name, version, voice = "clerk", "1", "en"

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def synthesize(self, text):
        self.asked.append(text)
        answer = self.answer(text)
        if isinstance(answer, SpeechError):
            raise answer
        return Encoded(answer, "mp3")


@pytest.fixture
def speaker(output, monkeypatch):
    def open_speaker(answer):
        clerk = Clerk(answer)
        monkeypatch.setattr("beamscribe.pipelines.speech.speaker.open_engine", lambda settings, ask: clerk)
        manner = Manner(SpeechSettings(engine="gtts"), Style("mp3"), requests_per_minute=60_000)
        return Speaker(manner, run_of(output)), clerk

    return open_speaker


def test_a_service_is_asked_again_for_audio_that_is_none(speaker):
    opened, clerk = speaker(lambda text: b"garbage" if len(clerk.asked) < TRIES_OF_AUDIO else MP3)
    [(key, outcome)] = opened.speak(SHARD, {"k": "A cat."})
    assert (key, outcome.key) == ("k", "k")
    assert len(clerk.asked) == TRIES_OF_AUDIO


def test_but_not_for_ever(speaker):
    opened, clerk = speaker(lambda text: b"garbage")
    [(_, outcome)] = opened.speak(SHARD, {"k": "A cat."})
    assert outcome.error_type == "BadAudio"
    assert len(clerk.asked) == TRIES_OF_AUDIO


def test_texts_that_are_refused_one_after_the_other_end_the_job(speaker):
    opened, clerk = speaker(lambda text: SpeechError("ServiceRefused", "403"))
    with pytest.raises(ServiceRefusesError, match="403"):
        list(opened.speak(SHARD, {str(number): f"Cat {number}." for number in range(200)}))
    assert REFUSED_IN_A_ROW <= len(clerk.asked) < 60


def test_texts_that_nobody_can_pronounce_do_not(speaker):
    opened, clerk = speaker(lambda text: SpeechError("NothingToSpeak", "silent"))
    outcomes = dict(opened.speak(SHARD, {str(number): "…" for number in range(30)}))
    assert {outcome.error_type for outcome in outcomes.values()} == {"NothingToSpeak"}
    assert len(clerk.asked) == 30


def test_what_is_there_is_found_without_asking(speaker):
    opened, clerk = speaker(lambda text: MP3)
    [(_, first)] = opened.speak(SHARD, {"k": "A cat."})
    [(_, again)] = opened.speak(SHARD, {"k": "A cat."})
    assert again == first == opened.find(SHARD, {"k": "A cat.", "l": "A dog."})["k"]
    assert clerk.asked == ["A cat."]
