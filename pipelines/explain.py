"""`beamscribe explain`: where a captioner looks, as a picture."""

import importlib.util
import os
from collections.abc import Sequence

from beamscribe.errors import DONE, RefusedError
from beamscribe.model.backbone.spec import WeightsError
from beamscribe.model.bundle import Bundle, BundleError, open_bundle
from beamscribe.model.images import ImageError, decode_image
from beamscribe.model.pretrained import NoBundleError, default_bundle
from beamscribe.pipelines.images.attention_picture import Explained, draw
from beamscribe.pipelines.runtime.flags.explain import parser
from beamscribe.schemas.feature_example import DTYPE
from beamscribe.schemas.limits import MAX_BYTES
from beamscribe.schemas.printable import printable
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import absolute, read_uri


def run(argv: Sequence[str]) -> int:
    """Captions one photograph and draws where the captioner looked.

    Returns:
        0.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    if importlib.util.find_spec("matplotlib") is None:
        raise RefusedError("matplotlib is not installed: pip install matplotlib")
    if not args.output.endswith(".png"):
        raise RefusedError(f"--output {args.output} is not called NAME.png")
    options = args.storage_options
    if absolute(args.output, options) == absolute(args.image, options):
        raise RefusedError(f"--output {args.output} is the photograph itself: name another file")
    try:
        bundle = open_bundle(args.model or default_bundle(), args.storage_options)
        data = read_uri(args.image, options, max_bytes=MAX_BYTES)
        explained = explain(bundle, data, args.caption, args.cell)
    except (BundleError, NoBundleError, WeightsError) as error:
        raise RefusedError(f"--model: {error}") from error
    except OSError as error:
        raise RefusedError(f"{args.image} cannot be read: {error}") from error
    except ImageError as error:
        raise RefusedError(f"{args.image}: {error}") from error
    folder, name = os.path.split(args.output)
    try:
        Storage(folder or ".", args.storage_options).write(name, draw(explained))
    except OSError as error:
        raise RefusedError(f"--output {args.output} cannot be written: {error}") from error
    print(printable(f"beamscribe explain: {explained.caption} → {args.output}"))
    return DONE


def explain(bundle: Bundle, data: bytes, caption: str | None, place: tuple[int, int] | None) -> Explained:
    """Looks at one photograph.

    Args:
        bundle: what looks.
        data: the image file.
        caption: to be explained; None for the bundle's own.
        place: (row, column) of the encoder's grid; None for the middle.

    Raises:
        ImageError: if the photograph does not decode.
        RefusedError: if there is no such cell.
        BundleError, WeightsError: if the bundle cannot be loaded.
    """
    rows, columns, _ = bundle.backbone.grid
    row, column = place or (rows // 2, columns // 2)
    if not (0 <= row < rows and 0 <= column < columns):
        raise RefusedError(
            f"--cell {row},{column} is outside the grid: it has the cells 0,0 to {rows - 1},{columns - 1}"
        )
    image = decode_image(data, bundle.backbone.input_size, bundle.backbone.resample)
    # TensorFlow, only now that there is something to look at.
    from beamscribe.model.attention_maps import AttentionMaps, NoAttentionError
    from beamscribe.model.backbone.network import Backbone
    from beamscribe.model.captioning import CaptionWriter, DecodingOptions

    features = Backbone(bundle.backbone, bundle.backbone_weights)(image.pixels[None]).astype(DTYPE)
    if caption is None:
        caption = CaptionWriter(bundle, DecodingOptions().fitting(bundle)).caption_features(features)[0][0].caption
    maps = AttentionMaps(bundle)
    looks = True
    try:
        words = maps.of_words(features, [caption])[0]
    except NoAttentionError:
        words, looks = maps.missed(features[0], caption), False
    return Explained(
        pixels=image.pixels,
        aspect=image.width / image.height,
        caption=caption,
        words=words,
        within=maps.within(features[0], caption),
        cell=(row, column),
        grid=maps.grid,
        choices=maps.choices(features[0], caption),
        looks=looks,
    )
