"""docs/troubleshooting.md has every message that a user can get, collected from the code."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.documents import CHECKOUT

CODE = ("storage", "schemas", "model", "training", "pipelines")
TOLD = (
    "BundleError",
    "ChoiceError",
    "CocoError",
    "ImageError",
    "NewerSchemaError",
    "NoBundleError",
    "RefusedError",
    "SpeechError",
    "StorageError",
    "UriError",
    "WeightsError",
)
"""Errors whose message people read: of a refused command, or in a failure row."""
SHORTEST = 9
"""Letters of a piece that tell one message from the others."""


def pieces(text: str) -> list[str]:
    """What of a message tells it from others: not a flag alone, and not the name of a command."""
    found = (
        re.sub(r"^(--[a-z-]+|beamscribe)( \w+)?(: stopped)?:?$", "", piece.strip(" :\n")) for piece in text.split("…")
    )
    return [piece for piece in found if len(piece) >= SHORTEST]


class Message(NamedTuple):
    """A message in the code.

    Attributes:
        where: file and line.
        text: `…` stands for what is put in.
    """

    where: str
    text: str


def written(node: ast.expr) -> str:
    """A literal as it stands in the code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(written, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return written(node.left) + written(node.right)
    return "…"


def told(node: ast.AST) -> list[ast.expr]:
    """What a statement tells people."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = node.exc.func.id if isinstance(node.exc.func, ast.Name) else ""
        return node.exc.args if name in TOLD else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return node.args if any(word.arg == "file" for word in node.keywords) else []
    return []


def messages() -> Iterator[Message]:
    files = [
        *(CHECKOUT / "beamscribe").glob("*.py"),
        *(path for folder in CODE for path in (CHECKOUT / folder).rglob("*.py")),
    ]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for text in map(written, told(node)):
                if pieces(text):
                    yield Message(f"{path.relative_to(CHECKOUT)}:{node.lineno}", text)  # type: ignore[attr-defined]


def documented() -> list[str]:
    """Pieces of messages in the first column of the tables."""
    rows = (CHECKOUT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    spans = [span for row in rows if row.startswith("| `") for span in re.findall(r"`([^`]+)`", row.split("|")[1])]
    return [piece for span in spans for piece in pieces(re.sub(r"^\w+: ", "", span))]


def test_messages_are_found() -> None:
    found = [message.text for message in messages()]
    assert len(found) > 150
    assert any("did you mean" in text or "unknown argument" in text for text in found)


def test_every_message_is_in_troubleshooting() -> None:
    known = documented()
    lacking = [message for message in messages() if not any(piece in message.text for piece in known)]
    assert not lacking, "\n".join(f"{message.where}: {message.text}" for message in lacking)
