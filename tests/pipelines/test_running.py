import os

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.running import _reach_workers_directly

GRPC = "no_grpc_proxy"


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [
        (["--direct_running_mode=multi_processing"], {}, "localhost,127.0.0.1"),
        (["--direct_running_mode=multi_processing"], {"no_proxy": "corp"}, "localhost,127.0.0.1,corp"),
        (["--direct_running_mode=multi_processing"], {"no_proxy": "a", "no_grpc_proxy": "b"}, "localhost,127.0.0.1,b"),
        ([], {"no_proxy": "corp"}, None),
    ],
)
def test_no_proxy_stands_between_this_process_and_its_workers(monkeypatch, flags, before, after):
    for name in ("no_proxy", GRPC):
        monkeypatch.setenv(name, before.get(name, ""))
    _reach_workers_directly(PipelineOptions(flags))
    assert (os.environ[GRPC] or None) == after
