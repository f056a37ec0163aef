"""Jobs whose captions come from an endpoint, run as the command line runs them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED, STOPPED
from beamscribe.pipelines.captioners.journal import read_account
from beamscribe.storage.storage import Storage
from tests.pipelines.captioners.endpoint_server import KEY, EndpointServer, english, make_photographs

IMAGES = 40


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photographs(tmp_path_factory.mktemp("photographs"), IMAGES)


@pytest.fixture(autouse=True)
def _key_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("beamscribe.pipelines.services.retry_policy.BETWEEN", lambda state: 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def command(photographs: Path, output: Path, url: str, *more: str) -> list[str]:
    return ["caption", "--images", str(photographs), "--output", str(output), "--endpoint", url, "--model", "m", *more]


def rows(output: Path, folder: str = "captions") -> list[dict[str, Any]]:
    if not (output / folder).exists():
        return []
    return sorted(ds.dataset(output / folder).to_table().to_pylist(), key=lambda row: row["id"])


def everything_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


@pytest.mark.slow
def test_every_image_is_a_row_or_a_failure_row_whatever_the_service_does(
    photographs: Path, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = EndpointServer(fault_rate=0.3, hang_seconds=6)
    prices = ("--price-in", "2.5", "--price-out", "10")
    with server.serving() as url:
        asked = command(photographs, output, url, "--request-timeout", "5", "--concurrency", "8", *prices)
        assert main(asked) == DONE
        found, failures = rows(output), rows(output, "failures")
        assert len(found) + len(failures) == IMAGES
        assert len(found) >= IMAGES // 2
        assert server.wrong_requests == []
        assert server.most_at_once <= 8 + server.faults["hang"]  # given up by the client, not yet by the server
        assert {row["error_type"] for row in failures} <= {
            *("Refusal", "WrongLanguage", "EmptyAnswer", "CutOff", "BadAnswer"),
            *("ServiceRefused", "ServiceFailed", "ServiceUnreachable"),
        }
        for row in found:
            assert row["caption"].startswith("A ")
            assert row["score"] == pytest.approx(-0.25)
            assert (row["model"], row["finish_reason"]) == ("m-2026", "stop")
            assert len(row["prompt_digest"]) == 16
            assert row["tokens_in"] in (215, 430)
        # What is paid for: all answers that came whole.
        totals = read_account(Storage(str(output))).totals
        whole = server.answers - server.faults["half"]
        assert totals.answers <= whole <= totals.answers + totals.lost
        cost = (totals.tokens_in * 2.5 + totals.tokens_out * 10) / 1e6
        said = capfd.readouterr()
        tokens = f"{totals.tokens_in:,} tokens in, {totals.tokens_out:,} tokens out"
        assert f"{totals.answers} answers: {tokens}; cost {cost:.6f}" in said.out
        # Nothing is asked twice, and what has failed only when that is wanted.
        before = server.answers
        assert main(asked) == DONE
        assert server.answers == before
        server._fault_rate = 0.0
        assert main([*asked, "--retry-failed"]) == DONE
        assert server.answers == before + len(failures)
        assert len(rows(output)) == IMAGES
        assert main(["verify", str(output)]) == DONE
    said_again = capfd.readouterr()
    for text in (said.out, said.err, said_again.out, said_again.err):
        assert KEY not in text
    assert [name for name, data in everything_below(output) if KEY.encode() in data] == []


@pytest.mark.slow
def test_a_forecast_keeps_the_answers_that_it_paid_for(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = EndpointServer()
    with server.serving() as url:
        asked = command(photographs, output, url, "--price-in", "1", "--price-out", "1")
        assert main([*asked, "--plan"]) == DONE
        assert server.answers == 20
        assert len(rows(output)) == 20
        said = capsys.readouterr().out
        assert "forecast" in said
        expected = (server.tokens_in + server.tokens_out) / 1e6
        assert f"cost {expected:.4f} for them, {2 * expected:.4f} in all" in said
        assert main([*asked, "--plan"]) == DONE
        assert server.answers == 20
        assert main(asked) == DONE
        assert server.answers == IMAGES
        assert set(server.answered.values()) == {1}


@pytest.mark.slow
def test_money_that_is_spent_stops_the_job_and_everything_is_committed(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = EndpointServer(delay_seconds=0.05)
    each = 215 * 10 / 1e6
    with server.serving() as url:
        asked = command(photographs, output, url, "--price-in", "10", "--price-out", "0.001", "--concurrency", "4")
        assert main([*asked, "--max-cost", f"{each * 15.5}"]) == CHECK_FAILED
        assert server.answers == 15
        assert len(rows(output)) == 15
        assert "--max-cost" in capsys.readouterr().out
        assert main([*asked, "--max-cost", f"{each * 100}"]) == DONE
        assert server.answers == IMAGES


@pytest.mark.slow
def test_a_service_that_refuses_everything_stops_the_job(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EndpointServer(fault_rate=1.0, faults=("500",))
    with server.serving() as url:
        assert main(command(photographs, output, url)) == STOPPED
        assert "refused 10 images in a row" in capsys.readouterr().err
        assert rows(output) == []
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-9876")
        other = output.with_name("other")
        assert main(command(photographs, other, url)) == REFUSED
        said = capsys.readouterr()
        assert "answered 401" in said.err
        assert "sk-wrong-key-9876" not in said.err + said.out


@pytest.mark.slow
def test_requests_that_are_refused_cost_their_images_unless_none_is_taken(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = EndpointServer(fault_rate=1.0, faults=("400",))
    with server.serving() as url:
        assert main(command(photographs, output, url, "--concurrency", "4")) == STOPPED
        assert "refused 10 images in a row" in capsys.readouterr().err
        assert len(server.times) <= 10 + 4
        server._fault_rate = 0.3
        other = output.with_name("other")
        assert main(command(photographs, other, url, "--concurrency", "4")) == DONE
        failed = rows(other, "failures")
        assert len(rows(other)) + len(failed) == IMAGES
        assert {row["error_type"] for row in failed} == {"ServiceRefused"}
        # After an answer, no number of them stops the run.
        server._fault_rate = 1.0
        assert main(command(photographs, other, url, "--concurrency", "4", "--retry-failed")) == DONE
        assert len(rows(other, "failures")) == len(failed)


def test_an_answer_follows_a_schema_language_and_fields(photographs: Path, output: Path, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"caption": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["caption", "people"],
        "additionalProperties": False,
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))

    def answer(jpeg: bytes, prompt: str) -> str:
        number = int(prompt.split("number ")[1].split(".")[0])
        if number % 10 == 0:
            return '{"caption": "개가 달린다."}'
        if number % 10 == 1:
            return "개가 달린다."
        return json.dumps(
            {"caption": "A dog runs on." if number % 10 == 2 else "개가 해변을 따라 달린다.", "people": number}
        )

    server = EndpointServer(answer=answer)
    with server.serving() as url:
        more = ("--json-schema", str(tmp_path / "schema.json"), "--language", "ko")
        prompt = ("--prompt", "Describe number {file_name}")
        assert main(command(photographs, output, url, *more, *prompt, "--system", "You are terse.")) == DONE
    found = rows(output)
    assert len(found) == IMAGES * 7 // 10
    assert found[0]["caption"] == "개가 해변을 따라 달린다."
    assert found[0]["structured"] == {"caption": "개가 해변을 따라 달린다.", "people": 3}
    failures = {row["id"][-9:-4]: row["error_type"] for row in rows(output, "failures")}
    assert [failures[f"{number:05d}"] for number in (0, 1, 2)] == ["NotTheSchema", "NotJson", "WrongLanguage"]
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "You are terse."}
    assert {body["response_format"]["type"] for body in server.bodies} == {"json_schema"}
    assert len(server.bodies) == len(found) + 2 * len(failures)


def test_samples_become_alternatives_and_canaries_are_asked_twice(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamscribe.pipelines.captioners.canaries.ROWS_BETWEEN_CANARIES", 10)
    seen: set[bytes] = set()

    def drifting(jpeg: bytes, prompt: str) -> str:
        again = jpeg in seen
        seen.add(jpeg)
        return "Something else entirely hangs over there now." if again else english(jpeg, prompt)

    server = EndpointServer(answer=drifting)
    with server.serving() as url:
        more = ("--samples", "3", "--temperature", "0.7", "--canaries", "3", "--strict")
        assert main(command(photographs, output, url, *more)) == CHECK_FAILED
    assert "3 images that were asked for twice" in capsys.readouterr().err
    assert server.answers == IMAGES + 3
    assert {len(row["alternatives"]) for row in rows(output)} == {3}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--max-cost", "1"), "--price-in and --price-out"),
        (("--samples", "2"), "at temperature 0 all are the same"),
        (("--language", "xx"), "--language xx"),
        (("--prompt", "Describe {title}"), "{title}"),
        (("--prompt", "@nowhere.txt"), "cannot be read"),
        (("--json-schema", "nowhere.json"), "cannot be used"),
        (("--api-key-variable", "NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
        (("--endpoint", "http://user:secret@host/v1"), "holds a password"),
        (("--endpoint", "http://host/v1?key=secret"), "holds a credential or a query"),
        (("--endpoint", "localhost:8000"), "give the http(s) URL"),
        (("--endpoint", "http://127.0.0.1:9/v1"), "cannot be reached"),
        (("--captioner", "a:B"), "leave --endpoint and --model out"),
    ],
)
def test_what_cannot_work_is_refused(
    photographs: Path, output: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(photographs, output, "http://127.0.0.1:9/v1", *more)) == REFUSED
    error = capsys.readouterr().err
    assert said in error
    assert "secret" not in error
    assert not os.path.exists(output / "captions")


def test_flags_of_an_endpoint_are_not_those_of_a_bundle(
    photographs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", "--images", str(photographs), "--output", str(output), "--max-cost", "1"]) == REFUSED
    assert "--max-cost is for a captioner behind --endpoint" in capsys.readouterr().err
