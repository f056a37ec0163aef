import argparse

import pytest

from beamscribe.pipelines.runtime.flags.jobs import FailureBound, failure_bound


@pytest.mark.parametrize(
    ("text", "bound", "shown"),
    [("0", (0, False), "0"), ("17", (17, False), "17"), ("5%", (5, True), "5%"), ("0.1%", (0.1, True), "0.1%")],
)
def test_reads_a_number_or_a_percentage(text: str, bound: tuple[float, bool], shown: str) -> None:
    assert failure_bound(text) == FailureBound(*bound)
    assert str(failure_bound(text)) == shown


@pytest.mark.parametrize("text", ["", "%", "many", "1.5", "-1", "101%", "-1%", "nan%", "5 %%"])
def test_refuses_what_is_neither(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        failure_bound(text)


@pytest.mark.parametrize(
    ("bound", "failures", "corpus", "exceeded"),
    [("0", 0, 10, False), ("0", 1, 10, True), ("3", 3, 10, False), ("3", 4, 10, True)]
    + [("10%", 1, 10, False), ("10%", 2, 10, True), ("0%", 1, 10**6, True), ("5%", 0, 0, False)],
)
def test_is_exceeded_by_more(bound: str, failures: int, corpus: int, exceeded: bool) -> None:
    assert failure_bound(bound).exceeded(failures, corpus) == exceeded
