"""The official Google Cloud client against a gRPC server on this machine, with TLS and a throw-away key file."""

import concurrent.futures
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.pipelines.speech import open_engine
from beamscribe.pipelines.speech.audio import check_audio, encode
from beamscribe.pipelines.speech.engine import SpeechError, SpeechSettings, Waveform
from tests.pipelines.speech.throw_away_tls import Identity

texttospeech = pytest.importorskip("google.cloud.texttospeech")

METHOD = "/google.cloud.texttospeech.v1.TextToSpeech/SynthesizeSpeech"


class Service(grpc.GenericRpcHandler):
    """Speaks with espeak; what it was asked, who asked, and how it shall fail: by the number of the request."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.asked: list[Any] = []
        self.tokens: list[str] = []
        self.fails: Callable[[int], grpc.Status | None] = lambda number: None
        self.sound: Callable[[str], bytes] = lambda text: encode(open_engine(SpeechSettings()).synthesize(text), "wav")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != METHOD:
            return None
        self.tokens += [value for name, value in details.invocation_metadata if name == "authorization"]
        return grpc.unary_unary_rpc_method_handler(
            self._synthesize,
            texttospeech.SynthesizeSpeechRequest.deserialize,
            texttospeech.SynthesizeSpeechResponse.serialize,
        )

    def _synthesize(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append(request)
        status = self.fails(len(self.asked))
        if status is not None:
            context.abort_with_status(status)
        return texttospeech.SynthesizeSpeechResponse(audio_content=self.sound(request.input.text))


@pytest.fixture
def service(server_identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    state = Service()
    server.add_generic_rpc_handlers([state])
    credentials = grpc.ssl_server_credentials([(server_identity.key, server_identity.certificate)])
    state.endpoint = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file(tmp_path / "key.json")))
    for name in ("https_proxy", "HTTPS_PROXY", "grpc_proxy", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield state
    server.stop(None).wait(5)


def key_file(path: Path) -> Path:
    """A service account's key that was made just now and opens nothing."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fields = {
        "type": "service_account",
        "project_id": "throw-away",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "speaker@throw-away.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(fields))
    return path


def status(code: grpc.StatusCode, retry_seconds: float | None = None) -> grpc.Status:
    details = []
    if retry_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(retry_seconds * 1000))
        details.append(any_pb2.Any())
        details[0].Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message="sorry", details=details))


def open_gcloud(service: Service, **settings: Any) -> Any:
    return open_engine(SpeechSettings(engine="gcloud", endpoint=service.endpoint, timeout_seconds=10, **settings))


def test_speaks_with_the_official_client(service: Service) -> None:
    engine = open_gcloud(service, voice="en-US-Neural2-C")
    sound = engine.synthesize("A dog on a beach.")
    assert check_audio(encode(sound, "mp3"), "A dog on a beach.").sample_rate == 22050
    [request] = service.asked
    assert request.input.text == "A dog on a beach."
    assert (request.voice.language_code, request.voice.name) == ("en-US", "en-US-Neural2-C")
    assert request.audio_config.audio_encoding == texttospeech.AudioEncoding.LINEAR16
    [token] = service.tokens
    assert token.startswith("Bearer ")
    assert (engine.name, engine.voice, engine.raw) == ("gcloud", "en-US-Neural2-C", True)
    engine.close()


def test_a_language_without_a_voice(service: Service) -> None:
    open_gcloud(service, lang="de-DE").synthesize("Zwei Hunde.")
    assert (service.asked[0].voice.language_code, service.asked[0].voice.name) == ("de-DE", "")


@pytest.mark.parametrize(
    ("code", "error_type", "passing"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "ServiceRefused", True),
        (grpc.StatusCode.UNAVAILABLE, "ServiceUnreachable", True),
        (grpc.StatusCode.INTERNAL, "ServiceFailed", True),
        (grpc.StatusCode.INVALID_ARGUMENT, "ServiceRefused", False),
        (grpc.StatusCode.PERMISSION_DENIED, "ServiceRefused", False),
        (grpc.StatusCode.UNAUTHENTICATED, "ServiceRefused", False),
    ],
)
def test_errors(service: Service, code: grpc.StatusCode, error_type: str, passing: bool) -> None:
    service.fails = lambda number: status(code)
    with pytest.raises(SpeechError, match="sorry") as caught:
        open_gcloud(service).synthesize("A dog.")
    assert (caught.value.error_type, caught.value.passing) == (error_type, passing)
    assert len(service.asked) == 1  # the client has not tried again behind our back


