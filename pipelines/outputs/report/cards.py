"""Brings together what the gallery's cards show; what is missing is said in its place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from beamscribe.model.backbone.spec import WeightsError
from beamscribe.model.bundle import Bundle, BundleError, open_bundle
from beamscribe.pipelines.outputs.report.attention import LookedAt, open_attention
from beamscribe.pipelines.outputs.report.gallery import Choice
from beamscribe.pipelines.outputs.report.page import Card
from beamscribe.pipelines.outputs.report.pictures import (
    MissingPictureError,
    Picture,
    PictureReading,
    decode_for,
    read_photograph,
    thumbnail,
)
from beamscribe.pipelines.outputs.report.references import Evaluated
from beamscribe.pipelines.outputs.report.sound import SpokenAt, sounds
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.storage import Storage

PAGE_BYTES = 5_000_000
"""What a page may weigh: it is opened on phones and sent by mail."""

SHARE_OF_PHOTOGRAPHS = 0.5
PHOTOGRAPH_BYTES, LEAST_BYTES = 45_000, 9_000
"""A photograph takes its part of the page's share, never more than the first and never less than the second, as much as
one of two hundred has: a page of more photographs is larger, since they are there to be seen."""


class Sources(NamedTuple):
    """Where cards come from.

    Attributes:
        reading: how to find photographs.
        model: path or URI of the bundle that wrote the captions.
        fingerprint: of the captions.
        speech: output of beamscribe speak, if there is one.
        spoken: image id and caption → where its audio is there.
        references: image id → what the job read, of images in files of many.
        evaluated: what beamscribe evaluate found, if it was asked.
        model_of_manifest: whether `model` is what the captions' manifest says.
        other_captioner: whether something else than a bundle wrote them, which looks at no places.
    """

    reading: PictureReading
    model: str
    fingerprint: Fingerprint
    speech: Storage | None
    spoken: dict[tuple[str, str], SpokenAt]
    references: dict[str, WorkItem]
    evaluated: Evaluated | None
    model_of_manifest: bool = True
    other_captioner: bool = False


def make_cards(choices: Sequence[Choice], sources: Sources) -> tuple[list[Card], list[str]]:
    """The cards, and what could not be shown on any of them and why."""
    notes: list[str] = []
    bundle = _bundle(sources, notes)
    room, limit = photograph_bytes(len(choices)), sources.reading.max_pixels
    pictures: list[Picture | str] = []
    pixels: dict[str, np.ndarray] = {}
    for choice in choices:
        try:
            data = read_photograph(choice.row, sources.reading, sources.references.get(choice.row.id))
            pictures.append(thumbnail(choice.row, data, room, limit))
            if bundle:
                spec = bundle.backbone
                pixels[choice.row.id] = np.asarray(decode_for(choice.row, data, spec.input_size, spec.resample, limit))
        except MissingPictureError as error:
            pictures.append(str(error))
    keys = {choice.row.id: (choice.row.id, choice.row.caption) for choice in choices}
    places = {id: sources.spoken[key] for id, key in keys.items() if key in sources.spoken}
    audio = sounds(sources.speech, places.values()) if sources.speech else {}
    looked = _looked_at(bundle, choices, pixels, notes) if bundle and pixels else {}
    cards = [
        Card(
            choice,
            choice.row.image_uri.rstrip("/").rsplit("/", 1)[-1],
            picture,
            looked.get(choice.row.id),
            audio.get(places[choice.row.id]) if choice.row.id in places else None,
            sources.evaluated.by_uri.get(choice.row.image_uri) if sources.evaluated else None,
        )
        for choice, picture in zip(choices, pictures, strict=True)
    ]
    return cards, notes


def photograph_bytes(photographs: int) -> int:
    """What each of so many photographs may take; base64 makes four bytes of three."""
    return min(PHOTOGRAPH_BYTES, max(LEAST_BYTES, int(PAGE_BYTES * SHARE_OF_PHOTOGRAPHS * 3 / 4 / max(1, photographs))))


def _bundle(sources: Sources, notes: list[str]) -> Bundle | None:
    """The bundle that wrote the captions, if it is there."""
    if sources.other_captioner:
        return None
    if not sources.model:
        notes.append("Where the captioner looked is not shown: the captions name no bundle. --model says where it is.")
        return None
    try:
        bundle = open_bundle(sources.model, sources.reading.storage_options, sources.model_of_manifest)
    except BundleError as error:
        notes.append(f"Where the captioner looked cannot be shown: {error}. --model says where the bundle is now.")
        return None
    if bundle.weights_digest != sources.fingerprint.fields.get("captioner_weights"):
        notes.append(
            f"Where the captioner looked is not shown: the bundle at {sources.model} is another than the one that "
            "wrote these captions. --model says where that one is."
        )
        return None
    return bundle


def _looked_at(
    bundle: Bundle, choices: Sequence[Choice], pixels: dict[str, np.ndarray], notes: list[str]
) -> dict[str, LookedAt]:
    """Image id → what was looked at, for each image with pixels."""
    from beamscribe.model.attention_maps import NoAttentionError  # TensorFlow, only where there is something to show.

    captions = {choice.row.id: choice.row.caption for choice in choices if choice.row.id in pixels}
    try:
        look = open_attention(bundle)
        found = look([pixels[id] for id in captions], list(captions.values()))
    except (NoAttentionError, BundleError, WeightsError) as error:
        notes.append(f"Where the captioner looked cannot be shown: {error}.")
        return {}
    return dict(zip(captions, found, strict=True))
