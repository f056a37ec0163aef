"""A server that is not of this project: LiteLLM's proxy as a gateway, between the command and the strict server.

`BEAMSCRIBE_LITELLM` names its command, which has an environment of its own (CONTRIBUTING.md says how to make it).
`BEAMSCRIBE_GATEWAY_IMAGES=50` captions so many photographs.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from beamscribe import Captioner
from beamscribe.command_line import main
from beamscribe.errors import DONE, STOPPED
from tests.engines.servers import free_port, serving
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer

COMMAND = os.environ.get("BEAMSCRIBE_LITELLM", "")
IMAGES = int(os.environ.get("BEAMSCRIBE_GATEWAY_IMAGES", "12"))
Behind = tuple[EndpointServer, str]
GATEWAY_KEY = "sk-gateway-fedcba9876543210"
CONFIG = """
model_list:
  - model_name: captions
    litellm_params: {{model: openai/m, api_base: "{url}", api_key: "{key}"}}
litellm_settings: {{num_retries: 0, telemetry: false}}
general_settings: {{master_key: "{gateway_key}"}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not COMMAND, reason="BEAMSCRIBE_LITELLM names no LiteLLM; CONTRIBUTING.md says how to install it"
    ),
]


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    """The strict server and its URL; the gateway has its key, and nobody else."""
    server = EndpointServer()
    with server.serving() as url:
        yield server, url


@pytest.fixture(scope="module")
def gateway(behind: Behind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the gateway, which has a key of its own."""
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(url=behind[1], key=KEY, gateway_key=GATEWAY_KEY))
    # Nothing of this process's environment, and nothing from the network: prices come with the package.
    environment = [f"HOME={folder}", f"PATH={Path(COMMAND).parent}:/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP=True"]
    command = ["env", "-i", f"--chdir={folder}", *environment, COMMAND]
    command += ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, port, folder / "log.txt", timeout_seconds=400):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def photographs(shared: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in sorted((shared / "coco-mini" / "val2017").glob("*.jpg"))[:IMAGES]:
        (folder / path.name).symlink_to(path)
    assert len(list(folder.iterdir())) == IMAGES
    return folder


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", GATEWAY_KEY)
    monkeypatch.setenv("STRICT_KEY", KEY)
    monkeypatch.setenv("NO_KEY_OF_IT", "sk-not-the-key-of-it")


def caption(photographs: Path, output: Path, url: str, model: str, key: str, *more: str) -> int:
    command = ["caption", "--images", str(photographs), "--output", str(output), "--endpoint", url, "--model", model]
    return main([*command, "--api-key-variable", key, "--price-in", "1", "--price-out", "2", *more])


def rows(output: Path) -> list[dict[str, Any]]:
    names = ["id", "caption", "sha256", "prompt_digest", "tokens_in", "tokens_out", "finish_reason", "score"]
    return sorted(ds.dataset(output / "captions").to_table(columns=names).to_pylist(), key=lambda row: row["id"])


def test_photographs_through_a_gateway_have_the_rows_of_the_server_behind_it(
    behind: Behind,
    gateway: str,
    photographs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server, url = behind
    assert caption(photographs, tmp_path / "out", gateway, "captions", "GATEWAY_KEY") == DONE
    assert server.wrong_requests == []
    assert server.answers == len(server.answered) == IMAGES
    paid = (server.tokens_in + 2 * server.tokens_out) / 1e6
    said = capfd.readouterr()
    assert f"{IMAGES} answers: " in said.out
    assert f"cost {paid:.6f}" in said.out
    assert caption(photographs, tmp_path / "straight", url, "m", "STRICT_KEY") == DONE
    found = rows(tmp_path / "out")
    assert len(found) == IMAGES
    assert found == rows(tmp_path / "straight")
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or not any(key.encode() in path.read_bytes() for key in (KEY, GATEWAY_KEY))
    assert not any(key in said.out + said.err for key in (KEY, GATEWAY_KEY))


def test_errors_that_a_gateway_passes_on_are_met(
    behind: Behind,
    gateway: str,
    photographs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # It answers a wrong key with 400, which stands for many things: so the first ten images find it out.
    assert caption(photographs, tmp_path / "refused", gateway, "captions", "NO_KEY_OF_IT") == STOPPED
    said = capfd.readouterr()
    assert "refused 10 images in a row" in said.err
    assert "sk-not-the-key-of-it" not in said.out + said.err
    server = behind[0]
    server._fault_rate, server._faults = 0.3, ("429", "500")
    try:
        assert caption(photographs, tmp_path / "out", gateway, "captions", "GATEWAY_KEY", "--limit", "8") == DONE
    finally:
        server._fault_rate = 0.0
    assert len(rows(tmp_path / "out")) == 8
    assert sum(server.faults[kind] for kind in ("429", "500")) >= 1


def test_python_asks_through_a_gateway(gateway: str, photographs: Path) -> None:
    captioner = Captioner.endpoint(gateway, "captions", api_key_variable="GATEWAY_KEY")
    first, *_ = found = captioner.caption(sorted(photographs.iterdir())[:3])
    assert len({one.text for one in found}) == 3
    assert first.text.startswith("A ")
