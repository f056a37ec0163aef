import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.storage.location import (
    UriError,
    base_name,
    folder_of,
    has_password,
    last_link,
    locate,
    named_uri,
    shown,
    without_query,
)
from beamscribe.storage.uri import canonical, filesystem

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
ODD = (
    "cat::1.jpg",
    "a#b.jpg",
    "what?.jpg",
    "%41.jpg",
    "a b [1].jpg",
    "zip::x.jpg",
    "a:b@c.jpg",
    "~x.jpg",
    "file:x.jpg",
)


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_a_name_on_every_storage(name: str) -> None:
    for folder in ("file:///photos", "s3://bucket/photos", "gs://bucket/photos", "memory:///photos"):
        uri = f"{folder}/{name}"
        assert locate(uri).uri == uri
        assert named_uri(uri, allow_http=False).uri == uri
        assert named_uri(name, folder, allow_http=False).uri == uri
    assert named_uri(name, "https://h.org/a", allow_http=True).uri == f"https://h.org/a/{name}"
    fs, path = filesystem(f"/photos/{name}", {})
    assert (path, canonical(fs, path)) == (f"/photos/{name}", f"file:///photos/{name}")


@pytest.mark.parametrize(
    ("uri", "same"),
    [
        ("HTTP://Example.org/A.jpg?x=%2F#f", "http://Example.org/A.jpg?x=%2F#f"),
        ("HttpS://h/a", "https://h/a"),
        ("S3://b/k", "s3://b/k"),
        ("s3a://b/k", "s3://b/k"),
        ("gcs://b/k", "gs://b/k"),
        ("az://c/k", "abfs://c/k"),
        ("file:///a//b/../c.jpg", "file:///a/c.jpg"),
        ("/a/b/", "file:///a/b"),
        ("memory://b/k", "memory:///b/k"),
        ("s3://b/a//b.jpg", "s3://b/a//b.jpg"),
    ],
)
def test_one_uri_for_one_file(uri: str, same: str) -> None:
    assert locate(uri).uri == same
    assert named_uri(uri, allow_http=True).uri == same


@pytest.mark.parametrize(
    "uri",
    [
        "zip://x.jpg::http://127.0.0.1:8765/x.zip",
        "tar://x.jpg::/tmp/x.tar",
        "reference://x::http://127.0.0.1/x",
        "simplecache::http://127.0.0.1/x.jpg",
        "filecache::zip://x::http://127.0.0.1/x.jpg",
        "blockcache::s3://b/x",
        "htp://example.org/a.jpg",
        "ftp://127.0.0.1/a",
        "github://o:r@/a",
        "sftp://h/a",
        "jar://x",
        "data://x",
        "hdfs://127.0.0.1:8765/x",
        "webhdfs://127.0.0.1/x",
        "Sftp://user:SECRET@h/a",
        "https://user:SECRET@h.org/a",
        "s3://key:SECRET@bucket/x",
        "zip://a::sftp://user:SECRET@h/a",
        "simplecache::https://user:SECRET@h/a",
    ],
)
def test_what_a_file_may_not_name(uri: str) -> None:
    with pytest.raises(UriError) as error:
        named_uri(uri, "s3://bucket/folder", allow_http=True)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("uri", ["http://h/a", "HTTPS://h/a"])
def test_the_web_needs_a_flag(uri: str) -> None:
    with pytest.raises(UriError, match="--allow-http"):
        named_uri(uri, allow_http=False)
    assert named_uri(uri, allow_http=True).web


@pytest.mark.parametrize(
    ("name", "folder", "uri"),
    [
        ("../b.jpg", "file:///a/lists", "file:///a/b.jpg"),
        ("./b.jpg", "s3://bucket/lists", "s3://bucket/lists/b.jpg"),
        ("../b.jpg", "s3://bucket/lists", "s3://bucket/b.jpg"),
        ("../../../other/b.jpg", "s3://bucket/lists", "s3://bucket/other/b.jpg"),
        ("../../b.jpg", "https://h/lists", "https://h/b.jpg"),
        ("a//b.jpg", "gs://bucket/lists", "gs://bucket/lists/a//b.jpg"),
        ("/b.jpg", "s3://bucket/lists", "file:///b.jpg"),
    ],
)
def test_relative_names_begin_at_a_folder(name: str, folder: str, uri: str) -> None:
    assert named_uri(name, folder, allow_http=True).uri == uri


def test_parts_of_uris() -> None:
    assert folder_of("https://h/a/list.txt?sig=x/y") == "https://h/a"
    assert folder_of("s3://b/a?x/list#1/l.txt") == "s3://b/a?x/list#1"
    assert folder_of("/l.txt") == "file:///"
    assert base_name("https://h/a/b.jpg?sig=x/y") == "b.jpg"
    assert base_name("s3://b/a/b?.jpg") == "b?.jpg"
    assert without_query("https://h/a.jpg?sig=1#f") == "https://h/a.jpg"
    assert without_query("s3://b/a?.jpg") == "s3://b/a?.jpg"
    assert last_link("zip://a::https://h/a.zip") == "https://h/a.zip"
    assert last_link("s3://b/a::https://h/a.zip") == "s3://b/a::https://h/a.zip"


def test_passwords_are_found_in_hosts_only() -> None:
    for uri in ("sftp://u:p@h/a", "zip://a.jpg::sftp://u:p@h/a.zip", "simplecache://::https://u:p@h/", "s3://k:s@b/x"):
        assert has_password(uri)
        assert "p@" not in shown(uri).replace("…@", "")
    for uri in ("s3://b/a:b@c.jpg", "sftp://user@h/a", "file:///a:b@c.jpg", "/a:b@c", "https://h/a?mail=x:y@z", "x"):
        assert not has_password(uri)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(lambda n: n not in (".", ".."))
)
def test_any_name_of_a_local_file_is_read_under_that_name(name: str) -> None:
    fs, path = filesystem(f"file:///photos/{name}", {})
    assert path == f"/photos/{name}"
    assert locate(canonical(fs, path)).path == path


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[a-z0-9]{1,6}(::[a-z]{1,4})?://.*", fullmatch=True)))
def test_only_allowed_protocols_come_through(name: str) -> None:
    try:
        location = named_uri(name, "file:///photos", allow_http=False)
    except UriError:
        return
    assert location.protocol in ("file", "memory", "s3", "gs", "abfs", "hdfs")
