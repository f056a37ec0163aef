"""Renders a report as one HTML file that needs nothing but itself."""

import base64
import hashlib
import importlib.resources
from typing import NamedTuple

import jinja2
import markupsafe

from beamscribe.pipelines.outputs.report.attention import LookedAt
from beamscribe.pipelines.outputs.report.charts import histogram, signed
from beamscribe.pipelines.outputs.report.gallery import GROUPS, Choice
from beamscribe.pipelines.outputs.report.pictures import Picture
from beamscribe.pipelines.outputs.report.references import Evaluated, ImageScores
from beamscribe.pipelines.outputs.report.survey import Survey
from beamscribe.pipelines.outputs.status import Status
from beamscribe.schemas.failure_row import FailureRow


class Card(NamedTuple):
    """An image of the gallery.

    Attributes:
        choice: its row, and why it is shown.
        name: the end of its URI.
        picture: a small copy, or why there is none.
        looked_at: the words with their maps, if there are any.
        sound: the spoken caption as a data URI, if there is one.
        people: what people wrote, if they did.
    """

    choice: Choice
    name: str
    picture: Picture | str
    looked_at: LookedAt | None
    sound: str | None
    people: ImageScores | None


class Reason(NamedTuple):
    """Failures of one kind, and one of them."""

    stage: str
    error_type: str
    images: int
    example: FailureRow


class Report(NamedTuple):
    """Everything that the page says.

    Attributes:
        output: URI of the captions.
        status: of the job.
        survey: of its rows.
        reasons: of its failures, the most frequent first.
        cards: of the gallery.
        evaluated: what beamscribe evaluate found, if it was asked.
        notes: what could not be shown, and why.
        settings: what can change a row, name → value.
        model: path or URI of the bundle.
        run_started: of the latest run, ISO 8601.
        version: of Beamscribe.
    """

    output: str
    status: Status
    survey: Survey
    reasons: tuple[Reason, ...]
    cards: tuple[Card, ...]
    evaluated: Evaluated | None
    notes: tuple[str, ...]
    settings: dict[str, str]
    model: str
    run_started: str
    version: str


def reasons(failures: list[FailureRow]) -> tuple[Reason, ...]:
    """Failures by stage and type, the most frequent first."""
    kinds: dict[tuple[str, str], list[FailureRow]] = {}
    for row in sorted(failures, key=lambda row: row.id):
        kinds.setdefault((row.stage, row.error_type), []).append(row)
    found = [Reason(*kind, len(rows), rows[0]) for kind, rows in kinds.items()]
    return tuple(sorted(found, key=lambda reason: (-reason.images, reason.stage, reason.error_type)))


def render(report: Report) -> str:
    """The page. Everything that comes from files is escaped, and the browser runs no script but the page's own."""
    files = importlib.resources.files(__package__)
    script = files.joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["signed"] = signed
    environment.filters["number"] = lambda number: f"{number:,}"
    return environment.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        report=report,
        groups=GROUPS,
        counts={group: sum(group in card.choice.groups for card in report.cards) for group in GROUPS},
        scores=histogram(report.survey.score_bars(), whole_numbers=False),
        confidences=histogram(report.survey.confidence_bars(), whole_numbers=False)
        if report.survey.mean_confidence is not None
        else None,
        lengths=histogram(report.survey.length_bars(), whole_numbers=True),
        style=markupsafe.Markup(files.joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        script=markupsafe.Markup(script),  # noqa: S704 - ours
        script_digest=digest,
    )
