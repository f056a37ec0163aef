"""Prompts that name kept columns of a manifest."""

import json
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from beamscribe.command_line import main
from beamscribe.errors import DONE, REFUSED
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer, make_photographs


def test_a_prompt_names_kept_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    folder = make_photographs(tmp_path, 3)
    # The last three have the bytes of the first.
    for number in (3, 4, 5):
        shutil.copy(folder / "00000.png", folder / f"{number:05d}.png")
    titles = ["Cat {curly}", None, "Dog\nat home", "Another cat", "Cat {curly}", "Cat {curly}"]
    rows = [{"url": f"{number:05d}.png", "title": title, "n": 7} for number, title in enumerate(titles)]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts: list[str] = []

    def answer(jpeg: bytes, prompt: str) -> str:
        prompts.append(prompt)
        return f"A photograph of {len(prompt)} letters lies on the table."

    server = EndpointServer(answer=answer)
    command = ["caption", "--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", "m"]
    with server.serving() as url:
        command += ["--endpoint", url]
        asked = ["--prompt", "Write {{words}} of {title}, {n}", "--keep-columns", "title,n,dc=url"]
        assert main([*command, "--prompt", "{title} {licence}", "--keep-columns", "title"]) == REFUSED
        assert "--keep-columns licence" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        assert prompts == []
        assert main([*command, *asked]) == DONE
        assert main([*command, *asked]) == DONE
    # Equal bytes with an equal prompt are one question.
    assert sorted(prompts) == sorted(
        f"Write {{words}} of {title}, 7" for title in ("Cat {curly}", "", "Dog\nat home", "Another cat")
    )
    found = ds.dataset(tmp_path / "out" / "captions").to_table().sort_by("id").to_pylist()
    assert [row["title"] for row in found] == titles
    assert {row["n"] for row in found} == {7}
    digests = [row["prompt_digest"] for row in found]
    assert len(set(digests)) == 4
    assert digests[0] == digests[4] == digests[5] != digests[3]
