"""Reads files from the web, but not from inside the network that this machine is in, unless that is allowed.

Somebody who writes a list of image addresses should not be able to make a worker ask its own network's services: the
address that is connected to is looked at, after names are resolved and redirects followed.
"""

import errno
import ipaddress
import socket
import urllib.parse
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import yarl
from fsspec.implementations.http import HTTPFileSystem

from beamscribe.storage.transient import StorageError

CONNECT_SECONDS, SILENT_SECONDS = 30, 60
CHUNK = 2**16
PRIVATE_FLAG = "--allow-private-addresses"

_KEPT_IN_URLS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"<>')
"""Everything else is no part of any URL and is written in percent signs; what is there in percent signs stays."""

_OURS = ("client_kwargs", "headers", "auth", "cookies", "ssl", "proxy", "proxy_auth", "block_size", "cache_type")
"""Options of storage that web requests take; the others are meant for object stores."""

_NOT_GLOBAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # what Azure's machines ask for their settings
            "192.0.0.0/24",  # protocol assignments, parts of which count as global
            "192.88.99.0/24",  # once the way to 6to4
            "64:ff9b:1::/48",  # translated to IPv4 inside a network
            "fec0::/10",  # site-local, of old
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(host: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # Addresses that only wrap one of IPv4 go where that goes.
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if wrapped is None and (address in _NAT64 or int(address) >> 32 == 0):
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    # An address of the other version is in no network.
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_GLOBAL)


class WebFileSystem(HTTPFileSystem):
    """http and https: asks for a URL exactly as it is written, counts what it reads, and looks whom it connects to.

    Args:
        allow_private: whether private, loopback and link-local addresses may be asked too.
        client_kwargs: of `aiohttp.ClientSession`.
        options: of `fsspec.implementations.http.HTTPFileSystem`.
    """

    def __init__(self, allow_private: bool = False, client_kwargs: dict[str, Any] | None = None, **options: Any):
        settings = {
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS),
            **(client_kwargs or {}),
            # A few bytes may inflate to any number, which is counted in `_inflated`.
            "auto_decompress": False,
            "requote_redirect_url": False,
        }
        settings["headers"] = {"Accept-Encoding": "identity", **settings.get("headers", {})}
        if not allow_private:
            if options.get("proxy") or settings.get("proxy") or settings.get("trust_env"):
                raise StorageError(f"a proxy asks addresses that nobody here sees: it needs {PRIVATE_FLAG}")
            settings["trust_env"] = False
        client = _any_client if allow_private else _public_client
        super().__init__(encoded=True, client_kwargs=settings, get_client=client, **options)

    def encode_url(self, url: str) -> yarl.URL:
        """The URL as it is asked for: as written, but for characters that no URL can have."""
        return yarl.URL(_sendable(url), encoded=True)

    async def _cat_file(
        self, url: str, start: int | None = None, end: int | None = None, max_bytes: int | None = None, **kwargs: Any
    ) -> bytes:
        """A file or a part of it.

        Args:
            url: of the file.
            start: of the first byte.
            end: behind the last byte.
            max_bytes: to read at most.
            kwargs: of the request.

        Raises:
            StorageError: if the answer is compressed in a way that was not asked for.
        """
        request = {**self.kwargs, **kwargs}
        part = start is not None or end is not None
        if part:
            limits = await self._process_limits(url, start, end)
            request["headers"] = {**request.get("headers", {}), "Range": limits}
        session = await self.set_session()
        async with session.get(self.encode_url(url), **request) as answer:
            self._raise_not_found_for_status(answer, url)
            # A server may give the whole of a file that a part of was asked for.
            skipped = (start or 0) if part and answer.status != 206 else 0
            wanted = end - (start or 0) if part and end is not None else None
            most = min((bound for bound in (wanted, max_bytes) if bound is not None), default=None)
            data = bytearray()
            async for piece in _inflated(answer):
                data += piece[skipped:]
                skipped = max(0, skipped - len(piece))
                if most is not None and len(data) >= most:
                    break
            return bytes(data[:most])


def web_filesystem(allow_private: bool, options: dict[str, Any]) -> WebFileSystem:
    """The filesystem of http and https.

    Args:
        allow_private: as in `WebFileSystem`.
        options: of storage; those that the web does not know are left out, and those under "http" or "https" count.
    """
    own = {name: value for name, value in options.items() if name in _OURS}
    for protocol in ("http", "https"):
        own.update(options.get(protocol) or {})
    return WebFileSystem(allow_private, **own)


async def _inflated(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What an answer holds, in pieces of bounded size."""
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        async for piece in answer.content.iter_chunked(CHUNK):
            yield piece
        return
    if encoding not in ("gzip", "x-gzip", "deflate") or answer.status == 206:
        raise StorageError(f"{answer.url.host} answers in the encoding {encoding[:20]}, which was not asked for")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    async for packed in answer.content.iter_chunked(CHUNK):
        rest, piece = packed, b""
        # With its last input a full piece may leave some output inside.
        while (rest or len(piece) == CHUNK) and not inflater.eof:
            try:
                piece = inflater.decompress(rest, CHUNK)
            except zlib.error as error:
                raise StorageError(f"{answer.url.host} sends what is no {encoding}: {error}") from error
            yield piece
            rest = inflater.unconsumed_tail
    if not inflater.eof:
        raise StorageError(f"{answer.url.host} sends half of a {encoding} stream", transient=True)


def _sendable(url: str) -> str:
    """A URL with everything in percent signs that none can have, and names of hosts in ASCII."""
    quoted = urllib.parse.quote(url.partition("#")[0], safe=_KEPT_IN_URLS)
    if url.isascii():
        return quoted
    protocol, _, rest = quoted.partition("://")
    host, slash, path = rest.partition("/")
    written = url.partition("://")[2].partition("/")[0]
    return f"{protocol}://{host if written.isascii() else written.encode('idna').decode()}{slash}{path}"


async def _any_client(**kwargs: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(**kwargs)


async def _public_client(**kwargs: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(**{**kwargs, "connector": aiohttp.TCPConnector(socket_factory=_public_socket)})


def _public_socket(address: Any) -> socket.socket:
    """A socket for an address, called for each that is to be connected to.

    Raises:
        PermissionError: if the address is not a public one.
    """
    family, kind, protocol, _, place = address
    if not is_public(place[0]):
        raise PermissionError(
            errno.EACCES, f"{place[0]} is not a public address; {PRIVATE_FLAG} permits such", place[0]
        )
    return socket.socket(family, kind, protocol)
