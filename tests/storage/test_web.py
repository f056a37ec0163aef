import contextlib
import gzip
import http.server
import threading
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from beamscribe.storage.transient import StorageError
from beamscribe.storage.uri import FileTooLargeError, read_range, read_uri
from beamscribe.storage.web import is_public


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
        ("64:ff9b::7f00:1", False),  # NAT64 of 127.0.0.1
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d70e", True),
        ("64:ff9b:1::5db8:d70e", False),
        ("::7f00:1", False),  # IPv4-compatible, of old
        ("168.63.129.16", False),  # Azure's machines ask it for their settings
        ("::ffff:168.63.129.16", False),
        ("192.0.0.9", False),
        ("192.0.0.192", False),
        ("0.1.2.3", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("fec0::1", False),
        ("2001:db8::1", False),
        ("100.127.255.254", False),
    ],
)
def test_public_addresses(host: str, public: bool) -> None:
    assert is_public(host) == public


SIGNED = "/a%2Fb%3A%40/c%41.jpg?u=https%3A%2F%2Fh.org%2Fa&sig=%7e+~'()*,;|"
BOMB_BYTES = 2**27


def bomb(encoding: int) -> bytes:
    """Zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9, wbits=encoding)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(BOMB_BYTES // 2**20)) + packer.flush()


class _Answer(http.server.BaseHTTPRequestHandler):
    """`/elsewhere` redirects to the image."""

    asked: list[str] = []
    accepted: list[str] = []

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        self.asked.append(self.path)
        self.accepted.append(self.headers.get("Accept-Encoding", ""))
        if self.path.startswith("/packed"):
            _, _, encoding, kind = self.path.split("/")
            packed = {"gzip": gzip.compress(b"image"), "deflate": zlib.compress(b"image")}
            data = bomb(31) if kind == "bomb" else packed.get(encoding, b"image")
            self.send_response(200)
            self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)
            return
        if self.path == "/signed":
            self.send_response(302)
            self.send_header("Location", SIGNED)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(302 if self.path == "/elsewhere" else 200)
        if self.path == "/elsewhere":
            self.send_header("Location", f"http://localhost:{self.connection.getsockname()[1]}/image")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"image")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Answer.asked.clear()
    _Answer.accepted.clear()
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
    monkeypatch.setattr("beamscribe.storage.web.is_public", lambda host: host == "127.0.0.1" and not _Answer.asked)
    with pytest.raises(OSError, match="is not a public address"):
        read_uri(f"http://{server}/elsewhere", {})
    assert _Answer.asked == ["/elsewhere"]


def test_a_url_is_asked_for_as_it_was_written(server: str) -> None:
    for path in (SIGNED, "/a//b/../c.jpg", "/x?y={z}&w=[1]", "/%zz", "/a%20b+c"):
        assert read_uri(f"HTTP://{server}{path}", {}, allow_private=True) == b"image"
        assert _Answer.asked[-1] == path
    assert read_uri(f"http://{server}/signed", {}, allow_private=True) == b"image"
    assert _Answer.asked[-2:] == ["/signed", SIGNED]
    assert set(_Answer.accepted) == {"identity"}


def test_what_no_url_can_have_is_written_in_percent_signs(server: str) -> None:
    read_uri(f"http://{server}/ä b\r\nX: 1#part", {}, allow_private=True)
    assert _Answer.asked == ["/%C3%A4%20b%0D%0AX:%201"]


def test_answers_are_counted_after_they_are_inflated(server: str) -> None:
    for encoding in ("gzip", "deflate"):
        assert read_uri(f"http://{server}/packed/{encoding}/small", {}, allow_private=True, max_bytes=5) == b"image"
    tracemalloc.start()
    with pytest.raises(FileTooLargeError, match="more than 1000000 bytes; --max-bytes"):
        read_uri(f"http://{server}/packed/gzip/bomb", {}, allow_private=True, max_bytes=10**6)
    assert tracemalloc.get_traced_memory()[1] < BOMB_BYTES / 4
    tracemalloc.stop()
    with pytest.raises(StorageError, match="in the encoding br, which was not asked for"):
        read_uri(f"http://{server}/packed/br/small", {}, allow_private=True)
    with pytest.raises(FileTooLargeError):
        read_uri(f"http://{server}/image", {}, allow_private=True, max_bytes=4)


def test_a_part_of_a_file_from_a_server_that_gives_all_of_it(server: str) -> None:
    assert read_range(f"http://{server}/image", 1, 3, {}, allow_private=True) == b"mag"


def test_no_proxy_asks_in_our_place(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{server}")
    with pytest.raises(OSError, match="not a public address"):
        read_uri("http://127.0.0.1:1/x", {})
    for options in ({"client_kwargs": {"trust_env": True}}, {"proxy": f"http://{server}"}, {"http": {"proxy": "x"}}):
        with pytest.raises(StorageError, match="--allow-private-addresses"):
            read_uri("http://example.org/x", options)
    assert _Answer.asked == []


def test_options_of_object_stores_do_not_reach_the_web(server: str) -> None:
    options = {"endpoint_url": "x", "anon": True, "headers": {"X": "1"}}
    assert read_uri(f"http://{server}/image", options, allow_private=True) == b"image"
