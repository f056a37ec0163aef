"""Which engine runs a model, and in which precision: chosen once by the launcher, without loading TensorFlow."""

import importlib.util
from typing import NamedTuple

TENSORFLOW, OPENVINO, AUTO = "tensorflow", "openvino", "auto"
ENGINES = (TENSORFLOW, OPENVINO)
FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
PRECISIONS = (FLOAT32, BFLOAT16, INT8)

_CPU_INFO = "/proc/cpuinfo"
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


class ChoiceError(ValueError):
    """An engine or a precision that cannot be had here; the message says what can."""


class Choice(NamedTuple):
    """How a model runs.

    Attributes:
        engine: one of `ENGINES`; it runs the backbone. The captioner always runs on TensorFlow: OpenVINO takes its
            search as it is, finds the same tokens and is no faster at it.
        precision: one of `PRECISIONS`, of the backbone. Where it is not float32, the captioner computes in bfloat16.
    """

    engine: str = TENSORFLOW
    precision: str = FLOAT32


def processor_flags() -> frozenset[str]:
    """What this machine's processor can do, by the names of the Linux kernel; nothing is known of other systems."""
    try:
        with open(_CPU_INFO, encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith(("flags", "Features"))), ":")
    except OSError:
        return frozenset()
    return frozenset(line.split(":", 1)[1].split())


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    return bool(_BFLOAT16_FLAGS & processor_flags())


def has_openvino() -> bool:
    """Whether the extra `openvino` is installed here."""
    return importlib.util.find_spec("openvino") is not None


def choose(engine: str, precision: str, quantized: bool) -> Choice:
    """Resolves `auto`, and refuses what cannot be.

    Args:
        engine: of `ENGINES`, or "auto": whatever the precision needs, TensorFlow where either will do.
        precision: of `PRECISIONS`, or "auto", which only takes what was shown to leave captions as good as they are.
        quantized: whether the bundle holds an int8 backbone.

    Raises:
        ChoiceError: if the two do not go together, or something is missing.
    """
    if precision == AUTO:
        precision = FLOAT32
    if engine == AUTO:
        engine = OPENVINO if precision == INT8 else TENSORFLOW
    if precision == INT8 and engine != OPENVINO:
        raise ChoiceError("--precision int8 runs on --engine openvino alone")
    if precision == INT8 and not quantized:
        raise ChoiceError("--precision int8 needs a bundle with an int8 backbone: make one with beamscribe quantize")
    if engine == OPENVINO and not has_openvino():
        raise ChoiceError("--engine openvino needs the extra openvino: pip install 'beamscribe[openvino]'")
    return Choice(engine, precision)
