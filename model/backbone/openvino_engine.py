"""Runs a backbone on OpenVINO."""

import os
import tempfile
import threading
from typing import Any

import numpy as np
import openvino

from beamscribe.model.backbone.choice import BFLOAT16, FLOAT32, INT8
from beamscribe.model.backbone.quantized import Quantized
from beamscribe.model.backbone.spec import BackboneSpec, Engine, ResolvedWeights

STREAMS = 2
"""Batches that are computed side by side, each with its share of the cores."""

_HINTS = {FLOAT32: "f32", BFLOAT16: "bf16", INT8: "bf16"}
"""What is not int8 in a quantized backbone runs in bfloat16."""


def convert(spec: BackboneSpec, weights: ResolvedWeights) -> openvino.Model:
    """The backbone in float32, from uint8 pixels to float16 features.

    OpenVINO's own reader is given the frozen graph: its converter for Python reports each use to its maker.
    """
    from beamscribe.model.backbone.tensorflow_engine import grid_function  # only here is TensorFlow needed
    from beamscribe.model.freezing import graph_of

    graph = graph_of(grid_function(spec, weights))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "backbone.pb")
        with open(path, "wb") as file:
            file.write(graph.SerializeToString())
        return openvino.Core().read_model(path)


def open_openvino(
    spec: BackboneSpec, weights: ResolvedWeights, precision: str, quantized: Quantized | None = None
) -> Engine:
    """Compiles a backbone.

    Args:
        spec: which backbone.
        weights: resolved by the launcher.
        precision: int8 takes `quantized`, the others `weights`.
        quantized: the int8 backbone.
    """
    if precision == INT8:
        if quantized is None:
            raise ValueError("int8 needs the quantized backbone")
        model = openvino.Core().read_model(quantized.xml, quantized.weights)
    else:
        model = convert(spec, weights)
    return CompiledModel(model, precision)


class CompiledModel:
    """A model compiled for each size of batch that it meets, which is one or two in a job.

    Args:
        model: from uint8 (batch, height, width, 3) to one output.
        precision: see `beamscribe.model.backbone.choice`.
    """

    def __init__(self, model: openvino.Model, precision: str) -> None:
        self._model, self._precision = model, precision
        self._core = openvino.Core()
        self._compiling = threading.Lock()
        self._compiled: dict[int, Any] = {}
        self._requests = threading.local()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features of a batch."""
        request = self._request(len(pixels))
        request.infer({0: pixels})
        # A copy: the request's own memory is written by the next call.
        return np.array(request.get_output_tensor(0).data)

    def _request(self, batch: int) -> Any:
        """A request is used by one thread."""
        own: dict[int, Any] = self._requests.__dict__.setdefault("of", {})
        if batch not in own:
            own[batch] = self._compile(batch).create_infer_request()
        return own[batch]

    def _compile(self, batch: int) -> Any:
        with self._compiling:
            if batch not in self._compiled:
                sizes = [size.get_length() for size in list(self._model.input(0).partial_shape)[1:]]
                self._model.reshape([batch, *sizes])
                threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
                options = {
                    "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
                    "NUM_STREAMS": min(STREAMS, threads),
                    "INFERENCE_NUM_THREADS": threads,
                }
                self._compiled[batch] = self._core.compile_model(self._model, "CPU", options)
            return self._compiled[batch]


def serialize(model: openvino.Model) -> tuple[bytes, bytes]:
    """A model as the bytes of its two files."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.xml")
        openvino.serialize(model, path)
        with open(path, "rb") as xml, open(path.replace(".xml", ".bin"), "rb") as weights:
            return xml.read(), weights.read()
