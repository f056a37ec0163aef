"""docs/newcomer.md shows what `make demo` prints today."""

import runpy
from pathlib import Path

import pytest

from tests.documents import CHECKOUT

NEWCOMER = runpy.run_path(str(CHECKOUT / "docs" / "demo" / "newcomer.py"))


def test_what_changes_from_run_to_run_is_masked() -> None:
    slow = (
        "beamscribe caption: 0 of 8 done, 0 failed, nothing committed yet, 0:00:10\n"
        "beamscribe caption: this run did 8 of 8 in 12.4 s\n"
        "       8,193  bytes of rows in this run\n"
        "   china.jpg    0.61  A dog runs.\n"
    )
    fast = (
        "beamscribe caption: this run did 8 of 8 in 7.1 s\n"
        "      10,201  bytes of rows in this run\n"
        "   china.jpg    0.59  A dog runs.\n"
    )
    assert NEWCOMER["masked"](slow) == NEWCOMER["masked"](fast)
    assert NEWCOMER["masked"](fast) != NEWCOMER["masked"](fast.replace("A dog", "A cat"))
    assert NEWCOMER["masked"](fast) != NEWCOMER["masked"](fast + "2026-01-01 W tensorflow: something\n")


@pytest.mark.slow
@pytest.mark.nightly
def test_the_transcript_is_what_the_demo_prints(tmp_path: Path) -> None:
    found = NEWCOMER["record"](tmp_path / "demo-output")
    assert NEWCOMER["masked"](found) == NEWCOMER["masked"](NEWCOMER["written"]()), (
        "docs/newcomer.md is stale: python docs/demo/newcomer.py writes it anew"
    )
    assert (tmp_path / "demo-output" / "of-photographs" / "report.html").stat().st_size > 100_000
