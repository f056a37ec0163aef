"""What Dataflow's runner would stage."""

from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is staged, by name."""
    files: dict[str, bytes] = {}

    def stage(client: Any, folder: str, name: str, stream: Any, *how: Any, **more: Any) -> None:
        files[name] = stream.read()

    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
    monkeypatch.setattr(DataflowApplicationClient, "stage_file", stage)
    return files
