"""`beamscribe report`: captions and their photographs as one page to look at."""

import importlib.metadata
import os
from collections.abc import Sequence

from model.storage import Storage
from pipelines.commits.pending import CORPUS, read_part
from pipelines.corpora.reference import Reference
from pipelines.flags.report import parser
from pipelines.report.caption_output import open_captions
from pipelines.report.cards import Sources, make_cards
from pipelines.report.gallery import Gallery
from pipelines.report.page import Report, reasons, render
from pipelines.report.pictures import PictureReading
from pipelines.report.references import read_scores
from pipelines.report.sound import spoken
from pipelines.report.survey import survey
from pipelines.status import status
from schemas.command import DONE, RefusedError


def run(argv: Sequence[str]) -> int:
    """Writes the page.

    Returns:
        0.

    Raises:
        RefusedError: if there is nothing to report on, or the page cannot be written.
    """
    ours = parser().parse_strictly(argv)
    options = ours.storage_options
    captioned = open_captions(ours.captions, options)
    output, manifest = captioned
    evaluated = read_scores(ours.scores, options) if ours.scores else None
    speech = Storage(ours.speech, options) if ours.speech else None
    voices = spoken(speech) if speech else {}
    gallery = Gallery(ours.gallery)
    try:
        counted = survey(captioned, gallery)
        state = status(output)
        choices = gallery.choices()
        references = members(output, {choice.row.id for choice in choices})
    except (OSError, ValueError) as error:
        raise RefusedError(f"{ours.captions} cannot be read: {error}") from error
    model = ours.model or str(manifest.details.get("bundle", ""))
    reading = PictureReading(ours.images_root, options, ours.allow_http, ours.max_pixels, ours.max_bytes)
    sources = Sources(reading, model, manifest.fingerprint, speech, voices, references, evaluated, not ours.model)
    cards, notes = make_cards(choices, sources)
    report = Report(
        output=output.uri(),
        status=state,
        survey=counted,
        reasons=reasons(state.failures),
        cards=tuple(cards),
        evaluated=evaluated,
        notes=tuple(notes),
        settings={name: str(value) for name, value in manifest.fingerprint.fields.items()},
        model=model,
        run_started=manifest.run_started,
        version=importlib.metadata.version("beamscribe"),
    )
    data = render(report).encode()
    folder, name = os.path.split(ours.output)
    try:
        Storage(folder or ".", options).write(name, data)
    except OSError as error:
        raise RefusedError(f"--output {ours.output} cannot be written: {error}") from error
    print(f"beamscribe report: {len(cards)} photographs of {state.done}, {len(data) / 1e6:.1f} MB → {ours.output}")
    return DONE


def members(output: Storage, ids: set[str]) -> dict[str, Reference]:
    """Of some images those that the latest run read from files of many: image id → what it read."""
    parts = (read_part(output, entry.name) for entry in output.files(CORPUS, ".json"))
    return {one.id: one for part in parts for one in part if one.id in ids and one.member}
