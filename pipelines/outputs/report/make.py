"""Makes the page of an output and writes it: what the command, `beamscribe caption --report` and Python share."""

import importlib.metadata
import os
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.outputs.captions import open_captions
from beamscribe.pipelines.outputs.destination import refuse_own_folders
from beamscribe.pipelines.outputs.job_status import status
from beamscribe.pipelines.outputs.report.cards import Sources, make_cards
from beamscribe.pipelines.outputs.report.failed import reasons
from beamscribe.pipelines.outputs.report.gallery import Gallery
from beamscribe.pipelines.outputs.report.page import Report, render
from beamscribe.pipelines.outputs.report.pictures import PictureReading
from beamscribe.pipelines.outputs.report.references import read_scores
from beamscribe.pipelines.outputs.report.sound import spoken
from beamscribe.pipelines.outputs.report.survey import survey
from beamscribe.pipelines.runtime.flags.report import GALLERY
from beamscribe.pipelines.sources.asked import asked_items
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.counted import counted
from beamscribe.schemas.limits import MAX_BYTES, MAX_PIXELS
from beamscribe.storage.storage import Storage


@dataclass(frozen=True)
class PageSettings:
    """What a page is made of.

    Attributes:
        captions: path or URI of an output of beamscribe caption.
        output: file or URI of the page.
        gallery: photographs shown at most.
        images_root: folder or URI that holds the photographs now, if they were moved.
        model: path or URI of the bundle; by default as the captions' manifest says.
        speech: output of beamscribe speak for these captions, if there is one.
        scores: what beamscribe evaluate wrote of them, if it was asked.
        allow_http: whether photographs may be read from the web.
        max_pixels: that a photograph may declare to be shown.
        max_bytes: that one may have.
        min_confidence: below which captions are left out; those without one stay.
        storage_options: passed to fsspec.
    """

    captions: str
    output: str
    gallery: int = GALLERY
    images_root: str | None = None
    model: str | None = None
    speech: str | None = None
    scores: str | None = None
    allow_http: bool = False
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    min_confidence: float = 0.0
    storage_options: dict[str, Any] = field(default_factory=dict)


class WrittenPage(NamedTuple):
    """A page that was written.

    Attributes:
        uri: as `PageSettings.output` has it.
        photographs: that it shows.
        captions: of the output.
        size: of the page, in bytes.
    """

    uri: str
    photographs: int
    captions: int
    size: int

    def __str__(self) -> str:
        return f"{counted(self.photographs, 'photograph')} of {self.captions:,}, {self.size / 1e6:.1f} MB → {self.uri}"


def write_page(settings: PageSettings) -> WrittenPage:
    """Makes the page and writes it, whole or not at all.

    Raises:
        RefusedError: if there is nothing to report on, or the page cannot be written.
    """
    refuse_own_folders(settings.output, settings.captions)
    options = settings.storage_options
    captioned = open_captions(settings.captions, options)
    output, manifest = captioned.output, captioned.manifest
    evaluated = read_scores(settings.scores, options) if settings.scores else None
    speech = Storage(settings.speech, options) if settings.speech else None
    voices = spoken(speech) if speech else {}
    gallery = Gallery(settings.gallery)
    try:
        surveyed = survey(captioned, gallery, settings.min_confidence)
        state = status(output)
        choices = gallery.choices()
        references = members(output, {choice.row.id for choice in choices})
    except (OSError, ValueError) as error:
        raise RefusedError(f"{settings.captions} cannot be read: {error}") from error
    model = settings.model or str(manifest.details.get("bundle", ""))
    reading = PictureReading(
        settings.images_root, options, settings.allow_http, settings.max_pixels, settings.max_bytes
    )
    other = "" if model else str(manifest.details.get("model", ""))
    sources = Sources(
        reading=reading,
        model=model,
        fingerprint=manifest.fingerprint,
        speech=speech,
        spoken=voices,
        references=references,
        evaluated=evaluated,
        model_of_manifest=not settings.model,
        other_captioner=bool(other),
    )
    cards, notes = make_cards(choices, sources)
    report = Report(
        output=output.uri(),
        status=state,
        survey=surveyed,
        reasons=reasons(state.failures),
        cards=tuple(cards),
        evaluated=evaluated,
        notes=tuple(notes),
        settings={name: str(value) for name, value in manifest.fingerprint.fields.items()},
        model=model or other,
        run_started=manifest.run_started,
        version=importlib.metadata.version("beamscribe"),
        least=settings.min_confidence,
    )
    data = render(report).encode()
    folder, name = os.path.split(settings.output)
    try:
        Storage(folder or ".", options).write(name, data)
    except OSError as error:
        raise RefusedError(f"--output {settings.output} cannot be written: {error}") from error
    return WrittenPage(settings.output, len(cards), state.done, len(data))


def members(output: Storage, ids: set[str]) -> dict[str, WorkItem]:
    """Of some images those that the latest run read from files of many: image id → what it read."""
    return {one.id: one for one in asked_items(output) if one.id in ids and one.member}
