"""Which captioner the flags of `beamscribe caption` name, and what is to be known of it before a launch."""

import argparse
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.choice import INT8, Choice
from beamscribe.model.bundle import Bundle, BundleError, open_bundle
from beamscribe.model.captioner_interface import load_captioner_class
from beamscribe.model.images import PILLOW_VERSION, POLICY_VERSION
from beamscribe.model.pretrained import NoBundleError, default_bundle
from beamscribe.pipelines.captioners.bundle import BundleSource, bundle_fields
from beamscribe.pipelines.captioners.source import ClassSource
from beamscribe.pipelines.runtime.choosing import choose_for
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner, image_fields
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.features import list_features
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage


def chosen_captioner(args: argparse.Namespace, output: Storage | None) -> ChosenCaptioner:
    """The captioner that the flags name.

    Args:
        args: the flags as parsed.
        output: of the job; None if it must not be looked at.

    Raises:
        RefusedError: if it cannot be had, or flags do not go together.
    """
    refuse_mixtures(args)
    if args.captioner:
        return _of_class(args)
    if args.endpoint:
        # The client library is loaded only where there is an endpoint.
        from beamscribe.pipelines.runtime.endpoint_choice import chosen_endpoint

        return chosen_endpoint(args)
    if args.model and args.model.startswith(KERAS_HUB):
        from beamscribe.pipelines.runtime.keras_hub_choice import chosen_keras_hub

        return chosen_keras_hub(args)
    return _of_bundle(args, output)


KERAS_HUB = "keras-hub:"

ENDPOINT_ONLY = (
    "api_key_variable",
    "max_side",
    "system",
    "temperature",
    "samples",
    "json_schema",
    "requests_per_minute",
    "concurrency",
    "price_in",
    "price_out",
    "max_cost",
    "canaries",
    "request_timeout",
    "language",
)
"""Flags that only an endpoint takes notice of; all are None by default."""
PROMPTED = ("prompt", "max_tokens")
"""Flags that an endpoint and KerasHub take notice of."""


def refuse_mixtures(args: argparse.Namespace) -> None:
    """Flags of one captioner beside another.

    Raises:
        RefusedError: naming the first.
    """
    hub = bool(args.model and args.model.startswith(KERAS_HUB))
    if args.captioner and (args.endpoint or args.model):
        raise RefusedError("--captioner is a captioner of its own: leave --endpoint and --model out")
    if args.endpoint and not args.model:
        raise RefusedError("--endpoint: --model NAME says which of its models is to be asked")
    if args.features and (args.endpoint or args.captioner or hub):
        raise RefusedError("--features are for a bundle: other captioners need --images or --manifest")
    idle = [] if args.endpoint else [*ENDPOINT_ONLY, *([] if hub else PROMPTED)]
    for name in idle:
        if getattr(args, name) is not None:
            flag = "--" + name.replace("_", "-")
            where = "an endpoint or a keras-hub: model" if name in PROMPTED else "a captioner behind --endpoint"
            raise RefusedError(f"{flag} is for {where}: leave it out")


def _of_class(args: argparse.Namespace) -> ChosenCaptioner:
    captioner = load_captioner_class(args.captioner)
    fields = {**image_fields(captioner), **captioner.fingerprint_fields}
    return ChosenCaptioner(
        ClassSource(args.captioner, captioner.batch_size), Fingerprint(fields), {"captioner": args.captioner}
    )


def _of_bundle(args: argparse.Namespace, output: Storage | None) -> ChosenCaptioner:
    options = args.storage_options
    path = args.model
    if output is None and path is not None and "://" in path:
        return ChosenCaptioner(_source(args, path, Choice()), Fingerprint({}), {})
    path, bundle = checked_bundle(path, args.max_length, options)
    if output is None:
        return ChosenCaptioner(_source(args, path, Choice()), Fingerprint({}), {})
    choice = choose_for(
        output, args.engine, args.precision, bundle.is_quantized, lambda choice: _fingerprint(args, bundle, choice)
    )

    def features(outputs: list[str], limit: int | None) -> Corpus:
        return list_features(outputs, bundle.backbone.name, bundle.backbone_weights.digest, options, limit)

    return ChosenCaptioner(
        _source(args, path, choice),
        _fingerprint(args, bundle, choice),
        {"bundle": path, "backbone": bundle.backbone.name, **choice._asdict()},
        lambda: _try_bundle(bundle, choice, with_backbone=not args.features),
        features,
    )


def _source(args: argparse.Namespace, path: str, choice: Choice) -> BundleSource:
    return BundleSource(
        path,
        args.beam_size,
        args.max_length,
        args.batch_size,
        choice,
        from_pixels=not args.features,
        storage_options=args.storage_options,
    )


def _fingerprint(args: argparse.Namespace, bundle: Bundle, choice: Choice) -> Fingerprint:
    # Features were decoded by whichever Pillow made them.
    pillow = {} if args.features else {"pillow": PILLOW_VERSION}
    fields = bundle_fields(bundle, args.beam_size, args.max_length, choice)
    return Fingerprint({"decode_policy": POLICY_VERSION, **pillow, **fields})


def checked_bundle(path: str | None, max_length: int, storage_options: dict[str, Any]) -> tuple[str, Bundle]:
    """Where the bundle is, and the bundle, whole.

    Raises:
        RefusedError: if it is none, is damaged, or cannot write captions so long.
    """
    try:
        path = path or default_bundle()
        bundle = open_bundle(path, storage_options)
        bundle.check()
        sizes, longest = bundle.captioner["config"], bundle.longest_caption
        if tuple(sizes["grid"]) != bundle.backbone.grid:
            raise BundleError(f"{path} takes features of {sizes['grid']}, its backbone gives {bundle.backbone.grid}")
    except (BundleError, NoBundleError) as error:
        raise RefusedError(f"--model: {error}") from error
    if bundle.notice:
        print(f"beamscribe caption: {bundle.notice}")
    if max_length > longest:
        raise RefusedError(f"--max-length {max_length} is more than the {longest} tokens that {path} can write")
    return (path.rstrip("/") if "://" in path else bundle.path), bundle


def _try_bundle(bundle: Bundle, choice: Choice, with_backbone: bool) -> None:
    """Loads the models once here, so that weights that do not fit are refused before anything is launched."""
    from beamscribe.model.backbone.network import build_backbone
    from beamscribe.model.backbone.spec import WeightsError
    from beamscribe.model.captioning import load_captioner

    try:
        load_captioner(bundle)
        if with_backbone and choice.precision != INT8:
            build_backbone(bundle.backbone, bundle.backbone_weights)
    except (BundleError, WeightsError) as error:
        raise RefusedError(f"--model: {error}") from error
