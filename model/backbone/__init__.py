"""The seam to image backbones: what one is, where its weights come from, and how it is opened."""

from beamscribe.model.backbone.spec import (
    BACKBONES,
    BackboneSpec,
    ResolvedWeights,
    WeightsError,
    backbone_name,
    resolve_weights,
)

__all__ = ["BACKBONES", "BackboneSpec", "ResolvedWeights", "WeightsError", "backbone_name", "resolve_weights"]
