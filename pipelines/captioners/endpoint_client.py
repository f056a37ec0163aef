"""One request to an OpenAI-compatible chat endpoint, through the official client, and what its errors mean."""

import base64
import json
import os
from typing import Any, NamedTuple

import openai

from beamscribe.pipelines.services.retry_after import retry_after_seconds
from beamscribe.pipelines.services.service_error import ServiceError

NO_KEY = "none"
"""Sent where no key is set: servers on one's own machine ask for none, and the client wants one."""

REFUSED, FAILED, UNREACHABLE, BAD_ANSWER = "ServiceRefused", "ServiceFailed", "ServiceUnreachable", "BadAnswer"


class Answer(NamedTuple):
    """What came back; see `paid_answer.PaidAnswer`."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    scores: tuple[float | None, ...]
    refusal: str | None
    tokens_in: int
    tokens_out: int
    model: str


class LostAnswerError(ServiceError):
    """The answer was on its way, and is paid for, when its connection broke or it could not be read."""


class EndpointSettings(NamedTuple):
    """How an endpoint is asked; travels to workers, so it holds no key.

    Attributes:
        url: of the API, such as http://localhost:8000/v1.
        model: its name there.
        api_key_variable: environment variable of each worker that holds the key.
        temperature: of sampling.
        max_tokens: of an answer at most.
        samples: answers for each image.
        json_schema: of the answer; None for plain text.
        timeout_seconds: for an answer.
    """

    url: str
    model: str
    api_key_variable: str = "OPENAI_API_KEY"
    temperature: float = 0.0
    max_tokens: int = 300
    samples: int = 1
    json_schema: dict[str, Any] | None = None
    timeout_seconds: float = 120.0


class _Form(NamedTuple):
    """What servers do not agree on."""

    tokens_name: str = "max_tokens"
    with_log_probabilities: bool = True

    def adapted(self, message: str) -> "_Form":
        """The form that a server seems to want, which refused a request with this message."""
        if "max_completion_tokens" in message:
            return self._replace(tokens_name="max_completion_tokens")
        return self._replace(with_log_probabilities=self.with_log_probabilities and "logprobs" not in message)


class EndpointClient:
    """Asks one endpoint; threads may share it.

    Args:
        settings: of it.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._key = os.environ.get(settings.api_key_variable) or NO_KEY
        # Retries are the job's: it counts them against its budget.
        self._client = openai.OpenAI(
            base_url=settings.url, api_key=self._key, max_retries=0, timeout=settings.timeout_seconds
        )
        self._form = _Form()

    def check(self) -> None:
        """Asks for the list of models, which costs nothing.

        Raises:
            ServiceError: if the endpoint refuses the key, or cannot be reached.
        """
        try:
            self._client.with_options(timeout=min(10.0, self._settings.timeout_seconds)).models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._refused(error) from None
        except openai.APITimeoutError:
            return
        except openai.APIConnectionError as error:
            if type(error.__cause__).__name__ == "ConnectError":
                message = self._safe(f"{self._settings.url} cannot be reached: {error.__cause__}")
                raise ServiceError(UNREACHABLE, message) from None
        except (openai.OpenAIError, ValueError):
            # Many servers have no such list.
            return

    def ask(self, system: str, prompt: str, jpeg: bytes) -> Answer:
        """Makes one request.

        Args:
            system: message; empty for none.
            prompt: of the user.
            jpeg: the image.

        Raises:
            ServiceError: if there is no answer; its message never holds the key.
            LostAnswerError: if there was one that did not arrive whole.
        """
        for _ in _Form._fields + ("last",):
            form = self._form
            try:
                return self._ask_once(form, system, prompt, jpeg)
            except openai.BadRequestError as error:
                # Servers differ in what they take; each difference is met once.
                self._form = form.adapted(str(error))
                if self._form == form:
                    raise self._refused(error) from None
            except openai.OpenAIError as error:
                raise self._translated(error) from None
        raise ServiceError(REFUSED, f"{self._settings.url} takes none of the forms of a request that are known")

    def _ask_once(self, form: "_Form", system: str, prompt: str, jpeg: bytes) -> Answer:
        settings = self._settings
        image = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": image}}]
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": content})
        body: dict[str, Any] = {"temperature": settings.temperature, form.tokens_name: settings.max_tokens}
        if settings.samples > 1:
            body["n"] = settings.samples
        if form.with_log_probabilities:
            body["logprobs"] = True
        if settings.json_schema is not None:
            schema = {"name": "answer", "schema": settings.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        create: Any = self._client.chat.completions.with_raw_response.create
        raw = create(model=settings.model, messages=messages, **body)
        try:
            return _answer_of(json.loads(raw.http_response.content))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise LostAnswerError(
                BAD_ANSWER,
                self._safe(f"{settings.url} sent an answer that cannot be read ({type(error).__name__}: {error})"),
                passing=True,
            ) from None

    def _translated(self, error: openai.OpenAIError) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        url = self._settings.url
        if isinstance(error, openai.APITimeoutError):
            message = f"no answer from {url} within {self._settings.timeout_seconds:g} s"
            return LostAnswerError(UNREACHABLE, self._safe(message), passing=True)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            message = self._safe(f"no answer from {url}: {type(cause).__name__}: {cause}")
            lost = type(cause).__name__ == "RemoteProtocolError" and "complete" in str(cause)
            return (LostAnswerError if lost else ServiceError)(UNREACHABLE, message, passing=True)
        if isinstance(error, openai.APIStatusError):
            return self._refused(error)
        return ServiceError(BAD_ANSWER, self._safe(f"{url}: {type(error).__name__}: {error}"), passing=True)

    def _refused(self, error: openai.APIStatusError) -> ServiceError:
        status, url = error.status_code, self._settings.url
        message = self._safe(f"{url} answered {status}: {error.message}")
        wait = retry_after_seconds(error.response.headers.get("Retry-After"))
        if status == 429:
            spent = error.code == "insufficient_quota"
            return ServiceError(REFUSED, message, passing=not spent, retry_after_seconds=wait, everything=spent)
        if status >= 500:
            return ServiceError(FAILED, message, passing=True, retry_after_seconds=wait)
        if status in (401, 403):
            hint = f"; the key is read from ${self._settings.api_key_variable}"
            return ServiceError(REFUSED, message + hint, everything=True)
        if status == 404:
            return ServiceError(REFUSED, f"{message}; check --endpoint and --model", everything=True)
        return ServiceError(REFUSED, message, passing=status in (408, 409), retry_after_seconds=wait)

    def _safe(self, message: str) -> str:
        """A message without the key, which services like to repeat."""
        return message if self._key == NO_KEY else message.replace(self._key, "…")


def _answer_of(fields: dict[str, Any]) -> Answer:
    """Reads a chat completion.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, IndexError: if it is none.
    """
    choices = fields["choices"]
    if not choices:
        raise ValueError("it has no choices")
    messages = [choice["message"] for choice in choices]
    usage = fields.get("usage") or {}
    return Answer(
        texts=tuple(_text_of(message.get("content")) for message in messages),
        finish_reasons=tuple(str(choice.get("finish_reason") or "stop") for choice in choices),
        scores=tuple(_score_of(choice.get("logprobs")) for choice in choices),
        refusal=next((str(message["refusal"]) for message in messages if message.get("refusal")), None),
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        model=str(fields.get("model") or ""),
    )


def _text_of(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"its content is {type(content).__name__}")
    return content


def _score_of(log_probabilities: dict[str, Any] | None) -> float | None:
    tokens = (log_probabilities or {}).get("content") or []
    return sum(float(token["logprob"]) for token in tokens) / len(tokens) if tokens else None
