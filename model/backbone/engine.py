"""Opens the engine that runs a backbone: pixels in, features out."""

from beamscribe.model.backbone.choice import OPENVINO, Choice
from beamscribe.model.backbone.quantized import Quantized
from beamscribe.model.backbone.spec import BackboneSpec, Engine, ResolvedWeights


def open_engine(
    spec: BackboneSpec, weights: ResolvedWeights, choice: Choice, quantized: Quantized | None = None
) -> Engine:
    """Loads a backbone into the engine that was chosen, which is loaded only now.

    Args:
        spec: which backbone.
        weights: resolved by the launcher.
        choice: resolved by the launcher; nothing else is ever taken in its place.
        quantized: the backbone in int8, where that is the choice.

    Raises:
        WeightsError: if the weights cannot be had or do not fit.
        ImportError: if the engine is not installed on this worker.
    """
    if choice.engine == OPENVINO:
        from beamscribe.model.backbone.openvino_engine import open_openvino

        return open_openvino(spec, weights, choice.precision, quantized)
    from beamscribe.model.backbone.tensorflow_engine import open_tensorflow

    return open_tensorflow(spec, weights, choice.precision)