def test_the_service_says_how_long_it_wants_to_be_left_alone(service: Service) -> None:
    service.fails = lambda number: status(grpc.StatusCode.RESOURCE_EXHAUSTED, 2.5)
    with pytest.raises(SpeechError) as caught:
        open_gcloud(service).synthesize("A dog.")
    assert caught.value.retry_after_seconds == 2.5


def test_unreachable(service: Service) -> None:
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        service.endpoint = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(SpeechError, match="check the network") as caught:
            open_gcloud(service).synthesize("A dog.")
    assert (caught.value.error_type, caught.value.passing) == ("ServiceUnreachable", True)


@pytest.mark.parametrize("text", ["", "...", " "])
def test_nothing_to_speak_is_not_asked(service: Service, text: str) -> None:
    with pytest.raises(SpeechError) as caught:
        open_gcloud(service).synthesize(text)
    assert caught.value.error_type == "NothingToSpeak"
    assert service.asked == []


def test_a_long_text_is_asked_for_in_parts_that_are_joined(service: Service) -> None:
    text = "Zwei Hunde laufen über die Wiese. " * 200 + "日本" * 1000  # 13,000 bytes
    one = encode(Waveform(np.full(24_000 * 60, 3000, np.int16), 24_000), "wav")
    service.sound = lambda part: one
    sound = open_gcloud(service).synthesize(text)
    asked = [request.input.text for request in service.asked]
    assert len(sound.samples) == len(asked) * 24_000 * 60
    assert max(len(part.encode()) for part in asked) <= 5000
    assert "".join(asked).replace(" ", "") == text.replace(" ", "")


def test_a_part_that_comes_too_short_is_an_error_not_a_gap(service: Service) -> None:
    text = "Zwei Hunde laufen über die Wiese. " * 200
    long = encode(Waveform(np.full(24_000 * 300, 3000, np.int16), 24_000), "wav")
    short = encode(Waveform(np.full(24_000, 3000, np.int16), 24_000), "wav")
    service.sound = lambda part: short if len(service.asked) == 2 else long
    with pytest.raises(SpeechError, match="lasts 1.00 s") as caught:
        open_gcloud(service).synthesize(text)
    assert caught.value.error_type == "BadAudio"


def test_markup_and_control_characters_are_text(service: Service) -> None:
    open_gcloud(service).synthesize("<speak>a\0dog<break time='9s'/></speak>\x1b \ud800")
    [request] = service.asked
    assert request.input.text == "<speak>a dog<break time='9s'/></speak>"
    assert not request.input.ssml


def test_no_credentials(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(SpeechError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        open_gcloud(service)
    assert caught.value.error_type == "EngineMissing"


@pytest.mark.slow
def test_a_whole_job_with_exhausted_quotas(service: Service, tmp_path: Path) -> None:
    service.fails = lambda number: status(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.1) if number % 3 == 1 else None
    uris = [f"s3://b/{number}.jpg" for number in range(12)]
    texts = [f"Dog number {number % 6}." for number in range(12)]
    pq.write_table(pa.table({"image_uri": uris, "caption": texts}), tmp_path / "captions.parquet")
    command = ["speak", "--captions", str(tmp_path / "captions.parquet"), "--output", str(tmp_path / "out")]
    engine = ["--engine=gcloud", "--endpoint", service.endpoint, "--lang=en-US", "--requests-per-minute=3000"]
    assert main([*command, *engine, "--loudness=-20"]) == DONE
    rows = ds.dataset(tmp_path / "out" / "index").to_table().to_pylist()
    assert len(rows) == 12
    assert {(row["engine"], row["voice"]) for row in rows} == {("gcloud v1", "en-US")}
    assert len(service.asked) == 6 + sum(number % 3 == 1 for number in range(1, len(service.asked) + 1))
    assert all(abs(row["loudness_lufs"] + 20) < 0.5 for row in rows)
    assert main(["verify", str(tmp_path / "out")]) == DONE


def test_says_a_line(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "dog.ogg"
    assert main(["say", "A dog.", "--output", str(path), "--engine=gcloud", "--endpoint", service.endpoint]) == DONE
    assert path.read_bytes().startswith(b"OggS")
