"""A report of made photographs, with everything that a card can show and everything that can be missing."""

import base64
import functools
import hashlib
import io

import numpy as np
from PIL import Image

from beamscribe.pipelines.outputs.job_status import Status
from beamscribe.pipelines.outputs.report.attention import LookedAt
from beamscribe.pipelines.outputs.report.failed import reasons
from beamscribe.pipelines.outputs.report.gallery import BEST, REPAIRED, SAMPLED, WORST, Choice
from beamscribe.pipelines.outputs.report.page import Card, Report
from beamscribe.pipelines.outputs.report.pictures import thumbnail
from beamscribe.pipelines.outputs.report.references import Evaluated, ImageScores
from beamscribe.pipelines.outputs.report.sound import Sound, small_copy
from beamscribe.pipelines.outputs.report.survey import Survey
from beamscribe.pipelines.speech.engine import Waveform
from beamscribe.schemas.caption_row import Alternative, CaptionRow
from beamscribe.schemas.evaluation import Score
from beamscribe.schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START

EVIL = "<script>document.title='broken in'</script>"


def photograph(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG file full of detail, which takes as much room as a photograph can."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def row(name: str, data: bytes = b"", caption: str = "A dog runs.", score: float = -0.5, repairs: tuple = ()):
    """The row of a made photograph."""
    width, height = Image.open(io.BytesIO(data)).size if data else (640, 480)
    return CaptionRow(
        image_uri=f"file:///photos/{name}",
        id=name,
        sha256=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        caption=caption,
        flags=(),
        score=score,
        alternatives=(Alternative(caption, score), Alternative(f"Not {caption}", score - 1)),
        repairs=repairs,
        fingerprint="f",
        run_started=START,
    )


@functools.cache
def beep() -> Sound:
    """Three seconds of sound, as long as a caption."""
    return Sound(small_copy(Waveform((8000 * np.sin(np.arange(66_150) / 9)).astype(np.int16), 22_050)), 3.0)


def looked_at(*words: str) -> LookedAt:
    """The first word looks at the left upper corner of nine, the second at the next cell, and so on."""
    maps = np.zeros((len(words), 9), np.uint8)
    maps[range(len(words)), range(len(words))] = 255
    return LookedAt(words, 3, 3, base64.b64encode(maps.tobytes()).decode())


def made_report(cards: int = 4, photograph_bytes: int = 45_000) -> Report:
    """Cards as the command makes them; the second has no photograph, the third no attention, the last a wild name."""
    survey, made = Survey(), []
    for number in range(cards):
        data = photograph(640, 480 if number % 2 else 800, number)
        name = EVIL if number == cards - 1 else f"{number:03}.jpg"
        item = row(name, data, f"A dog runs to {number}.", -0.1 * number - 0.2, ("grey-to-rgb",) if number == 2 else ())
        survey.count([{**item._asdict(), "flags": [], "repairs": list(item.repairs)}])
        groups = (SAMPLED, *((BEST,) if number == 0 else ()), *((REPAIRED,) if number == 2 else ()))
        missing = "The photograph cannot be read (FileNotFoundError); --images-root says where."
        made.append(
            Card(
                Choice(item, (*groups, WORST) if number == cards - 1 else groups),
                item.image_uri.split("/", 4)[-1],
                missing if number == 1 else thumbnail(item, data, photograph_bytes),
                None if number == 2 else looked_at("A", "dog", "runs", "to", f"{number}."),
                beep(),
                ImageScores(("A dog runs.", EVIL), {"CIDEr": 1.5}) if number == 0 else None,
            )
        )
    failed = [
        FailureRow(f"file:///photos/{name}", name, "decode", kind, EVIL, 1, START)
        for name, kind in (("b", "Truncated"), ("a", "Truncated"), ("c", "EmptyFile"))
    ]
    return Report(
        output="file:///captions",
        status=Status("caption", cards + 3, cards, failed, 0, 0, {}, None, cards, 12.5),
        survey=survey,
        reasons=reasons(failed),
        cards=tuple(made),
        evaluated=Evaluated(cards, 0.95, {"CIDEr": Score(0.5, 0.4, 0.6)}, {}),
        notes=("Where the captioner looked cannot be shown for some.",),
        settings={"beam_size": "3"},
        model="bundle",
        run_started=START.isoformat(),
        version="0",
    )
