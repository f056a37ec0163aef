"""Bundles that a stranger or a disk has damaged, digests and all: one refusal each, in seconds and bounded memory."""

import contextlib
import io
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from beamscribe.errors import RefusedError
from beamscribe.model.bundle import CONFIG, VOCABULARY, WEIGHTS, Bundle, BundleError, open_bundle, write_bundle
from beamscribe.model.captioning import load_captioner
from beamscribe.pipelines import caption

pytestmark = pytest.mark.slow

SECONDS, BYTES = 20.0, 1_500_000_000


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fails what takes too long or too much address space."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + BYTES, before[1]))
    begun = time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.monotonic() - begun < SECONDS


def use(path: str) -> None:
    """What every command does with a bundle before it begins its work."""
    bundle = open_bundle(path)
    bundle.check()
    load_captioner(bundle)


Arrays = dict[str, np.ndarray]


def rewritten(
    bundle: Bundle,
    folder: Path,
    arrays: Callable[[Arrays], Any] = lambda found: found,
    config: Callable[[dict[str, Any]], Any] = lambda found: found,
    vocabulary: Callable[[str], str | bytes] = lambda text: text,
) -> str:
    """A copy of a bundle with changes, whose digests are right."""
    buffer = io.BytesIO()
    changed = arrays(bundle.arrays())
    if isinstance(changed, bytes):
        buffer.write(changed)
    else:
        np.savez(buffer, **changed)
    words = vocabulary(Path(bundle.path, VOCABULARY).read_text())
    described = json.loads(Path(bundle.path, CONFIG).read_text())
    files = {WEIGHTS: buffer.getvalue(), VOCABULARY: words.encode() if isinstance(words, str) else words}
    written = write_bundle(str(folder), files, {name: described[name] for name in ("captioner", "backbone")})
    described = config(json.loads(Path(written.path, CONFIG).read_text()))
    text = described if isinstance(described, str) else json.dumps(described)
    Path(written.path, CONFIG).write_text(text)
    return written.path


