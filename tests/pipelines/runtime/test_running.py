import os

import pytest

from beamscribe.pipelines.runtime.workers import _environment

GRPC = "no_grpc_proxy"


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        ({}, "localhost,127.0.0.1"),
        ({"no_proxy": "corp"}, "localhost,127.0.0.1,corp"),
        ({"no_proxy": "a", GRPC: "b"}, "localhost,127.0.0.1,b"),
    ],
)
def test_no_proxy_stands_between_this_process_and_its_workers(monkeypatch, before, inside):
    for name in ("no_proxy", GRPC):
        monkeypatch.setenv(name, before.get(name, ""))
    with _environment("a run"):
        assert os.environ[GRPC] == inside
    assert os.environ[GRPC] == before.get(GRPC, "")
