from pathlib import Path

from pipelines.commits.shards import shard_name
from pipelines.corpora.corpus import distinct
from pipelines.corpora.hashing import grouped_by_content
from pipelines.corpora.reference import Reference
from pipelines.images.reading import Reading


def test_equal_files_share_a_shard_and_others_keep_theirs(tmp_path: Path) -> None:
    references = []
    for name, content in {"a": b"1", "b": b"2", "c": b"1", "d": b"1"}.items():
        (tmp_path / name).write_bytes(content)
        references.append(Reference(name, str(tmp_path / name)))
    gone = Reference("gone", str(tmp_path / "gone"))
    stored = Reference("stored", "x", container="features.tfrecord.gz")
    found = grouped_by_content(distinct((*references, gone, stored))._replace(repeated=3), Reading({}))
    assert found.repeated == 3
    assert [reference.id for reference in found.references] == ["a", "b", "c", "d", "gone", "stored"]
    a, b, c, d, *rest = found.references
    assert a.group == c.group == d.group != b.group
    assert len({shard_name(reference, 1 << 20, 1) for reference in (a, c, d)}) == 1
    assert rest == [gone, stored]
