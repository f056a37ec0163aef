"""A server that speaks Google Translate's speech protocol behind an HTTPS proxy on loopback.

The standard proxy variables lead the unmodified gTTS package there, whatever host it wants to reach.
"""

import base64
import contextlib
import http.server
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pipelines.speech.throw_away_tls import throw_away_identity


class Reply(NamedTuple):
    """What the server answers; no status resets the connection."""

    status: int | None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    """What the server was asked, and when (seconds of the monotonic clock)."""

    host: str
    text: str
    lang: str
    slow: bool | None
    when: float


def audio_reply(data: bytes) -> Reply:
    inner = json.dumps([base64.b64encode(data).decode()], separators=(",", ":"))
    line = json.dumps([["wrb.fr", "jQ1olc", inner, None, None, None, "generic"], ["di", 9]], separators=(",", ":"))
    return Reply(200, f')]}}\'\n\n{len(line)}\n{line}\n25\n[["e",4,null,null,99]]\n'.encode())


class Service:
    """What the server was asked, and how it shall answer: a function of the text."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Reply] = lambda text: audio_reply(text.encode())
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    def reply(self, host: str, body: bytes) -> Reply:
        call = json.loads(urllib.parse.parse_qs(body.decode())["f.req"][0])
        assert call[0][0][0] == "jQ1olc"
        text, lang, slow, _ = json.loads(call[0][0][1])
        with self.lock:
            self.asked.append(Asked(host, text, lang, slow, time.monotonic()))
            return self.answer(text)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are none of our business."""


@contextlib.contextmanager
def serving(service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs the server, and leads there whatever heeds the proxy variables."""
    identity = throw_away_identity()
    pem = folder / "server.pem"
    pem.write_bytes(identity.key + identity.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Handler(http.server.BaseHTTPRequestHandler):
        host = ""

        def do_CONNECT(self) -> None:  # noqa: N802 (the name http.server calls)
            self.send_response(200)
            self.end_headers()
            self.host = self.path
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False
            self.handle_one_request()
            self.close_connection = True

        def do_POST(self) -> None:  # noqa: N802
            reply = service.reply(self.host, self.rfile.read(int(self.headers["Content-Length"])))
            if reply.status is None:
                self.connection.close()
                return
            self.send_response(reply.status)
            for header in (("Content-Length", str(len(reply.body))), *reply.headers):
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use_proxy(monkeypatch, server.server_port)
    yield
    server.shutdown()
    server.server_close()
    thread.join(5)
    assert not thread.is_alive()


def use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