def sized(**sizes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        config["captioner"]["config"] |= sizes
        return config

    return change


def described(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: config | fields


def backbone(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: config | {"backbone": config["backbone"] | fields}


def without(*path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        inner = config
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        return config

    return change


def first(change: Callable[[np.ndarray], Any]) -> Callable[[Arrays], Arrays]:
    def changed(found: Arrays) -> Arrays:
        name = max(found, key=lambda name: found[name].size)
        return found | {name: change(found[name])}

    return changed


def tokens(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "\n".join(change(text.removesuffix("\n").split("\n"))) + "\n"


BIG = 10**9
SIZES = ("vocabulary_size", "max_length", "width", "heads", "feed_forward", "encoder_blocks", "decoder_blocks")
CONFIGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"{name} {value}": sized(**{name: value}) for name in SIZES for value in (-1, BIG, 1.5, "8", None, True)},
    **{f"{name} 0": sized(**{name: 0}) for name in SIZES if name != "encoder_blocks"},
    **{f"{name} above what is there": sized(**{name: 200}) for name in SIZES if name != "max_length"},
    **{f"without {name}": without("captioner", "config", name) for name in (*SIZES, "grid", "decoder", "dropout")},
    **{f"without {name}": without(name) for name in ("captioner", "backbone", "files", "schema_version")},
    **{f"backbone without {name}": without("backbone", name) for name in ("name", "weights", "digest", "file")},
    "other grid": sized(grid=[8, 8, 2048]),
    "huge grid": sized(grid=[BIG, BIG, BIG]),
    "grid of one": sized(grid=7),
    "another decoder": sized(decoder="transformer"),
    "no decoder": sized(decoder="rnn"),
    "decoder in a list": sized(decoder=["lstm"]),
    "dropout of one": sized(dropout=1.0),
    "dropout is text": sized(dropout="0.2"),
    "an unknown size": sized(layers=3),
    "captioner is a list": described(captioner=[]),
    "config is text": described(captioner={"config": "x"}),
    "members beyond all": lambda config: described(captioner=config["captioner"] | {"members": BIG})(config),
    "members that are not there": lambda config: described(captioner=config["captioner"] | {"members": 2})(config),
    "members is text": lambda config: described(captioner=config["captioner"] | {"members": "2"})(config),
    "weights beside the folder": backbone(file="../other.h5"),
    "weights without a digest": backbone(file="backbone.h5"),
    "weights of an odd name": lambda config: described(files=config["files"] | {"a.keras": "0"})(
        backbone(file="a.keras")(config)
    ),
    "weights in a list": backbone(file=["backbone.h5"]),
    "weights on this machine": backbone(weights="/etc/passwd"),
    "weights are a number": backbone(weights=7),
    "backbone in a list": backbone(name=["MobileNetV2"]),
    "files is text": described(files="captioner.npz vocabulary.txt"),
    "a digest is a number": lambda config: described(files=config["files"] | {VOCABULARY: 7})(config),
    "a file called ..": lambda config: described(files=config["files"] | {"..": "0"})(config),
    "describes itself": lambda config: described(files=config["files"] | {CONFIG: "0"})(config),
    "notice is a list": described(notice=["x"]),
    "not a number": lambda config: json.dumps(config).replace('"dropout": 0.2', '"dropout": NaN'),
    "infinite": lambda config: json.dumps(config).replace('"dropout": 0.2', '"dropout": 1e999'),
    "deep": lambda config: "[" * 100_000,
    "deep inside": lambda config: json.dumps(config)[:-1] + ', "x": ' + "[" * 100_000,
    "a number of many digits": lambda config: json.dumps(config)[:-1] + ', "x": ' + "9" * 5000 + "}",
    "cut off": lambda config: json.dumps(config)[:100],
    "version is text": described(schema_version="1"),
    "version to come": described(schema_version=BIG),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_damaged_description(case: str, untrained_bundle: Bundle, tmp_path: Path) -> None:
    path = rewritten(untrained_bundle, tmp_path / "bundle", config=CONFIGS[case])
    with bounded(), pytest.raises(BundleError, match=str(tmp_path)):
        use(path)


WEIGHTS_CASES: dict[str, Callable[[Arrays], Any]] = {
    "no bytes": lambda found: b"",
    "no archive": lambda found: b"PK\3\4" + bytes(1000),
    "objects": first(lambda values: np.array([{"a": 1}], dtype=object)),
    "whole numbers": first(lambda values: values.astype(np.int8)),
    "extended": first(lambda values: values.astype(np.longdouble)),
    "text": first(lambda values: np.array(["x"])),
    "transposed": first(lambda values: np.zeros((*values.shape[::-1], 1), np.float16)),
    "one axis": first(np.ravel),
    "scalar": first(lambda values: values.ravel()[0]),
    "longer": first(lambda values: np.concatenate([values, values])),
    "empty": first(lambda values: values[:0]),
    "not finite": first(lambda values: np.full_like(values, np.nan)),
    "infinite": first(lambda values: np.full_like(values, np.inf)),
    "one is missing": lambda found: dict(list(found.items())[1:]),
    "one too many": lambda found: found | {"more": np.zeros(1, np.float16)},
    "none": lambda found: {},
}


@pytest.mark.parametrize("case", WEIGHTS_CASES)
def test_damaged_weights(case: str, untrained_bundle: Bundle, tmp_path: Path) -> None:
    path = rewritten(untrained_bundle, tmp_path / "bundle", arrays=WEIGHTS_CASES[case])
    with bounded(), pytest.raises(BundleError, match=str(tmp_path)):
        use(path)


VOCABULARIES: dict[str, Callable[[str], str | bytes]] = {
    "no text": lambda text: b"\xff\xfe" * 200,
    "empty": lambda text: "",
    "shorter": tokens(lambda words: words[:-1]),
    "longer": tokens(lambda words: [*words, "more"]),
    "reserved tokens elsewhere": tokens(lambda words: words[::-1]),
    "the same twice": tokens(lambda words: [*words[:-1], words[-2]]),
    "a very long token": tokens(lambda words: [*words[:-1], "x" * 1_000_000]),
    "a NUL": tokens(lambda words: [*words[:-1], "a\0b"]),
}


@pytest.mark.parametrize("case", VOCABULARIES)
def test_a_damaged_vocabulary(case: str, untrained_bundle: Bundle, tmp_path: Path) -> None:
    path = rewritten(untrained_bundle, tmp_path / "bundle", vocabulary=VOCABULARIES[case])
    with bounded(), pytest.raises(BundleError, match=str(tmp_path)):
        use(path)


def test_a_huge_file_a_pipe_and_a_folder_are_not_read(untrained_bundle: Bundle, tmp_path: Path) -> None:
    for name in (CONFIG, WEIGHTS, VOCABULARY):
        for kind in ("pipe", "folder", "huge"):
            folder = tmp_path / f"{name}-{kind}"
            shutil.copytree(untrained_bundle.path, folder)
            file = folder / name
            file.unlink()
            if kind == "pipe":
                os.mkfifo(file)
            elif kind == "folder":
                file.mkdir()
            else:
                with open(file, "wb") as sparse:
                    sparse.truncate(2**42)
            with bounded(), pytest.raises(BundleError, match=f"{folder} is not a bundle: {name} cannot be read"):
                use(str(folder))


def test_caption_refuses_in_one_line(untrained_bundle: Bundle, tmp_path: Path, made_images: Path) -> None:
    path = rewritten(untrained_bundle, tmp_path / "bundle", config=without("captioner", "config", "max_length"))
    flags = ["--images", str(made_images / "images"), "--output", str(tmp_path / "out"), "--model"]
    with pytest.raises(RefusedError, match=r"^--model: \S+: no captioner can be built with max_length None: [^\n]+$"):
        caption.run([*flags, path])
    assert not (tmp_path / "out").exists()


def test_a_notice_is_printed_without_what_a_terminal_acts_on(untrained_bundle: Bundle, tmp_path: Path) -> None:
    notice = "terms:\n\x1b]0;owned\x07\x1b[2J" + "x" * 100_000
    path = rewritten(untrained_bundle, tmp_path / "bundle", config=described(notice=notice))
    found = open_bundle(path).notice
    assert found.startswith("terms:\n\\x1b]0;owned\\x07\\x1b[2Jxxx")
    assert len(found) < 3000


def test_no_message_repeats_what_a_terminal_acts_on(untrained_bundle: Bundle, tmp_path: Path) -> None:
    path = rewritten(untrained_bundle, tmp_path / "bundle", config=backbone(name="\x1b[2J\r\n"))
    with pytest.raises(BundleError, match=r"needs the backbone \\x1b\[2J ") as refused:
        use(path)
    assert str(refused.value).isprintable()
