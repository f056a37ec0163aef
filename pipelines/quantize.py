"""`beamscribe quantize`: a bundle's backbone in int8, calibrated on photographs."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.model.backbone.choice import FLOAT32, INT8, has_openvino
from beamscribe.model.backbone.quantized import WEIGHTS, XML
from beamscribe.model.backbone.spec import WeightsError
from beamscribe.model.bundle import Bundle, BundleError, is_unfinished, open_bundle, write_bundle
from beamscribe.model.bundle_folder import unwritable
from beamscribe.model.images import decode_image
from beamscribe.model.pretrained import NoBundleError, default_bundle
from beamscribe.pipelines.runtime.flags.quantize import CALIBRATION, parser
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.schemas.counted import counted
from beamscribe.schemas.printable import printable

CHECKED = 32
"""How many of these the int8 backbone is compared on."""

GOOD_ENOUGH = 0.05
"""Mean error of the features, relative to their mean size, up to which the fastest scheme is kept."""


def run(argv: Sequence[str]) -> int:
    """Parses, calibrates, writes the bundle.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    if not has_openvino():
        raise RefusedError("quantize needs the extra openvino: pip install 'beamscribe[openvino]'")
    output = os.path.abspath(os.path.expanduser(args.output))
    _refuse_output(args.output, output)
    try:
        bundle = open_bundle(args.model or default_bundle(), args.storage_options)
        bundle.check()
    except (BundleError, NoBundleError) as error:
        raise RefusedError(f"--model: {error}") from error
    pixels = _pixels(bundle, args.calibration, args.calibration_images, args.storage_options)
    print(f"beamscribe quantize: {bundle.backbone.name} on {counted(len(pixels), 'photograph')}")
    try:
        xml, weights, difference = _quantize(bundle, pixels)
    except WeightsError as unfit:
        raise RefusedError(f"--model: {unfit}") from unfit
    description = {name: value for name, value in bundle.config.items() if name not in ("files", "schema_version")}
    description["int8"] = {"calibration_images": len(pixels), "feature_error": round(difference, 4)}
    try:
        write_bundle(output, {**bundle.contents(), XML: xml, WEIGHTS: weights}, description)
    except OSError as error:
        print(
            f"beamscribe quantize: stopped: {args.output} cannot be written: {error}. Run the same command again.",
            file=sys.stderr,
        )
        return STOPPED
    print(f"beamscribe quantize: features differ by {100 * difference:.1f} % in the mean; bundle → {output}")
    return DONE


def _refuse_output(named: str, output: str) -> None:
    """Refuses a folder with something in it, and one that cannot be written, before minutes of work.

    Raises:
        RefusedError: saying which it is.
    """
    if os.path.exists(output) and not os.path.isdir(output):
        raise RefusedError(f"--output {named} is a file: name a folder")
    if os.path.isdir(output) and os.listdir(output) and not is_unfinished(output):
        raise RefusedError(f"--output {named} is not empty: choose another folder")
    if reason := unwritable(output):
        raise RefusedError(f"--output {named} cannot be written: {reason}")


def _pixels(bundle: Bundle, patterns: list[str], count: int, storage_options: dict[str, Any]) -> np.ndarray:
    """Photographs from all over the listing, decoded as for captioning; those that cannot be are passed over."""
    references = list_images(patterns, storage_options, None).references
    spec = bundle.backbone
    found: list[np.ndarray] = []
    order = np.random.default_rng(0).permutation(len(references))
    for place in order:
        if len(found) == count:
            break
        try:
            data = read_reference(references[place], storage_options)
            found.append(decode_image(data, spec.input_size, spec.resample).pixels)
        except Exception:  # noqa: BLE001 - one photograph of many, whatever is wrong with it
            continue
    if not found:
        raise RefusedError(f"--calibration {' '.join(patterns)} holds no photograph that can be decoded")
    return np.stack(found)


def _quantize(bundle: Bundle, pixels: np.ndarray) -> tuple[bytes, bytes, float]:
    """The int8 backbone, by the fastest scheme whose features are good enough, else by the best one."""
    # NNCF reports each use to its maker unless it believes that it is being tested.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    from beamscribe.model.backbone.openvino_engine import CompiledModel, convert, serialize

    model = convert(bundle.backbone, bundle.backbone_weights)
    checked = pixels[:CHECKED]
    expected = CompiledModel(model.clone(), FLOAT32)(checked).astype(np.float32)
    calibration = nncf.Dataset([pixels[place : place + 1] for place in range(len(pixels))])
    pairs = [(checked[place : place + 1], expected[place : place + 1]) for place in range(len(checked))]

    def likeness(compiled: Any, items: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[float]]:
        each = [1 - relative_error(next(iter(compiled(image).values())), grid) for image, grid in items]
        return float(np.mean(each)), each

    def aware() -> Any:
        return nncf.quantize_with_accuracy_control(
            model.clone(),
            calibration,
            nncf.Dataset(pairs, lambda pair: pair[0]),
            likeness,
            max_drop=GOOD_ENOUGH,
            subset_size=len(pixels),
            preset=nncf.QuantizationPreset.MIXED,
        )

    # Kernels have a scale a channel in all of these. "Mixed" keeps negative activations apart, as after swish.
    schemes = {
        "all layers": lambda: nncf.quantize(model.clone(), calibration, subset_size=len(pixels)),
        "mixed": lambda: nncf.quantize(
            model.clone(), calibration, subset_size=len(pixels), preset=nncf.QuantizationPreset.MIXED
        ),
        "the worst layers left as they were": aware,
    }

    def measured(quantized: Any) -> tuple[float, bytes, bytes]:
        xml, weights = serialize(quantized)
        return relative_error(CompiledModel(quantized, INT8)(checked), expected), xml, weights

    error, xml, weights = first_good(schemes, measured, len(pixels))
    return xml, weights, error


def first_good(
    schemes: Mapping[str, Callable[[], Any]], measured: Callable[[Any], tuple[float, bytes, bytes]], photographs: int
) -> tuple[float, bytes, bytes]:
    """The first scheme that is good enough, else the best of those that work.

    Args:
        schemes: make a quantized model each, the fastest one first.
        measured: error of a model's features, and the bytes of its two files.
        photographs: that they are calibrated on.

    Raises:
        RefusedError: if none works with so few photographs.
    """
    tried: list[tuple[float, bytes, bytes]] = []
    for name, scheme in schemes.items():
        try:
            found = measured(scheme())
        except Exception as error:  # noqa: BLE001 - NNCF has some twenty kinds, and few photographs meet several.
            reason = printable(f"{type(error).__name__}: {error}", length=200)
            print(f"beamscribe quantize: {name}: not possible with these photographs ({reason})")
            continue
        print(f"beamscribe quantize: {name}: features differ by {100 * found[0]:.1f} % in the mean")
        tried.append(found)
        if found[0] <= GOOD_ENOUGH:
            break
    if not tried:
        raise RefusedError(
            f"--calibration: no scheme works with {photographs} photographs: give {CALIBRATION}, as is the default"
        )
    return min(tried)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean difference, relative to the mean size; of features that are all zero, which int8 has too, none."""
    size = max(float(np.abs(expected).mean()), float(np.finfo(np.float32).tiny))
    return float(np.abs(found.astype(np.float32) - expected).mean()) / size
