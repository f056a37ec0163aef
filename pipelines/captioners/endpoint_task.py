"""What a job wants of an endpoint; small, without a key, for it travels to workers."""

from typing import NamedTuple

from beamscribe.pipelines.captioners.endpoint_client import EndpointSettings
from beamscribe.pipelines.captioners.judging import JUDGING_VERSION
from beamscribe.pipelines.captioners.money import Money
from beamscribe.pipelines.captioners.prompts import Prompt


class EndpointTask(NamedTuple):
    """What is asked of an endpoint, and within which bounds.

    Attributes:
        settings: of the endpoint.
        prompt: what to ask.
        money: what it costs.
        max_side: of the JPEG that is sent.
        concurrency: requests of all workers together at a time.
        requests_per_minute: of all workers together; None for no bound.
        canaries: images that are asked for a second time; 0 for none.
    """

    settings: EndpointSettings
    prompt: Prompt
    money: Money = Money()
    max_side: int = 768
    concurrency: int = 16
    requests_per_minute: float | None = None
    canaries: int = 0


def endpoint_fields(task: EndpointTask) -> dict[str, str | int | float | bool]:
    """What can change an answer; where the endpoint is does not belong to it."""
    settings, prompt = task.settings, task.prompt
    return {
        "captioner": "endpoint",
        "model": settings.model,
        "prompt": prompt.text,
        "system": prompt.system,
        "language": prompt.language or "any",
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "samples": settings.samples,
        "json_schema": repr(settings.json_schema) if settings.json_schema else "none",
        "judging": JUDGING_VERSION,
    }
