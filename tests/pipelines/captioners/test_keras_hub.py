"""A tiny PaliGemma with random weights, made and saved by KerasHub itself, behind the command line and from Python."""

import io
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.dataset as ds
import pytest

from beamscribe import Captioner
from beamscribe.command_line import main
from beamscribe.errors import DONE, REFUSED
from beamscribe.model.images import decode_image
from tests.pipelines.captioners.endpoint_server import make_photographs

keras_hub = pytest.importorskip("keras_hub")
sentencepiece = pytest.importorskip("sentencepiece")

pytestmark = pytest.mark.slow

SENTENCES = [
    "caption en\n",
    "a dog runs along the beach",
    "two people ride bicycles in a park",
    "a red bus stands there",
]
IMAGES, SIDE, MAX_TOKENS = 50, 16, 8


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `save_to_preset` wrote."""
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=proto,
        vocab_size=64,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        bos_piece="<bos>",
        eos_piece="<eos>",
        unk_piece="<unk>",
    )
    tokenizer = keras_hub.tokenizers.PaliGemmaTokenizer(proto=proto.getvalue())
    preprocessor = keras_hub.models.PaliGemmaCausalLMPreprocessor(
        tokenizer=tokenizer,
        image_converter=keras_hub.layers.PaliGemmaImageConverter(image_size=(SIDE, SIDE), scale=1 / 127.5, offset=-1.0),
        sequence_length=32,
    )
    # Other weights may end every sentence at once.
    keras.utils.set_random_seed(7)
    backbone = keras_hub.models.PaliGemmaBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=SIDE,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=16,
        intermediate_dim=32,
        head_dim=8,
        vit_patch_size=8,
        vit_num_layers=2,
        vit_num_heads=2,
        vit_hidden_dim=16,
        vit_intermediate_dim=32,
    )
    task = keras_hub.models.PaliGemmaCausalLM(preprocessor=preprocessor, backbone=backbone)
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    task.save_to_preset(str(folder))
    return folder


def directly(preset: Path, pixels: np.ndarray) -> list[str]:
    """What KerasHub itself generates for one batch."""
    task: Any = keras_hub.models.PaliGemmaCausalLM.from_preset(str(preset))
    task.compile(sampler="greedy")
    prompt = "caption en\n"
    length = len(task.preprocessor.tokenizer(prompt)) + 2 + MAX_TOKENS
    inputs = {"images": pixels.astype(np.float32), "prompts": [prompt] * len(pixels)}
    return [text.strip() for text in task.generate(inputs, max_length=length, strip_prompt=True)]


def test_a_preset_captions_as_keras_hub_itself_does(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = make_photographs(tmp_path / "in", IMAGES)
    output = tmp_path / "out"
    command = ["caption", "--images", str(photographs), "--output", str(output), "--model", f"keras-hub:{preset}"]
    command += ["--batch-size", "8", "--max-tokens", str(MAX_TOKENS)]
    assert main(command) == DONE
    files = sorted(photographs.iterdir())
    pixels = np.stack([decode_image(path.read_bytes(), (SIDE, SIDE), "bicubic").pixels for path in files])
    expected = {path.as_uri(): text for path, text in zip(files, directly(preset, pixels), strict=True)}
    rows = {row["id"]: row["caption"] for row in ds.dataset(output / "captions").to_table().to_pylist()}
    assert rows == {uri: text for uri, text in expected.items() if text}
    assert len(rows) > IMAGES // 2
    # The same command does nothing; other weights are another fingerprint.
    assert main(command) == DONE
    assert "this run did 0 of 50" in capsys.readouterr().out
    assert main([*command, "--prompt", "answer en"]) == REFUSED
    captioner = Captioner.load(f"keras-hub:{preset}")
    told = captioner.caption([str(files[0]), b"no image"])
    assert told[1].error is not None
    assert told[0].text.startswith(expected[files[0].as_uri()]) or told[0].error


def test_what_keras_hub_cannot_load_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = make_photographs(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    command = ["caption", "--images", str(photographs), "--output", str(tmp_path / "out")]
    assert main([*command, "--model", f"keras-hub:{tmp_path / 'empty'}"]) == REFUSED
    assert "cannot be loaded" in capsys.readouterr().err


def test_the_benchmark_of_gpus_runs_on_a_cpu(preset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import gpu

    gpu.main(["--small", "--model", f"keras-hub:{preset}"])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["images_a_second"] > 0
    assert line["batch_size"] == 2
