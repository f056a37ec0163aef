"""Whole objects of S3 are the same whether obstore or s3fs reads them, and errors are those of s3fs."""

import sys
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beamscribe.storage.s3_objects import FAILURES_AT_MOST, S3Objects
from beamscribe.storage.uri import FIRST_BYTES, FileTooLargeError, filesystem, read_uri
from tests.object_stores import ObjectStore

LIMIT = 2 * FIRST_BYTES


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """What obstore answered; None where s3fs was asked instead."""
    found: list[bytes | None] = []
    read = S3Objects.read

    def noting(self: S3Objects, key: str, max_bytes: int) -> bytes | None:
        found.append(read(self, key, max_bytes))
        return found[-1]

    monkeypatch.setattr(S3Objects, "read", noting)
    return found


_names = st.text(
    st.one_of(
        st.sampled_from("./%+ ~#?&=[]{}()\\^`'\"<>|:;,@!$*ü€字\u0301"), st.characters(codec="ascii", categories="L")
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_names)
@example("a b+c%20d%2Fe.jpg")
@example("a//b.jpg")
@example("./a.jpg")
@example("a/../b.jpg")
@example("a.jpg?versionId=1")
@example("a/")
def test_the_object_that_is_read_is_the_one_that_is_named(s3: ObjectStore, name: str) -> None:
    fs, path = filesystem(f"{s3.root}/{name}", s3.options)
    try:
        # What the client cannot write under this name cannot be there.
        fs.pipe_file(path, name.encode())
        there: bytes = fs.cat_file(path)
    except Exception:  # noqa: BLE001
        return
    assert there == name.encode()
    assert read_uri(f"{s3.root}/{name}", s3.options, max_bytes=LIMIT) == there


def test_an_object_comes_from_obstore(s3: ObjectStore, answers: list[bytes | None]) -> None:
    uri = s3.put("a.jpg", b"pixels")
    assert read_uri(uri, s3.options, max_bytes=LIMIT) == b"pixels"
    assert answers == [b"pixels"]


def test_an_empty_object_is_no_bytes(s3: ObjectStore, answers: list[bytes | None]) -> None:
    assert read_uri(s3.put("a.jpg", b""), s3.options, max_bytes=LIMIT) == b""
    assert answers == [b""]


@pytest.mark.parametrize("size", [FIRST_BYTES - 1, FIRST_BYTES, FIRST_BYTES + 1, LIMIT])
def test_a_large_object_is_read_whole(s3: ObjectStore, size: int) -> None:
    assert read_uri(s3.put("a.jpg", b"x" * size), s3.options, max_bytes=LIMIT) == b"x" * size


@pytest.mark.parametrize(("size", "limit"), [(LIMIT + 1, LIMIT), (11, 10)])
def test_one_that_is_too_large_is_not(s3: ObjectStore, size: int, limit: int) -> None:
    uri = s3.put("a.jpg", b"x" * size)
    with pytest.raises(FileTooLargeError, match=f"it has {size} bytes, more than {limit}"):
        read_uri(uri, s3.options, max_bytes=limit)


def test_what_is_not_there_is_told_by_s3fs(s3: ObjectStore, answers: list[bytes | None]) -> None:
    with pytest.raises(FileNotFoundError):
        read_uri(f"{s3.root}/missing.jpg", s3.options, max_bytes=LIMIT)
    assert answers == [None]


def test_objects_that_are_missing_do_not_speak_against_obstore(s3: ObjectStore, answers: list[bytes | None]) -> None:
    uri = s3.put("a.jpg", b"pixels")
    for _ in range(FAILURES_AT_MOST):
        with pytest.raises(FileNotFoundError):
            read_uri(f"{s3.root}/missing.jpg", s3.options, max_bytes=LIMIT)
    assert read_uri(uri, s3.options, max_bytes=LIMIT) == answers[-1] == b"pixels"


class Refusing:
    """A store whose requests fail as often as is said."""

    def __init__(self, times: int, error: Exception) -> None:
        self._times, self._error = times, error
        self.asked = 0

    def get(self, key: str) -> "Refusing":
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return self

    meta: ClassVar = {"size": 6}

    def bytes(self) -> bytes:
        return b"pixels"


@pytest.mark.parametrize(
    ("times", "error", "asked", "last"),
    [
        (FAILURES_AT_MOST, OSError("redirected"), FAILURES_AT_MOST, None),
        (FAILURES_AT_MOST - 1, OSError("busy"), 2 * FAILURES_AT_MOST, b"pixels"),
        (FAILURES_AT_MOST, FileNotFoundError(), 2 * FAILURES_AT_MOST, b"pixels"),
    ],
    ids=["only failures", "some failures", "missing objects"],
)
def test_a_bucket_where_obstore_only_fails_is_left_to_s3fs(
    times: int, error: Exception, asked: int, last: bytes | None
) -> None:
    store = Refusing(times, error)
    objects = S3Objects(store)  # type: ignore[arg-type]
    found = [objects.read("a.jpg", LIMIT) for _ in range(2 * FAILURES_AT_MOST)]
    assert (store.asked, found[-1]) == (asked, last)


@pytest.mark.parametrize(
    "options",
    [
        {"requester_pays": True},
        {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}},
        {"config_kwargs": {"signature_version": "s3v4"}},
        {"client_kwargs": {"verify": False}},
    ],
)
def test_options_that_only_s3fs_knows_are_left_to_it(
    s3: ObjectStore, answers: list[bytes | None], options: dict[str, Any]
) -> None:
    uri = s3.put("a.jpg", b"pixels")
    assert read_uri(uri, {**s3.options, **options}, max_bytes=LIMIT) == b"pixels"
    assert not answers


def test_without_obstore_s3fs_reads(
    s3: ObjectStore, answers: list[bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert read_uri(s3.put("a.jpg", b"pixels"), s3.options, max_bytes=LIMIT) == b"pixels"
    assert not answers


def test_without_credentials_nothing_is_signed(s3: ObjectStore, answers: list[bytes | None]) -> None:
    fs, path = filesystem(s3.root, s3.options)
    uri = s3.put("a.jpg", b"pixels")
    fs.chmod(f"{path}/a.jpg", "public-read")
    assert read_uri(uri, {**s3.options, "anon": True}, max_bytes=LIMIT) == b"pixels"
    assert answers == [b"pixels"]
