"""The manifest: through JSON and back, and refused where it is none."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import VERSION, Manifest, ManifestError
from beamscribe.schemas.table import NewerSchemaError

MANIFEST = Manifest(
    job="caption",
    fingerprint=Fingerprint({"beam_size": 3, "engine": "é", "rate": 1.5, "fast": False}),
    kept_fingerprints=["0011223344556677", "8899aabbccddeeff"],
    details={"bundle": "/models/1", "nested": {"list": [1, None, "ü"]}},
    references=118_287,
    repeated=2,
    skipped={"no image suffix": 1},
    listed=118_290,
    shards=256,
    run_started="2025-11-23T12:00:00+00:00",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | changes)


def test_a_manifest_comes_back() -> None:
    text = MANIFEST.to_json()
    for form in (text, text.encode()):
        again = Manifest.from_json(form, "x")
        assert again == MANIFEST
        assert again.fingerprint.digest == MANIFEST.fingerprint.digest
        assert again.to_json() == text


@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_any_details_come_back(details: dict[str, Any], fields: dict[str, Any]) -> None:
    manifest = dataclasses.replace(MANIFEST, details=details, fingerprint=Fingerprint(fields))
    assert Manifest.from_json(manifest.to_json(), "x") == manifest


def test_the_text_is_for_people_and_for_diff() -> None:
    text = MANIFEST.to_json()
    assert text.endswith("}\n")
    assert '\n  "references": 118287,\n' in text
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Manifest)])
def test_a_manifest_without_a_field_is_refused(name: str) -> None:
    fields = json.loads(MANIFEST.to_json())
    del fields[name]
    with pytest.raises(ManifestError, match="OUT/manifest.json is not a Beamscribe manifest: .*" + name):
        Manifest.from_json(json.dumps(fields), "OUT/manifest.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        b"\xff\xfe\xfa",
        changed(schema_version="1"),
        changed(schema_version=None),
        changed(fingerprint=7),
        changed(fingerprint={}),
        changed(fingerprint=None),
        changed(colour="red"),
        changed(skipped=1),
        changed(skipped={"hidden": "1"}),
        "[" * 100_000,
    ],
)
def test_other_files_are_refused(text: str | bytes) -> None:
    with pytest.raises(ManifestError, match="OUT/manifest.json is not a Beamscribe manifest: "):
        Manifest.from_json(text, "OUT/manifest.json")


@pytest.mark.parametrize(("count", "reasons"), [(0, {}), (7, {"no image suffix": 7})])
def test_a_manifest_of_version_1_counted_without_reasons(count: int, reasons: dict[str, int]) -> None:
    fields = json.loads(MANIFEST.to_json()) | {"skipped": count, "schema_version": 1}
    del fields["listed"]
    again = Manifest.from_json(json.dumps(fields), "x")
    assert again == dataclasses.replace(MANIFEST, skipped=reasons, listed=118_289 + count)


def test_a_newer_schema_is_refused_by_name_whatever_else_changed() -> None:
    text = json.dumps({"schema_version": VERSION + 1, "surprise": 1})
    with pytest.raises(NewerSchemaError, match="OUT/manifest.json has schema version 3.*upgrade Beamscribe"):
        Manifest.from_json(text, "OUT/manifest.json")
