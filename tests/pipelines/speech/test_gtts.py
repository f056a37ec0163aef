"""The unmodified gTTS package against a local server that speaks Google Translate's protocol behind an HTTPS proxy."""

import base64
import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.speech import open_engine
from pipelines.speech.audio import check_audio, encode, transcode
from pipelines.speech.engine import Encoded, SpeechError, SpeechSettings

Reply = tuple[int, bytes]


def audio_reply(data: bytes) -> Reply:
    inner = json.dumps([base64.b64encode(data).decode()], separators=(",", ":"))
    line = json.dumps([["wrb.fr", "jQ1olc", inner, None, None, None, "generic"], ["di", 9]], separators=(",", ":"))
    return 200, f')]}}\'\n\n{len(line)}\n{line}\n25\n[["e",4,null,null,99]]\n'.encode()


class Service:
    """What the server was asked, and how it shall answer: a function of the text."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Reply] = lambda text: audio_reply(text.encode())
        self.asked: list[tuple[str, str, str, bool | None]] = []  # host, text, language, slow


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def service(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An HTTPS proxy on loopback that answers for every host itself; the standard variables lead gTTS there."""
    state = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        host = ""

        def do_CONNECT(self) -> None:  # noqa: N802 (the name http.server calls)
            self.send_response(200)
            self.end_headers()
            self.host = self.path
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False
            self.handle_one_request()
            self.close_connection = True

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            call = json.loads(urllib.parse.parse_qs(body)["f.req"][0])
            assert call[0][0][0] == "jQ1olc"
            text, lang, slow, _ = json.loads(call[0][0][1])
            state.asked.append((self.host, text, lang, slow))
            status, reply = state.answer(text)
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use_proxy(monkeypatch, server.server_port)
    yield state
    server.shutdown()
    server.server_close()
    thread.join(5)
    assert not thread.is_alive()


def use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


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
    assert service.asked == [("translate.google.com:443", "a dog on a beach", "en", None)]
    assert check_audio(transcode(result, "ogg"), "a dog on a beach").sample_rate == 22050


def test_settings_reach_the_service(service):
    engine = open_engine(SpeechSettings(engine="gtts", lang="fr", tld="co.uk", slow=True))
    assert (engine.name, engine.voice, engine.version.split(".")[0]) == ("gtts", "fr (co.uk, slow)", "2")
    assert engine.synthesize("un chien") == Encoded(b"un chien", "mp3")
    assert service.asked == [("translate.google.co.uk:443", "un chien", "fr", True)]


def test_a_long_caption_is_joined_from_its_parts(service):
    text = "a brown dog runs along the beach " * 9
    data = speak(text).data
    assert len(service.asked) >= 3
    assert data == "".join(part for _, part, _, _ in service.asked).encode()
    assert data.decode().replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("lost", [(200, b")]}'\n\n[]\n"), audio_reply(b"")])
def test_a_part_without_audio_is_an_error_not_a_gap(service, lost):
    service.answer = lambda text: lost if len(service.asked) == 2 else audio_reply(b"sound")
    error = failure("a brown dog runs along the beach " * 9)
    assert error.error_type == "SynthesisFailed"
    assert "of 3 parts" in str(error)


@pytest.mark.parametrize(
    ("status", "error_type", "advice"),
    [
        (429, "ServiceRefused", "fewer workers"),
        (403, "ServiceRefused", "upgrade gTTS"),
        (404, "ServiceRefused", "check the tld"),
        (500, "ServiceFailed", "retry"),
        (503, "ServiceFailed", "retry"),
    ],
)
def test_a_status_that_is_an_error(service, status, error_type, advice):
    service.answer = lambda text: (status, b"sorry")
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
    service.answer = lambda text: (200, body)
    error = failure()
    assert error.error_type == "SynthesisFailed"
    assert "translate.google.com" in str(error)


def test_a_body_outside_ascii_where_audio_should_be(service):
    service.answer = lambda text: (200, 'jQ1olc","[\\"é\\"]\n'.encode())
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
