"""Weights files that strangers made: refused before memory is taken, and in one line."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from beamscribe.model.backbone.network import build_backbone
from beamscribe.model.backbone.spec import BACKBONES, ResolvedWeights, WeightsError
from beamscribe.model.backbone.weights_file import refuse_odd_weights

pytestmark = pytest.mark.slow

SPEC = BACKBONES["MobileNetV2"]


def huge(file: Any) -> None:
    file.create_dataset("a", shape=(10**12,), dtype="f4", chunks=(10**6,), compression="gzip")


def many(file: Any) -> None:
    for number in range(30):
        file.create_dataset(str(number), shape=(10**7,), dtype="f8", chunks=(10**6,), compression="gzip")


def linked(file: Any) -> None:
    file["a"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file: Any) -> None:
    file["a"] = h5py.SoftLink("/")


def outside(file: Any) -> None:
    file.create_dataset("a", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (huge, "declare 4,000,000,000,000 bytes"),
        (many, "declare 2,400,000,000 bytes"),
        (linked, "is a link"),
        (soft, "is a link"),
        (outside, "another file"),
    ],
)
def test_an_odd_file_is_refused(make: Callable[[Any], None], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(ValueError, match=reason):
        refuse_odd_weights(str(path), path.stat().st_size)


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x89HDF\r\n\x1a\n" + bytes(500)])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_what_is_no_weights_file_is_refused(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="do not fit MobileNetV2"):
        build_backbone(SPEC, ResolvedWeights(str(path), hashlib.sha256(data).hexdigest()))


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", data=np.zeros((2, 2), "f4"))
        file.create_dataset("text", data=np.array([b"x"], dtype="S1"))
    with pytest.raises(WeightsError, match="do not fit MobileNetV2"):
        build_backbone(SPEC, ResolvedWeights(str(path), "digest"))
