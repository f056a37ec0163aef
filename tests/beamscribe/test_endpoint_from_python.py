"""`Captioner.endpoint`: a service's captions from Python, against the strict server."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from beamscribe import Captioner
from beamscribe.pipelines.work.run import EndedEarlyError
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer, english

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), np.uint8)


@pytest.fixture(autouse=True)
def _key_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("WRONG", "sk-wrong-key-9876")
    monkeypatch.setattr("beamscribe.pipelines.services.retry_policy.BETWEEN", lambda state: 0.0)


def test_images_of_every_kind_have_captions_and_a_bad_one_has_an_error() -> None:
    png = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(png, "png")
    server = EndpointServer()
    with server.serving() as url:
        captioner = Captioner.endpoint(url, "m")
        same, array, bad, other = captioner.caption([png.getvalue(), PIXELS[0], b"no image", PIXELS[1]])
        assert len(captioner.caption(PIXELS)) == 3
        assert captioner.caption([]) == []
    assert server.wrong_requests == []
    # Without a journal every image is asked for, the same one too.
    assert server.answers == 6
    assert same == array
    assert same.text.startswith("A ")
    assert same.text != other.text
    assert same.score == pytest.approx(-0.25)
    assert bad.text == ""
    assert bad.error
    assert math.isnan(bad.score)


def test_what_is_asked_is_what_was_said() -> None:
    server = EndpointServer(answer=lambda jpeg, prompt: f"{english(jpeg, prompt)} It answers {prompt!r}.")
    with server.serving() as url:
        captioner = Captioner.endpoint(url, "m", prompt="What is it?", max_tokens=17, temperature=0.5, samples=2)
        (found,) = captioner.caption(PIXELS[0])
    (body,) = server.bodies
    assert body["messages"][-1]["content"][0]["text"] == "What is it?"
    assert (body["model"], body["max_tokens"], body["temperature"], body["n"]) == ("m", 17, 0.5, 2)
    assert found.text.endswith("It answers 'What is it?'.")
    assert len(found.alternatives) == 1


def test_an_answer_that_is_no_caption_is_an_error_and_a_wrong_key_is_told_without_it() -> None:
    server = EndpointServer(fault_rate=1.0, faults=("refusal",))
    with server.serving() as url:
        (found,) = Captioner.endpoint(url, "m").caption(PIXELS[0])
        assert found.text == ""
        assert found.error.startswith("Refusal: ")
        assert server.answers == 2
        with pytest.raises(EndedEarlyError, match="401") as refused:
            Captioner.endpoint(url, "m", api_key_variable="WRONG").caption(PIXELS[0])
    assert "sk-wrong-key-9876" not in str(refused.value)
