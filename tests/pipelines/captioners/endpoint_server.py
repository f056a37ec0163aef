"""A server on this machine that speaks the chat protocol strictly, and breaks it where it is told to."""

import base64
import contextlib
import hashlib
import io
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from PIL import Image

KEY = "sk-test-0123456789abcdef"
FAULTS = ("429", "500", "reset", "hang", "half", "garbage", "refusal", "wrong language", "empty", "length")
PAID = ("refusal", "wrong language", "empty", "length")
"""Faults that are answers, which are counted and would be paid for."""

_REQUEST: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(CompletionCreateParamsNonStreaming)
_COLOURS = ("red", "green", "blue", "yellow", "white", "black", "brown", "orange")
_THINGS = ("dog", "bicycle", "house", "woman", "train", "boat", "horse", "table", "tree", "bus", "child", "kite")
_PLACES = ("on the beach", "in a park", "near the river", "beside a wall", "in the street", "under the bridge")


def english(jpeg: bytes, prompt: str) -> str:
    """A sentence that depends on the picture alone."""
    numbers = hashlib.sha256(jpeg).digest()
    colour, place = _COLOURS[numbers[0] % 8], _PLACES[numbers[1] % 6]
    one, other = _THINGS[numbers[2] % 12], _THINGS[numbers[3] % 12]
    return f"A {colour} {one} with number {numbers[4] * 256 + numbers[5]} is standing next to a {other} {place}."


class EndpointServer:
    """Counts what it is asked and what it answers.

    Args:
        fault_rate: share of requests that meet a fault.
        faults: kinds of them, names in `FAULTS`.
        answer: from the JPEG file and the prompt to the text of the answer.
        delay_seconds: that an answer takes.
        hang_seconds: after which a request that hangs is given up.
        key: that requests must carry.
    """

    def __init__(
        self,
        fault_rate: float = 0.0,
        faults: Sequence[str] = FAULTS,
        answer: Callable[[bytes, str], str] = english,
        delay_seconds: float = 0.0,
        hang_seconds: float = 30.0,
        key: str = KEY,
    ) -> None:
        self._random = random.Random(0)
        self._fault_rate, self._faults, self._answer = fault_rate, faults, answer
        self.delay_seconds, self.hang_seconds, self.key = delay_seconds, hang_seconds, key
        self.lock = threading.Lock()
        self.times: list[float] = []
        self.faults: Counter[str] = Counter()
        self.wrong_requests: list[str] = []
        self.answers = self.tokens_in = self.tokens_out = self.at_once = self.most_at_once = 0
        self.bodies: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()

    def fault(self) -> str:
        """The fault of the next request; empty for none."""
        with self.lock:
            self.times.append(time.monotonic())
            found = self._random.choice(self._faults) if self._random.random() < self._fault_rate else ""
            self.faults[found] += 1
        return found

    def completion(self, body: dict[str, Any], fault: str) -> dict[str, Any]:
        """What is answered, and counted."""
        text, image = body["messages"][-1]["content"]
        jpeg = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,"), validate=True)
        Image.open(io.BytesIO(jpeg)).verify()
        said = self._answer(jpeg, text["text"])
        if fault == "wrong language":
            said = "Ein brauner Hund läuft neben einem Fahrrad über den Strand und schaut auf das Meer."
        if fault in ("refusal", "empty"):
            said = "I'm sorry, but I can't assist with that." if fault == "refusal" else ""
        words = said.split()
        tokens = [{"token": word, "logprob": -0.25, "bytes": None, "top_logprobs": []} for word in words]
        wanted = body.get("n") or 1
        found = ChatCompletion.model_validate(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"] + "-2026",
                "choices": [
                    {
                        "index": number,
                        "finish_reason": "length" if fault == "length" else "stop",
                        "message": {"role": "assistant", "content": said, "refusal": None},
                        "logprobs": {"content": tokens, "refusal": None} if body.get("logprobs") else None,
                    }
                    for number in range(wanted)
                ],
                "usage": {
                    "prompt_tokens": 200 + len(text["text"].split()),
                    "completion_tokens": max(1, len(words)) * wanted,
                    "total_tokens": 200 + len(text["text"].split()) + max(1, len(words)) * wanted,
                },
            }
        )
        assert found.usage is not None
        with self.lock:
            self.answers += 1
            self.answered[hashlib.sha256(jpeg).hexdigest()] += 1
            self.tokens_in += found.usage.prompt_tokens
            self.tokens_out += found.usage.completion_tokens
        return found.model_dump()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serves; gives the URL of the API."""
        outer = self

        class Handler(_Handler):
            server_of = outer

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of: EndpointServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if self._permitted():
            self._json(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        outer = self.server_of
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._permitted():
            return
        try:
            body = json.loads(data)
            _REQUEST.validate_python(body, strict=True)
        except (ValueError, pydantic.ValidationError) as error:
            outer.wrong_requests.append(str(error))
            self._json(400, {"error": {"message": "wrong request", "type": "invalid_request_error"}})
            return
        with outer.lock:
            outer.bodies.append(body)
            outer.at_once += 1
            outer.most_at_once = max(outer.most_at_once, outer.at_once)
        try:
            self._answer(body, outer.fault())
        finally:
            with outer.lock:
                outer.at_once -= 1

    def _answer(self, body: dict[str, Any], fault: str) -> None:
        outer = self.server_of
        if fault == "429":
            self._json(
                429, {"error": {"message": f"slow down, {outer.key}", "code": "rate_limit"}}, {"Retry-After": "1"}
            )
        elif fault == "400":
            self._json(400, {"error": {"message": "this image is not taken"}})
        elif fault == "500":
            self._json(500, {"error": {"message": "overloaded"}})
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "hang":
            time.sleep(outer.hang_seconds)
            self.close_connection = True
        elif fault == "garbage":
            self._send(200, b"<html>it works</html>")
        else:
            time.sleep(outer.delay_seconds)
            data = json.dumps(outer.completion(body, fault)).encode()
            if fault == "half":
                self._send(200, data, cut=len(data) // 2)
                self.close_connection = True
            else:
                self._send(200, data)

    def _permitted(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {self.server_of.key}":
            return True
        said = self.headers["Authorization"]
        self._json(401, {"error": {"message": f"Incorrect API key provided: {said}", "code": "invalid_api_key"}})
        return False

    def _json(self, status: int, fields: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(fields).encode(), headers=headers)

    def _send(self, status: int, data: bytes, cut: int | None = None, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[:cut])


def make_photographs(folder: Path, count: int) -> Path:
    """So many different small pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1)
    for number in range(count):
        pixels = noise.integers(0, 255, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{number:05d}.png")
    return folder
