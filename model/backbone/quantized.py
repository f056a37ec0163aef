"""A backbone in int8, as `beamscribe quantize` stores it: OpenVINO's intermediate representation, XML and weights."""

from typing import NamedTuple

XML, WEIGHTS = "backbone.int8.xml", "backbone.int8.bin"
"""The bundle's names for the two files."""


class Quantized(NamedTuple):
    """The two files' bytes; data alone, nothing in them is ever executed."""

    xml: bytes
    weights: bytes
