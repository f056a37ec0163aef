"""The script that the launcher image of the flex template runs, with the flags that Google's launcher gives it."""

import runpy
import sys
import uuid
from pathlib import Path

import fsspec
import pyarrow.dataset as ds
import pytest

from beamscribe.errors import DONE
from beamscribe.model.bundle import Bundle
from beamscribe.pipelines.commits.lease import FILE as LEASE
from beamscribe.pipelines.commits.pending import PENDING
from beamscribe.pipelines.outputs.verify import verify
from beamscribe.storage.storage import Storage
from tests.engines.servers import CHECKOUT
from tests.engines.test_dataflow import COMMON, TEMPLATE, run_here


@pytest.mark.slow
def test_the_launcher_stages_a_job_that_captions_everything(
    staged: dict[str, bytes],
    made_images: Path,
    untrained_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket = f"memory://{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    names = sorted(path.name for path in (made_images / "images").iterdir())[:6]
    for name in names:
        memory.pipe(f"{bucket}/photographs/{name}", (made_images / "images" / name).read_bytes())
    memory.pipe(f"{bucket}/photographs/broken.jpg", b"no image")
    memory.put(untrained_bundle.path.removeprefix("file://"), f"{bucket}/bundle", recursive=True)
    output = Storage(f"{bucket}/captions")
    parameters = [f"--images={bucket}/photographs", f"--model={bucket}/bundle", f"--output={output.root}"]
    script = str(CHECKOUT / "deploy" / "dataflow" / "launch.py")
    monkeypatch.setattr(
        sys, "argv", [script, *parameters, "--max-length=4", "--shard-size=2", *COMMON, "--no_auth", TEMPLATE]
    )
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    told = capsys.readouterr()
    assert ended.value.code == DONE, told.err
    last = told.out.splitlines()[-1]
    assert "7 in the corpus: 7 to do in " in last
    assert "by the job that is staged at gs://bucket/templates/caption" in last
    assert output.files("captions") == []
    assert len(output.files(PENDING)) > 0

    run_here(staged["pipeline.pb"])
    assert verify(output)[:3] == (6, 1, 0)
    rows = (
        ds.dataset([output.path(file.name) for file in output.files("captions")], filesystem=memory)
        .to_table()
        .to_pylist()
    )
    assert sorted(row["image_uri"].rpartition("/")[2] for row in rows) == names
    assert all(row["id"] == row["image_uri"] for row in rows)
    assert all(row["caption"] for row in rows)
    assert output.files(PENDING) == []
    assert not output.exists(LEASE)
