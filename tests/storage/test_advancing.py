"""Calls that may take as long as bytes come."""

import threading
import time

import pytest

from beamscribe.storage.advancing import advanced, while_advancing


def test_a_call_goes_on_while_bytes_come() -> None:
    def slow() -> str:
        for _ in range(10):
            time.sleep(0.1)
            advanced(1)
        return "done"

    assert while_advancing(0.4, slow) == "done"


def test_a_call_without_bytes_is_given_up() -> None:
    with pytest.raises(TimeoutError, match="no bytes"):
        while_advancing(0.2, threading.Event().wait)


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        while_advancing(60, lambda: 1 // 0)
