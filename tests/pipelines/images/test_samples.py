"""A job that wrote captions shows some of them."""

import pytest

from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.images.samples import NAME_LETTERS, Sample, closing_lines, read_samples, spread_out
from beamscribe.storage.storage import Storage
from tests.pipelines.fake_job import ROWS, FakeJob, run_of, shard


@pytest.mark.parametrize(
    ("count", "wanted", "places"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (4, 3, [0, 1, 3]), (101, 3, [0, 50, 100])],
)
def test_spreads_out(count: int, wanted: int, places: list[int]) -> None:
    assert spread_out(count, wanted) == places


@pytest.mark.parametrize("files", [["abcdefgh"], ["ab", "c"], ["abc", "def", "ghi", "jkl"], ["a"], ["a", "bcdef"]])
def test_reads_as_many_as_there_are(output: Storage, files: list[str]) -> None:
    for number, ids in enumerate(files):
        commit_shard(shard(f"{number}", *ids), FakeJob().open(run_of(output)), run_of(output))
    found = [sample.caption for sample in read_samples(output, ROWS)]
    assert len(found) == len(set(found)) == min(3, len("".join(files)))
    assert set(found) <= {f"{id} in oil" for id in "".join(files)}


def test_says_what_to_do_next() -> None:
    samples = [Sample("file:///a/china.jpg", "A dog."), Sample("s3://b/" + "x" * 99 + ".png", "A cat.")]
    first, second, following, *commands = closing_lines(samples, "my captions/")
    assert first.split() == ["china.jpg", "A", "dog."]
    assert second.startswith("  …x")
    assert second.index("A cat.") == first.index("A dog.") == NAME_LETTERS + 4
    assert following == "next:"
    assert commands == [
        "  beamscribe report 'my captions/' --output 'my captions-report.html'",
        "  beamscribe export 'my captions/' --to csv --output 'my captions.csv'",
        "  beamscribe speak --captions 'my captions/' --output 'my captions-speech'",
    ]
    assert closing_lines(samples, "my captions/", has_page=True)[-2:] == commands[1:]
