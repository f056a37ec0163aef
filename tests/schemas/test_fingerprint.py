"""Fingerprints: one digest for all fields, and every difference told."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamscribe.schemas.fingerprint import Fingerprint

# Few names and values, so that equal and different fields meet.
SCALARS = st.sampled_from(["", "a", "1", "(none)", 0, 1, -3, 0.5, 2.5, 1e300, "ü", "\n"])
FIELDS = st.dictionaries(st.sampled_from("abcd"), SCALARS)


def test_the_digest_is_the_one_that_outputs_carry() -> None:
    # Changing how it is computed would orphan every row written so far.
    fields: dict[str, str | int | float | bool] = {"model": "é", "beam_size": 3, "loudness": -23.0, "fast": True}
    assert Fingerprint(fields).digest == "ab8906bc666b76e2"


@given(FIELDS)
def test_the_order_of_fields_and_json_do_not_matter(fields: dict[str, str | int | float]) -> None:
    digest = Fingerprint(fields).digest
    assert len(digest) == 16
    assert set(digest) <= set(string.hexdigits.lower())
    assert Fingerprint(dict(reversed(fields.items()))).digest == digest
    assert Fingerprint(json.loads(json.dumps(fields))).digest == digest


@given(FIELDS.filter(lambda fields: "(none)" not in fields.values()), FIELDS)
def test_digests_differ_where_differences_are_told(
    ours: dict[str, str | int | float], theirs: dict[str, str | int | float]
) -> None:
    theirs = {name: value for name, value in theirs.items() if value != "(none)"}
    one, other = Fingerprint(ours), Fingerprint(theirs)
    assert (one.digest != other.digest) == bool(one.differences(other))
    told = {line.split(":")[0] for line in one.differences(other)}
    assert told == {name for name in ours | theirs if ours.get(name) != theirs.get(name)}


def test_differences_are_lines_for_people() -> None:
    ours = Fingerprint({"weights": "a", "beam_size": 3, "same": 1, "gone": True})
    theirs = Fingerprint({"beam_size": 5, "weights": "b", "same": 1, "new": 0.5})
    assert ours.differences(theirs) == [
        "beam_size: 3 → 5",
        "gone: True → (none)",
        "new: (none) → 0.5",
        "weights: a → b",
    ]
    assert theirs.differences(ours)[0] == "beam_size: 5 → 3"


@pytest.mark.parametrize(("ours", "theirs"), [({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ({"a": "(none)"}, {})])
def test_digests_that_differ_have_a_difference_to_tell(
    ours: dict[str, str | int | float], theirs: dict[str, str | int | float]
) -> None:
    assert Fingerprint(ours).digest != Fingerprint(theirs).digest
    assert Fingerprint(ours).differences(Fingerprint(theirs))


def test_a_field_that_came_later_is_compared_with_what_was_true_before() -> None:
    old = Fingerprint({"beam_size": 3})
    now = Fingerprint({"beam_size": 3, "search": "1", "detokenizer": "1", "pillow": "12.3.0"})
    assert old.digest != now.digest
    assert old.same_rows(now)
    assert now.same_rows(old)
    searched_otherwise = Fingerprint({**now.fields, "search": "2"})
    assert old.differences(searched_otherwise) == ["search: 1 → 2"]
    # Two versions that are both known are compared.
    assert now.differences(Fingerprint({**now.fields, "pillow": "13.0.0"})) == ["pillow: 12.3.0 → 13.0.0"]
    assert not old.same_rows(Fingerprint({**now.fields, "beam_size": 5}))
    assert not old.same_rows(Fingerprint({**now.fields, "engine": "openvino"}))


@given(FIELDS, FIELDS)
def test_the_same_rows_both_ways(ours: dict[str, str | int | float], theirs: dict[str, str | int | float]) -> None:
    one, other = Fingerprint(ours), Fingerprint(theirs)
    assert one.same_rows(other) == other.same_rows(one)
    assert one.same_rows(Fingerprint({**ours, "pillow": "12.3.0"}))
