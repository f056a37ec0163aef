import http.server
import threading
from collections.abc import Iterator

import pytest

from model.uri import read_uri
from model.web import is_public


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds tell their machines' credentials
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
    ],
)
def test_public_addresses(host: str, public: bool) -> None:
    assert is_public(host) == public


class _Answer(http.server.BaseHTTPRequestHandler):
    """`/elsewhere` redirects to the image."""

    asked: list[str] = []

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        self.asked.append(self.path)
        self.send_response(302 if self.path == "/elsewhere" else 200)
        if self.path == "/elsewhere":
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/image")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"image")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Answer.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_inner_address_is_asked_only_where_that_is_allowed(server: str) -> None:
    assert read_uri(f"http://{server}/image", {}, allow_private=True) == b"image"
    assert read_uri(f"http://{server}/elsewhere", {}, allow_private=True) == b"image"
    asked = list(_Answer.asked)
    for host in (server, server.replace("127.0.0.1", "localhost")):
        with pytest.raises(OSError, match="is not a public address; --allow-private-addresses"):
            read_uri(f"http://{host}/image", {})
    assert _Answer.asked == asked


def test_a_redirect_leads_inside_no_more_than_an_address_does(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first host counts as public, the one that it redirects to does not.
    monkeypatch.setattr("model.web.is_public", lambda host: host == "127.0.0.1" and not _Answer.asked)
    with pytest.raises(OSError, match="is not a public address"):
        read_uri(f"http://{server}/elsewhere", {})
    assert _Answer.asked == ["/elsewhere"]
