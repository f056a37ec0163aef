"""The flags of a captioner behind an endpoint, checked before anything is launched."""

import argparse
import json
import os
from typing import Any
from urllib.parse import urlsplit

from beamscribe.errors import RefusedError
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner, image_fields
from beamscribe.pipelines.runtime.flags import endpoint as flags
from beamscribe.pipelines.runtime.prompt_choice import checked_prompt
from beamscribe.schemas import caption_row
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.rows import CAPTIONS, ParquetRows

try:
    from beamscribe.pipelines.captioners.endpoint_client import EndpointClient, EndpointSettings
except ImportError as error:
    raise RefusedError(f"--endpoint needs the package {error.name}: pip install 'beamscribe[endpoint]'") from error

from beamscribe.pipelines.captioners.endpoint import EndpointCaptioner
from beamscribe.pipelines.captioners.endpoint_source import EndpointSource
from beamscribe.pipelines.captioners.endpoint_task import EndpointTask
from beamscribe.pipelines.captioners.journal import Journal
from beamscribe.pipelines.captioners.money import Money
from beamscribe.pipelines.captioners.structured import StructuredAnswers
from beamscribe.pipelines.services.service_error import ServiceError


def chosen_endpoint(args: argparse.Namespace) -> ChosenCaptioner:
    """The captioner behind `--endpoint`.

    Raises:
        RefusedError: if the flags do not make one.
    """
    schema = _json_schema(args.json_schema)
    settings = EndpointSettings(
        _checked_url(args.endpoint),
        args.model,
        _key_variable(args.api_key_variable),
        0.0 if args.temperature is None else args.temperature,
        args.max_tokens or flags.MAX_TOKENS,
        args.samples or 1,
        schema,
        args.request_timeout or flags.REQUEST_TIMEOUT,
    )
    money = Money(args.price_in or 0.0, args.price_out or 0.0, args.max_cost)
    if money.max_cost is not None and not money.known:
        raise RefusedError("--max-cost: --price-in and --price-out, per million tokens, say what an answer costs")
    if settings.samples > 1 and not settings.temperature:
        raise RefusedError(
            f"--samples {settings.samples}: at temperature 0 all are the same; --temperature 0.7 varies them"
        )
    task = EndpointTask(
        settings,
        checked_prompt(args, bool(schema)),
        money,
        args.max_side or flags.MAX_SIDE,
        args.concurrency or flags.CONCURRENCY,
        args.requests_per_minute,
        args.canaries or 0,
    )
    captioner = EndpointCaptioner(task, Journal(None, ""))
    fields = {**image_fields(captioner), **captioner.fingerprint_fields}
    rows = CAPTIONS
    if schema:
        dtype = StructuredAnswers(schema).dtype
        rows = ParquetRows(caption_row.FOLDER, caption_row.with_structured(dtype), caption_row.VERSION)
    details = {"captioner": "endpoint", "endpoint": settings.url, "model": settings.model}
    return ChosenCaptioner(EndpointSource(task), Fingerprint(fields), details, lambda: _check(settings), format=rows)


def _check(settings: EndpointSettings) -> None:
    try:
        EndpointClient(settings).check()
    except ServiceError as error:
        raise RefusedError(f"--endpoint: {error}") from None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusedError(
            f"--endpoint {url.split('@')[-1]}: give the http(s) URL of an API, such as http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.query:
        raise RefusedError(
            "--endpoint holds a credential or a query: put the key into the environment variable that "
            "--api-key-variable names"
        )
    return url.rstrip("/")


def _key_variable(name: str | None) -> str:
    if name is not None and not os.environ.get(name):
        raise RefusedError(f"--api-key-variable: the environment variable {name[:40]} is not set")
    return name or flags.API_KEY_VARIABLE


def _json_schema(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            schema: dict[str, Any] = json.load(file)
        if not isinstance(schema, dict):
            raise ValueError("it is no JSON object")
        StructuredAnswers(schema)
    except (OSError, ValueError) as error:
        raise RefusedError(f"--json-schema {path} cannot be used: {error}") from error
    return schema
