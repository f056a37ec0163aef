"""Reads files from the web, but not from inside the network that this machine is in, unless that is allowed.

Whoever writes a list of image addresses should not be able to make a worker ask its own network's services: the address
that is connected to is looked at, after names are resolved and redirects followed.
"""

import errno
import ipaddress
import socket
from typing import Any

import aiohttp

WEB = ("http://", "https://")
CONNECT_SECONDS, SILENT_SECONDS = 30, 60


def web_options(allow_private: bool) -> dict[str, Any]:
    """Options of fsspec's HTTP filesystem.

    Args:
        allow_private: whether private, loopback and link-local addresses may be asked too.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    client = _any_client if allow_private else _public_client
    return {"get_client": client, "client_kwargs": {"timeout": timeout}}


async def _any_client(**kwargs: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(**kwargs)


async def _public_client(**kwargs: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_public_socket), **kwargs)


def _public_socket(address: Any) -> socket.socket:
    """A socket for an address, called for each that is to be connected to.

    Raises:
        PermissionError: if the address is not a public one.
    """
    family, kind, protocol, _, place = address
    if not is_public(place[0]):
        raise PermissionError(
            errno.EACCES, f"{place[0]} is not a public address; --allow-private-addresses permits such", place[0]
        )
    return socket.socket(family, kind, protocol)


def is_public(host: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # Addresses that only wrap one of IPv4 go where that goes.
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if wrapped is not None:
            return is_public(str(wrapped))
    return address.is_global and not address.is_multicast
