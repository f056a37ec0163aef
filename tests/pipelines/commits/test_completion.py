import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.commits.completion import completion_of, newest_failures
from beamscribe.pipelines.work.work_items import WorkItems
from beamscribe.schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START, references

LATER = START + datetime.timedelta(days=1)
FEW_IDS = st.sampled_from("abcdef")
UNHURRIED = settings(deadline=None)  # the machine may be busy


def failure_row(id, attempts=1, started=START):
    return FailureRow(f"file:///photos/{id}.jpg", id, "read", "FakeError", "m", attempts, started)


def pending(ids, rows, failures, retry_failed):
    """Ids that are to do, with their attempts."""
    corpus = WorkItems.of(references(*ids))
    found = completion_of(corpus.ids, rows, failures)
    attempts = found.attempts()
    return [(one.id, attempts.get(one.id, 0)) for one in corpus.take(found.pending(retry_failed))]


@pytest.mark.parametrize(
    ("rows", "failures", "todo", "todo_with_retry"),
    [
        ("", [], [("a", 0), ("b", 0)], [("a", 0), ("b", 0)]),
        ("a", [], [("b", 0)], [("b", 0)]),
        ("", [("a", 1)], [("b", 0)], [("a", 1), ("b", 0)]),
        ("", [("a", 2), ("a", 3), ("a", 1)], [("b", 0)], [("a", 3), ("b", 0)]),
        ("a", [("a", 1)], [("b", 0)], [("b", 0)]),
        ("a", [("a", 9), ("b", 2)], [], [("b", 2)]),
        ("z", [("y", 1)], [("a", 0), ("b", 0)], [("a", 0), ("b", 0)]),
    ],
)
def test_what_is_pending(rows, failures, todo, todo_with_retry):
    failed = [failure_row(*failure) for failure in failures]
    assert pending("ab", rows, failed, False) == todo
    assert pending("ab", rows, failed, True) == todo_with_retry


@UNHURRIED
@given(
    st.lists(FEW_IDS, unique=True),
    st.lists(FEW_IDS),
    st.lists(st.builds(failure_row, FEW_IDS, st.integers(1, 3))),
    st.randoms(use_true_random=False),
)
def test_every_id_is_a_row_a_failure_or_to_do_whatever_the_order(ids, rows, failures, random):
    corpus = WorkItems.of(references(*ids))
    found = completion_of(corpus.ids, rows, failures)
    failed = {row.id for row in failures}
    assert found.rows == len({*ids} & {*rows})
    assert [row.id for row in found.failures] == [id for id in ids if id in failed and id not in rows]
    assert [one.id for one in corpus.take(found.failed)] == [row.id for row in found.failures]
    assert [one.id for one in corpus.take(found.todo)] == [id for id in ids if id not in failed and id not in rows]
    random.shuffle(rows)
    random.shuffle(failures)
    again = completion_of(corpus.ids, rows, failures)
    assert (again.rows, again.attempts()) == (found.rows, found.attempts())


def test_newest_failures():
    old, new, tried_more = failure_row("a", 1), failure_row("a", 1, LATER), failure_row("a", 2)
    other = failure_row("b", 1)
    for rows in ([old, new, other], [other, new, old]):
        assert newest_failures(rows) == {"a": new, "b": other}
    for rows in ([new, tried_more], [tried_more, new]):
        assert newest_failures(rows) == {"a": tried_more}
    assert newest_failures([]) == {}
