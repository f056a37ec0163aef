"""The unmodified gTTS package against a local server that speaks Google Translate's protocol behind an HTTPS proxy."""

import socket
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from beamscribe.pipelines.speech import open_engine
from beamscribe.pipelines.speech.audio import check_audio, encode, transcode
from beamscribe.pipelines.speech.engine import Encoded, SpeechError, SpeechSettings
from tests.pipelines.speech.translate_service import Reply, Service, audio_reply, serving, use_proxy


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    state = Service()
    with serving(state, tmp_path, monkeypatch):
        yield state


def speak(text: str, **settings) -> Encoded:
    result = open_engine(SpeechSettings(engine="gtts", timeout_seconds=5, **settings)).synthesize(text)
    assert isinstance(result, Encoded)
    return result


def failure(text: str = "a dog", **settings) -> SpeechError:
    with pytest.raises(SpeechError) as caught:
        speak(text, **settings)
    return caught.value


def test_returns_the_bytes_the_service_sent(service):
    mp3 = encode(open_engine(SpeechSettings()).synthesize("a dog on a beach"), "mp3")
    service.answer = lambda text: audio_reply(mp3)
    result = speak("a dog on a beach")
    assert result == Encoded(mp3, "mp3")
    assert [one[:4] for one in service.asked] == [("translate.google.com:443", "a dog on a beach", "en", None)]
    assert check_audio(transcode(result, "ogg"), "a dog on a beach").sample_rate == 22050


def test_settings_reach_the_service(service):
    engine = open_engine(SpeechSettings(engine="gtts", lang="fr", tld="co.uk", slow=True))
    assert (engine.name, engine.voice, engine.version.split(".")[0]) == ("gtts", "fr (co.uk, slow)", "2")
    assert engine.synthesize("un chien") == Encoded(b"un chien", "mp3")
    assert [one[:4] for one in service.asked] == [("translate.google.co.uk:443", "un chien", "fr", True)]


def test_a_long_caption_is_joined_from_its_parts(service):
    text = "a brown dog runs along the beach " * 9
    data = speak(text).data
    assert len(service.asked) >= 3
    assert data == "".join(one.text for one in service.asked).encode()
    assert data.decode().replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("lost", [Reply(200, b")]}'\n\n[]\n"), audio_reply(b"")])
def test_a_part_without_audio_is_an_error_not_a_gap(service, lost):
    service.answer = lambda text: lost if len(service.asked) == 2 else audio_reply(b"sound")
    error = failure("a brown dog runs along the beach " * 9)
    assert error.error_type == "SynthesisFailed"
    assert "no audio for" in str(error)
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("status", "error_type", "advice"),
    [
        (429, "ServiceRefused", "--requests-per-minute"),
        (403, "ServiceRefused", "upgrade gTTS"),
        (404, "ServiceRefused", "check the tld"),
        (500, "ServiceFailed", "retry"),
        (503, "ServiceFailed", "retry"),
    ],
)
def test_a_status_that_is_an_error(service, status, error_type, advice):
    service.answer = lambda text: Reply(status, b"sorry")
    error = failure()
    assert error.error_type == error_type
    assert f"translate.google.com answered {status}" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Before you continue</html>", b'[["wrb.fr","jQ1olc",null]]\n', b'jQ1olc","[\\"A\\"]\n', b"\xff\xfe\n"],
    ids=["empty", "html", "null", "half base64", "not UTF-8"],
)
def test_a_garbage_body(service, body):
    service.answer = lambda text: Reply(200, body)
    error = failure()
    assert error.error_type == "SynthesisFailed"
    assert "translate.google.com" in str(error)


def test_a_body_outside_ascii_where_audio_should_be(service):
    service.answer = lambda text: Reply(200, 'jQ1olc","[\\"é\\"]\n'.encode())
    assert failure().error_type == "SynthesisFailed"


def test_unreachable(monkeypatch):
    with socket.socket() as taken:  # bound, never listening: connections are refused, and nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        use_proxy(monkeypatch, taken.getsockname()[1])
        error = failure()
    assert error.error_type == "ServiceUnreachable"
    assert "translate.google.com" in str(error)
    assert "check the network" in str(error)


def test_a_service_that_never_answers_times_out(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        use_proxy(monkeypatch, silent.getsockname()[1])
        engine = open_engine(SpeechSettings(engine="gtts", timeout_seconds=0.3))
        with pytest.raises(SpeechError, match="timed out") as caught:
            engine.synthesize("a dog")
    assert caught.value.error_type == "ServiceUnreachable"


def test_a_tld_that_makes_no_address(service):
    assert failure(tld="c om/[").error_type == "ServiceUnreachable"
    assert service.asked == []


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_nothing_to_speak(service, text):
    assert failure(text).error_type == "NothingToSpeak"
    assert service.asked == []


def test_unknown_language_and_bad_timeout_are_refused_at_the_start(service):
    with pytest.raises(SpeechError, match="klingon") as caught:
        open_engine(SpeechSettings(engine="gtts", lang="klingon"))
    assert caught.value.error_type == "UnknownVoice"
    with pytest.raises(SpeechError, match="above 0") as caught:
        open_engine(SpeechSettings(engine="gtts", timeout_seconds=0))
    assert caught.value.error_type == "BadSetting"
    assert service.asked == []


@pytest.mark.parametrize(("status", "passing"), [(429, True), (500, True), (503, True), (403, False), (404, False)])
def test_what_may_pass_and_when(service, status, passing):
    service.answer = lambda text: Reply(status, headers=(("Retry-After", "7"),))
    error = failure()
    assert (error.passing, error.retry_after_seconds) == (passing, 7.0 if passing else None)


def test_a_reset_connection_may_pass(service):
    service.answer = lambda text: Reply(None)
    error = failure()
    assert (error.error_type, error.passing) == ("ServiceUnreachable", True)


@pytest.mark.slow
def test_each_part_is_a_request_of_its_own(service):
    asked = []

    def ask(request):
        asked.append(len(service.asked))
        return request()

    engine = open_engine(SpeechSettings(engine="gtts", timeout_seconds=5), ask)
    engine.synthesize("what a dog! a brown dog? it runs along the beach: " * 9)
    assert asked == list(range(len(service.asked)))
    assert len(asked) > 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "สวัสดีครับ" * 40,
        "ちゃいろのいぬが" * 60,
        "http://a.example/" + "x1" * 300,
        "ni\u0308o" * 90,
        "w " * 200,
    ],
    ids=["thai", "japanese", "url", "combining", "words"],
)
def test_every_letter_is_in_a_part_of_at_most_a_hundred(service, text):
    speak(text)
    parts = [one.text for one in service.asked]
    assert max(map(len, parts)) <= 100
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert not any(unicodedata.category(part[0]).startswith("M") for part in parts)


def test_letters_that_gtts_leaves_out_are_an_error(service, monkeypatch):
    monkeypatch.setattr("beamscribe.pipelines.speech.gtts.GttsEngine._bodies", lambda self, piece: [])
    assert failure("a dog").error_type == "NothingToSpeak"
    engine = open_engine(SpeechSettings(engine="gtts", timeout_seconds=5))
    whole = list(engine._prepare("a dog").get_bodies())
    monkeypatch.setattr("beamscribe.pipelines.speech.gtts.GttsEngine._bodies", lambda self, piece: whole)
    assert "leaves out 6 letters" in str(failure("a dog or a cat"))
