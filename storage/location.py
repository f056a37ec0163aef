"""What a URI names: a protocol and an exact path on it. Nothing here connects anywhere.

A name is data, never syntax: `::`, `#`, `?`, `%41`, `[` and spaces in the name of a file are parts of that name. Chains
of fsspec (`zip://inside::archive`) are taken apart only where a person typed one, see `pipelines.sources.archives`.
"""

import os
import re
import urllib.parse
from typing import NamedTuple

LOCAL = "file"
WEB = ("http", "https")
_ALIASES = {"local": LOCAL, "s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
"""Protocols with two names; an image has one id, whichever of them was written."""

READ_FOR_STRANGERS = frozenset((LOCAL, "memory", "s3", "gs", "abfs", "hdfs", *WEB))
"""Protocols that a URI in a file may have. Every other one of fsspec runs code, opens chains or asks any host."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:::|://[^:]*::).*://", re.DOTALL)
_PASSWORD = re.compile(r"(://)[^/?#@]*:[^/?#]*@")
_PORT = re.compile(r":[0-9]+$")


class UriError(ValueError):
    """A URI that is not read where it stands; the message says why, without any password that it holds."""


class Location(NamedTuple):
    """Where a file is.

    Attributes:
        protocol: in small letters, one for each storage: "file" for local paths.
        path: exact; of http and https the whole URL as it was written, but for capitals of the protocol.
    """

    protocol: str
    path: str

    @property
    def local(self) -> bool:
        """Whether it is a path of this machine."""
        return self.protocol == LOCAL

    @property
    def web(self) -> bool:
        """Whether it is asked for over http or https."""
        return self.protocol in WEB

    @property
    def uri(self) -> str:
        """The one absolute URI, safe to store as UTF-8; local paths lose `..` and double slashes.

        A local name that is not UTF-8 is written with backslash escapes: it cannot be opened by that URI, so it ends as
        a failure row instead of stopping the job.
        """
        if self.web:
            return storable(self.path)
        path = os.path.normpath(os.path.join(os.getcwd(), self.path)) if self.local else self.path
        return storable(f"{self.protocol}://{path}")


def storable(name: str) -> str:
    """A name as UTF-8 can hold it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def locate(uri: str) -> Location:
    """Takes a URI apart that a person typed or that a listing gave: any protocol, and no chain.

    Args:
        uri: a local path, or `protocol://path`; a local path may begin with `~/`.
    """
    found = _SCHEME.match(uri)
    if found is None:
        return Location(LOCAL, _absolute(os.path.expanduser(uri)))
    written = found[1].lower()
    protocol, path = _ALIASES.get(written, written), found[2]
    if protocol == LOCAL:
        return Location(LOCAL, _absolute(path))
    if protocol in WEB:
        return Location(protocol, f"{protocol}://{path}")
    return Location(protocol, f"/{path.strip('/')}" if protocol == "memory" else path.rstrip("/"))


def named_uri(name: str, folder: str | None = None, *, allow_http: bool) -> Location:
    """Takes a URI apart that a file names: the only way from a stranger's text to storage.

    Args:
        name: as it stands in a manifest, a caption's row, an output's manifest or a bundle.
        folder: URI of the folder where relative paths begin; None: the working directory.
        allow_http: whether it may be on the web. What is there is asked through `beamscribe.storage.web` in any case.

    Raises:
        UriError: if the protocol is none that files may name, if it is on the web and that is not allowed, if it is a
            chain, or if it holds a password.
    """
    found = _SCHEME.match(name)
    if found is None:
        if _CHAIN.match(name):
            raise UriError(f"{shown(name)} is a chain of URIs, which is read only from the command line")
        return _named_path(name, folder)
    location = locate(name)
    if location.protocol not in READ_FOR_STRANGERS:
        raise UriError(
            f"{shown(name)}: a file may not name the protocol {location.protocol}, only local paths, "
            f"{', '.join(sorted(READ_FOR_STRANGERS - {LOCAL, 'memory'}))}"
        )
    if has_password(name):
        raise UriError(f"{shown(name)} holds a password, which every row would repeat: leave it out")
    if location.web and not allow_http:
        raise UriError(f"{name} is on the web: --allow-http permits reading from there")
    # An address with a port could be any service's; object stores are asked where the user's options say.
    if location.protocol == "hdfs" and _PORT.search(location.path.partition("/")[0]):
        raise UriError(f"{name} names a port: a file may name hdfs:///PATH or hdfs://NAME/PATH only")
    return location


def _named_path(name: str, folder: str | None) -> Location:
    if name.startswith("/"):
        return Location(LOCAL, _absolute(name))
    if name.startswith("~/"):
        return Location(LOCAL, os.path.expanduser(name))
    if folder is None:
        return Location(LOCAL, _absolute(name))
    base = locate(folder)
    if base.local:
        return Location(LOCAL, _absolute(f"{base.path}/{name}"))
    # Elsewhere `..` is a name like any other, so it is resolved here; nothing leads out of a bucket or off a host.
    above = f"{base.protocol}://" if base.web else ""
    head, *parts = base.path.removeprefix(above).split("/")
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return base._replace(path=above + "/".join((head, *parts)))


def folder_of(uri: str) -> str:
    """The folder of a file: the URI where relative names in it begin."""
    location = locate(uri)
    # A query may hold slashes.
    path = re.split("[?#]", location.path, maxsplit=1)[0] if location.web else location.path
    return location._replace(path=path.rpartition("/")[0] or "/").uri


def path_of(uri: str) -> str:
    """The path in a URI: of a URL what a browser would show as its file, of any other the exact path."""
    location = locate(uri)
    return urllib.parse.urlsplit(location.path).path if location.web else location.path


def base_name(uri: str) -> str:
    """The last part of a URI's path: of a URL without its query, of any other name as it is."""
    return path_of(uri).rstrip("/").rpartition("/")[2]


def without_query(uri: str) -> str:
    """A URL without its query and fragment, which may hold a signature; any other URI as it is."""
    return re.split("[?#]", uri, maxsplit=1)[0] if locate(uri).web else uri


def last_link(uri: str) -> str:
    """The file that is asked for of a chain such as `zip://inside::https://host/a.zip`; any other URI as it is."""
    return uri.rpartition("::")[2] if is_chain(uri) else uri


def is_chain(uri: str) -> bool:
    """Whether `::` in it is more than a part of a name, on which files of known storage have no say."""
    return _SCHEME.match(uri) is not None and locate(uri).protocol not in READ_FOR_STRANGERS and "::" in uri


def has_password(uri: str) -> bool:
    """Whether a URI, or a link of a chain, names a user with a password."""
    if _SCHEME.match(uri) is None or locate(uri).local:
        return False
    links = uri.split("::") if is_chain(uri) else (uri,)
    return any(_PASSWORD.match(link[link.find("://") :]) for link in links if "://" in link)


def shown(uri: str) -> str:
    """A URI as a message may repeat it: without passwords."""
    return _PASSWORD.sub(r"\1…@", uri)


def _absolute(path: str) -> str:
    # Asking for the working directory costs as much as opening a file.
    return (path if path.startswith("/") else os.path.join(os.getcwd(), path)).rstrip("/") or "/"
