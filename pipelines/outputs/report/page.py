"""Renders a report as one HTML file that needs nothing but itself."""

import base64
import hashlib
import importlib.resources
import math
from typing import NamedTuple

import jinja2
import markupsafe

from beamscribe.pipelines.outputs.job_status import Status
from beamscribe.pipelines.outputs.report.attention import LookedAt
from beamscribe.pipelines.outputs.report.charts import histogram, signed
from beamscribe.pipelines.outputs.report.failed import Reason, failed_cards
from beamscribe.pipelines.outputs.report.gallery import BEST, GROUPS, REPAIRED, SAMPLED, WORST, Choice, shortened
from beamscribe.pipelines.outputs.report.pictures import Picture
from beamscribe.pipelines.outputs.report.references import Evaluated, ImageScores
from beamscribe.pipelines.outputs.report.sound import Sound
from beamscribe.pipelines.outputs.report.survey import Survey
from beamscribe.schemas.caption_row import CaptionRow
from beamscribe.schemas.counted import counted

GROUP_NAMES = {SAMPLED: "a random sample", BEST: "best-scored", WORST: "worst-scored", REPAIRED: "repaired images"}
SURENESS_NAMES = {BEST: "surest", WORST: "least sure"}
"""Where the captioner was calibrated."""

PORTION = 48
"""Cards that the page's script shows at first; photographs beyond are decoded when they come into view."""


class Card(NamedTuple):
    """An image of the gallery.

    Attributes:
        choice: its row, and why it is shown.
        name: the end of its URI.
        picture: a small copy, or why there is none.
        looked_at: the words with their maps, if there are any.
        sound: the spoken caption, if there is one.
        people: what people wrote, if they did.
    """

    choice: Choice
    name: str
    picture: Picture | str
    looked_at: LookedAt | None
    sound: Sound | None
    people: ImageScores | None


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
        least: confidence below which captions are left out.
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
    least: float = 0.0


def headline(report: Report) -> str:
    """What the page is about, in a few words."""
    done, failed = report.status.done, len(report.status.failures)
    if done:
        return f"{counted(done, 'photograph')} in words"
    return "No image could be captioned" if failed and not report.status.todo else "No captions yet"


def summary(report: Report) -> str:
    """How far the job is, as a sentence."""
    found = report.status
    if not found.asked:
        return "The corpus of the latest run is empty."
    told = [f"{found.done:,} of {counted(found.asked, 'image')} captioned"]
    told += [f"{len(found.failures):,} failed"] if found.failures else []
    told += [f"{found.todo:,} still to do"] if found.todo else []
    running = " A run is at work." if found.writer else ""
    return f"{', '.join(told)}.{running}"


def why_nothing(report: Report) -> str:
    """Why there is no caption to show."""
    found = report.status
    if found.done:
        return f"No caption has a confidence of {report.least:g} or more, which --min-confidence asks for."
    if not found.asked:
        return "The corpus of the latest run is empty, so there is nothing to caption."
    if not found.todo:
        return f"There is no caption: {'the only image' if found.asked == 1 else f'all {found.asked:,} images'} failed."
    how = "a run is at work" if found.writer else "beamscribe caption, run again, goes on with them"
    return f"No caption is committed yet. {counted(found.todo, 'image')} to do: {how}."


def what_is_chosen(report: Report) -> str:
    """Which of the captions the page shows."""
    shown, of = len(report.cards), report.survey.captions
    kind = "surest" if report.survey.mean_confidence is not None else "best-scored"
    ordered = f" The {kind} first." if shown > 1 and _sureness(report) else ""
    least = f" with a confidence of {report.least:g} or more" if report.least else ""
    if shown >= of:
        return f"{'The caption' if of == 1 else f'All {of:,} captions'}{least}.{ordered}"
    unsure = "least sure" if kind == "surest" else "worst-scored"
    which = f"a random sample, the {kind}, the {unsure}, and some of repaired images"
    return f"{shown:,} of {of:,} captions{least}: {which}; --gallery shows more.{ordered}"


def _sureness(report: Report) -> str | None:
    """What tells how sure a captioner is: its confidence, or where it was not calibrated its score."""
    if report.survey.mean_confidence is not None:
        return "confidence"
    return "score" if report.survey.mean_score is not None else None


def _sure_of(row: CaptionRow, sureness: str | None) -> float | None:
    number = row.confidence if sureness == "confidence" else row.score if sureness == "score" else None
    return number if number is not None and math.isfinite(number) else None


def render(report: Report) -> str:
    """The page. Everything that comes from files is escaped, and the browser runs no script but the page's own."""
    files = importlib.resources.files("beamscribe.pipelines.outputs.report")
    script = files.joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["signed"] = signed
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["shortened"] = shortened
    survey, sureness = report.survey, _sureness(report)
    return environment.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        report=report,
        headline=headline(report),
        summary=summary(report),
        nothing=why_nothing(report),
        chosen=what_is_chosen(report),
        portion=PORTION,
        failed=failed_cards(report.status.failures),
        groups={**GROUP_NAMES, **(SURENESS_NAMES if sureness == "confidence" else {})},
        counts={group: sum(group in card.choice.groups for card in report.cards) for group in GROUPS},
        sureness=sureness if report.cards else None,
        sure_of=lambda row: _sure_of(row, sureness),
        any_looked_at=any(card.looked_at and isinstance(card.picture, Picture) for card in report.cards),
        any_sound=any(card.sound for card in report.cards),
        frequent_left_out=survey.more_frequent_than_shown(),
        scores=histogram(survey.score_bars(), digits=1),
        confidences=histogram(survey.confidence_bars(), digits=2),
        lengths=histogram(survey.length_bars(), digits=0),
        style=markupsafe.Markup(files.joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        script=markupsafe.Markup(script),  # noqa: S704 - ours
        script_digest=digest,
    )
