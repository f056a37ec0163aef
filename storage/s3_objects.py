"""Whole objects of S3 through obstore, which needs a seventh of the processor time that s3fs needs for a request.

s3fs stays the client: it knows the options, finds the credentials and says what is wrong. Only the answers that succeed
come from here; whatever else happens is asked again through s3fs.
"""

import datetime
import os
import weakref
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.asyn import sync

if TYPE_CHECKING:
    from obstore.store import S3Store

FAILURES_AT_MOST = 8
"""Requests that fail one after the other until a bucket is read through s3fs alone."""

_CLIENT_OPTIONS = frozenset(("endpoint_url", "region_name"))
_CONFIG_OPTIONS = frozenset(("max_pool_connections", "s3", "connect_timeout", "read_timeout"))

_CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Environment variables that name the authorities which the clients of AWS trust, and obstore does not know of."""

AGAIN_AFTER = datetime.timedelta(milliseconds=50)
"""Until a request that a store refused for now is made once more."""

CREDENTIALS_LAST = datetime.timedelta(minutes=5)
"""Until s3fs is asked for its credentials again, which renews those of a role before they end."""


class LargeObjectError(Exception):
    """An object has more bytes than are read.

    Attributes:
        size: bytes of the object.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"it has {size} bytes")
        self.size = size


class S3Objects:
    """The objects of one bucket.

    Args:
        store: of the bucket.
    """

    def __init__(self, store: "S3Store") -> None:
        self._store = store
        self._failures = 0

    def read(self, key: str, max_bytes: int) -> bytes | None:
        """The bytes of an object, or None if s3fs is to be asked.

        Raises:
            LargeObjectError: if it has more than `max_bytes`; none of them are read.
        """
        if self._failures >= FAILURES_AT_MOST:
            return None
        try:
            answer = self._store.get(key)
            size = answer.meta["size"]
            data = None if size > max_bytes else bytes(answer.bytes())
        except FileNotFoundError:
            return None  # Most likely for s3fs too, which says so; it tells nothing of the bucket.
        except Exception:  # noqa: BLE001 - s3fs is asked the same, and its error is the one that is told
            self._failures += 1
            return None
        self._failures = 0
        if data is None:
            raise LargeObjectError(size)
        return data


_buckets: "weakref.WeakKeyDictionary[fsspec.AbstractFileSystem, dict[str, S3Objects | None]]" = (
    weakref.WeakKeyDictionary()
)


def s3_objects(fs: fsspec.AbstractFileSystem, bucket: str) -> S3Objects | None:
    """The objects of a bucket as a filesystem of s3fs reaches them, or None if only s3fs knows how.

    Args:
        fs: of any kind.
        bucket: its name.
    """
    known = _buckets.setdefault(fs, {})
    if bucket not in known:
        try:
            known[bucket] = _opened(fs, bucket)
        except Exception:  # noqa: BLE001 - s3fs meets it too, and tells it
            known[bucket] = None
    return known[bucket]


def _opened(fs: Any, bucket: str) -> S3Objects | None:
    try:
        from obstore.store import S3Store
    except ImportError:
        return None
    if type(fs).__module__ != "s3fs.core" or not _is_plain(fs) or not _is_plain_bucket(bucket):
        return None
    # The client of s3fs has read the environment and the configuration files.
    client = fs.s3
    endpoint = client.meta.endpoint_url
    secure = not endpoint.startswith("http://")
    if secure and any(name in os.environ for name in _CERTIFICATES):
        return None
    return S3Objects(
        S3Store(
            bucket,
            endpoint=endpoint,
            region=client.meta.region_name or "us-east-1",
            virtual_hosted_style_request=False,
            skip_signature=bool(fs.anon),
            credential_provider=None if fs.anon else _credentials(fs),
            client_options={"allow_http": not secure, "timeout": "120s"},
            # A busy store is asked again soon; the patience is that of `storage.transient`, through s3fs.
            retry_config={
                "max_retries": 1,
                "backoff": {"init_backoff": AGAIN_AFTER, "max_backoff": AGAIN_AFTER, "base": 2},
            },
        )
    )


def _is_plain(fs: Any) -> bool:
    """Whether a filesystem has no option that changes requests and that is not passed on here."""
    return (
        not fs.s3_additional_kwargs
        and not fs.requester_pays
        and not fs.version_aware
        and set(fs.client_kwargs) <= _CLIENT_OPTIONS
        and set(fs.config_kwargs) <= _CONFIG_OPTIONS
    )


def _is_plain_bucket(bucket: str) -> bool:
    """Whether a name is one of a bucket, and not of an access point or of a directory bucket."""
    return ":" not in bucket and not bucket.endswith(("--x-s3", "-s3alias"))


def _credentials(fs: Any) -> Any:
    """A function that gives the credentials that s3fs uses."""

    async def found() -> tuple[str, str, str | None]:
        held = await fs.session.get_credentials()
        frozen = await held.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token

    def asked() -> dict[str, Any]:
        key, secret, token = (fs.key, fs.secret, fs.token) if fs.key else sync(fs.loop, found)  # pyright: ignore[reportGeneralTypeIssues]
        ends = datetime.datetime.now(datetime.UTC) + CREDENTIALS_LAST
        return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": ends}

    return asked
