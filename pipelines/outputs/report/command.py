"""`beamscribe report`: captions and their photographs as one page to look at."""

import importlib.metadata
import os
from collections.abc import Sequence

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.commits.pending import CORPUS, read_part
from beamscribe.pipelines.outputs.captions import open_captions
from beamscribe.pipelines.outputs.report.cards import Sources, make_cards
from beamscribe.pipelines.outputs.report.gallery import Gallery
from beamscribe.pipelines.outputs.report.page import Report, reasons, render
from beamscribe.pipelines.outputs.report.pictures import PictureReading
from beamscribe.pipelines.outputs.report.references import read_scores
from beamscribe.pipelines.outputs.report.sound import spoken
from beamscribe.pipelines.outputs.report.survey import survey
from beamscribe.pipelines.outputs.status import status
from beamscribe.pipelines.runtime.flags.report import parser
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.storage.storage import Storage


def run(argv: Sequence[str]) -> int:
    """Writes the page.

    Returns:
        0.

    Raises:
        RefusedError: if there is nothing to report on, or the page cannot be written.
    """
    args = parser().parse_strictly(argv)
    options = args.storage_options
    captioned = open_captions(args.captions, options)
    output, manifest = captioned.output, captioned.manifest
    evaluated = read_scores(args.scores, options) if args.scores else None
    speech = Storage(args.speech, options) if args.speech else None
    voices = spoken(speech) if speech else {}
    gallery = Gallery(args.gallery)
    try:
        counted = survey(captioned, gallery, args.min_confidence)
        state = status(output)
        choices = gallery.choices()
        references = members(output, {choice.row.id for choice in choices})
    except (OSError, ValueError) as error:
        raise RefusedError(f"{args.captions} cannot be read: {error}") from error
    model = args.model or str(manifest.details.get("bundle", ""))
    reading = PictureReading(args.images_root, options, args.allow_http, args.max_pixels, args.max_bytes)
    sources = Sources(reading, model, manifest.fingerprint, speech, voices, references, evaluated, not args.model)
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
    folder, name = os.path.split(args.output)
    try:
        Storage(folder or ".", options).write(name, data)
    except OSError as error:
        raise RefusedError(f"--output {args.output} cannot be written: {error}") from error
    print(f"beamscribe report: {len(cards)} photographs of {state.done}, {len(data) / 1e6:.1f} MB → {args.output}")
    return DONE


def members(output: Storage, ids: set[str]) -> dict[str, WorkItem]:
    """Those of some images that the latest run read from files of many: image id → what it read."""
    parts = (read_part(output, entry.name) for entry in output.files(CORPUS, ".json"))
    return {one.id: one for part in parts for one in part if one.id in ids and one.member}
