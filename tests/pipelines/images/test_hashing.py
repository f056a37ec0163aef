from pathlib import Path

from beamscribe.pipelines.images.hashing import grouped_by_content
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.sources.corpus import distinct
from beamscribe.pipelines.work.shards import shard_name
from beamscribe.pipelines.work.work_item import WorkItem


def test_equal_files_share_a_shard_and_others_keep_theirs(tmp_path: Path) -> None:
    references = []
    for name, content in {"a": b"1", "b": b"2", "c": b"1", "d": b"1"}.items():
        (tmp_path / name).write_bytes(content)
        references.append(WorkItem(name, str(tmp_path / name)))
    gone = WorkItem("gone", str(tmp_path / "gone"))
    stored = WorkItem("stored", "x", container="features.tfrecord.gz")
    found = grouped_by_content(distinct((*references, gone, stored))._replace(repeated=3), Reading({}))
    assert found.repeated == 3
    assert [reference.id for reference in found.references] == ["a", "b", "c", "d", "gone", "stored"]
    a, b, c, d, *rest = found.references
    assert a.group == c.group == d.group != b.group
    assert len({shard_name(reference, 1 << 20, 1) for reference in (a, c, d)}) == 1
    assert rest == [gone, stored]
