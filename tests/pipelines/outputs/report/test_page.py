"""The page as text and in a browser: whole, calm, and safe from what files are called."""

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from beamscribe.pipelines.outputs.report.cards import PAGE_BYTES, photograph_bytes
from beamscribe.pipelines.outputs.report.failed import failed_cards, reasons
from beamscribe.pipelines.outputs.report.page import render
from beamscribe.pipelines.outputs.report.survey import Survey
from beamscribe.schemas.failure_row import FailureRow
from tests.pipelines.fake_job import START
from tests.pipelines.outputs.report.made_report import EVIL, looked_at, made_report

Browser = Any
WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page with all that can be on it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(made_report()), encoding="utf-8")
    return path.as_uri()


def open_page(browser: Browser, page: str, width: int = 1280, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    preference = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preference})
    browser.get(page)


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        code = {"Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "End": 35}[key]
        event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", event)


def test_failures_by_reason() -> None:
    found = reasons(made_report().status.failures)
    assert [(reason.error_type, reason.images, reason.example.id) for reason in found] == [
        ("Truncated", 2, "a"),
        ("EmptyFile", 1, "c"),
    ]


def test_what_files_are_called_stays_text() -> None:
    text = render(made_report())
    assert EVIL not in text
    assert "&lt;script&gt;" in text
    assert text.count("<script>") == 1


EMPTY = [
    # asked, done, failed, to do, least confidence, whether a run is at work; the headline, why there is nothing
    (
        0,
        0,
        0,
        0,
        0.0,
        None,
        "No captions yet",
        "The corpus of the latest run is empty, so there is nothing to caption.",
    ),
    (9, 0, 0, 9, 0.0, None, "No captions yet", "9 images to do: beamscribe caption, run again, goes on with them."),
    (9, 0, 0, 9, 0.0, "pid 7", "No captions yet", "No caption is committed yet. 9 images to do: a run is at work."),
    (3, 0, 3, 0, 0.0, None, "No image could be captioned", "There is no caption: all 3 images failed."),
    (4, 4, 0, 0, 0.9, None, "4 photographs in words", "No caption has a confidence of 0.9 or more"),
]


@pytest.mark.parametrize(("asked", "done", "failed", "todo", "least", "writer", "headline", "why"), EMPTY)
def test_a_page_without_any_caption_says_why(
    asked: int, done: int, failed: int, todo: int, least: float, writer: str | None, headline: str, why: str
) -> None:
    made = made_report(0)
    failures = made.status.failures[:failed]
    status = made.status._replace(
        asked=asked, done=done, failures=failures, todo=todo, writer=writer, a_second=None, this_run=0
    )
    text = render(made._replace(status=status, reasons=reasons(failures), evaluated=None, notes=(), least=least))
    assert f"<h1>{headline}</h1>" in text
    assert text.count(why) == 2
    assert "There are no captions to compare." in text
    # Nothing is said of what is not there.
    assert not [part for part in ("Point at a word", "small copies", "caption of its own", "<figure") if part in text]
    assert ("No image has failed" in text) == (not failed)
    assert text.count('<li class="card failed"') == failed


def test_what_a_captioner_does_not_give_is_not_shown() -> None:
    made = made_report(4)
    survey = Survey()
    survey.count([{"caption": f"A dog {n}.", "flags": [], "repairs": [], "score": None} for n in range(4)])
    cards = [
        card._replace(choice=card.choice._replace(row=card.choice.row._replace(score=None))) for card in made.cards
    ]
    text = render(made._replace(survey=survey, cards=tuple(cards)))
    assert "The captioner gives no scores." in text
    assert "mean score" not in text
    assert 'id="order"' not in text
    assert "data-sure" not in text


def test_every_kind_of_failure_has_a_card_before_one_has_many() -> None:
    frequent = [FailureRow(f"f{n}", f"{n:05}", "read", "Timeout", "m" * 5000, 1, START) for n in range(5000)]
    rare = [FailureRow("r", "9", "decode", "Truncated", "cut off", 1, START)]
    shown = failed_cards([*frequent, *rare])
    assert len(shown) == 200
    assert [card.row.error_type for card in shown].count("Truncated") == 1
    assert len(shown[0].row.message) == 1000


@pytest.mark.slow
def test_nothing_is_loaded_and_nothing_complains(browser: Browser, page: str) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    open_page(browser, page)
    # Whatever the browser fetches beside the page and what the page itself holds.
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert browser.get_log("browser") == []
    assert browser.title == "4 captions · Beamscribe"


def test_images_have_size_and_captions_as_their_text(browser: Browser, page: str) -> None:
    open_page(browser, page)
    images = browser.execute_script(
        "return [...document.images].map((one) => [one.complete, one.naturalWidth, one.width, one.alt])"
    )
    assert len(images) == 3
    for complete, natural_width, width, text in images:
        assert complete
        assert natural_width > 100
        assert width > 100
        assert text.startswith("A dog runs to ")


def test_words_light_the_photograph_with_the_keyboard_alone(browser: Browser, page: str) -> None:
    open_page(browser, page)
    browser.execute_script("document.querySelector('#filters button').focus()")
    press(browser, "Tab")
    first = "const card = document.querySelector('.card');"
    lit = first + (
        "const canvas = card.querySelector('canvas'), context = canvas.getContext('2d');"
        "const at = (x, y) => context.getImageData(canvas.width * x, canvas.height * y, 1, 1).data[3];"
        "return [document.activeElement.textContent, card.querySelector('.seen')?.textContent,"
        " canvas.classList.contains('shown'), at(1 / 6, 1 / 6), at(3 / 6, 1 / 6), at(5 / 6, 5 / 6)]"
    )
    word, seen, shown, corner, beside, far = browser.execute_script(lit)
    assert (word, seen, shown) == ("A", "A", True)
    assert corner < 50 < beside
    assert far > 180
    press(browser, "ArrowRight")
    word, seen, shown, corner, beside, far = browser.execute_script(lit)
    assert (word, seen, shown) == ("dog", "dog", True)
    assert beside < 50 < corner
    press(browser, "End")
    assert browser.execute_script(lit)[0] == "0."
    press(browser, "ArrowRight")
    assert browser.execute_script(lit)[0] == "0."
    press(browser, "Tab")
    time.sleep(0.1)
    assert browser.execute_script(first + "return [...card.querySelectorAll('.seen, .shown')].length") == 0
    # All words of a card are one stop of the Tab key.
    assert browser.execute_script(first + "return card.querySelectorAll('.word[tabindex=\"0\"]').length") == 1


def test_the_pointer_lights_it_too(browser: Browser, page: str) -> None:
    open_page(browser, page)
    word = "const word = document.querySelectorAll('.word')[1];"
    browser.execute_script(word + "word.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))")
    assert browser.execute_script("return document.querySelector('.seen').textContent") == "dog"


SHOWN = (
    "return [...document.querySelectorAll('.card')].filter((one) => one.checkVisibility()).map((one) => one.innerText)"
)


def choose(browser: Browser, values: dict[str, str]) -> list[str]:
    """Sets filters as people do; the text of the cards that are left, in their order."""
    for name, value in values.items():
        browser.execute_script(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )
    return browser.execute_script(SHOWN)


def test_filters(browser: Browser, page: str) -> None:
    open_page(browser, page)
    told = "return document.querySelector('#shown').textContent"
    assert len(choose(browser, {})) == 7
    assert browser.execute_script(told) == "7 shown"
    (repaired,) = choose(browser, {"show": "repaired"})
    assert "grey-to-rgb" in repaired
    assert browser.execute_script(told) == "1 shown"
    assert len(choose(browser, {"show": "failed"})) == 3
    (empty_file,) = choose(browser, {"show": "reason-1"})
    assert "decode: EmptyFile" in empty_file
    # Words in any order and case, of captions, alternatives, failures and names of files.
    assert len(choose(browser, {"show": "", "search": "RUNS dog"})) == 4
    assert len(choose(browser, {"search": "not a dog runs to 2."})) == 1
    assert len(choose(browser, {"search": "001.jpg"})) == 1
    assert choose(browser, {"search": "no such word"}) == []
    assert browser.execute_script("return document.querySelector('#none').checkVisibility()")
    browser.execute_script("document.querySelector('#none button').click()")
    time.sleep(0.1)
    assert len(choose(browser, {})) == 7
    # Scores are −0.2, −0.3, −0.4 and −0.5; what failed has none.
    assert numbers(choose(browser, {"least": "-0.4", "most": "-0.3"})) == ["1", "2"]
    assert numbers(choose(browser, {"least": "", "most": "", "order": "unsure"})) == ["3", "2", "1", "0", "", "", ""]


def numbers(texts: list[str]) -> list[str]:
    """Of made captions; failures have none."""
    return [found[1] if (found := re.search(r"A dog runs to (\d)", text)) else "" for text in texts]


def many_cards(number: int) -> str:
    """A page of so many cards, made of four."""
    made = made_report(4, 9_000)
    cards = [
        made.cards[n % 3]._replace(
            name=f"{n}.jpg",
            choice=made.cards[n % 3].choice._replace(row=made.cards[n % 3].choice.row._replace(caption=f"Dog {n}.")),
        )
        for n in range(number)
    ]
    return render(made._replace(cards=tuple(cards)))


@pytest.mark.slow
def test_a_thousand_photographs_stay_usable(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(many_cards(1000), encoding="utf-8")
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    open_page(browser, path.as_uri())
    # Processor time of the page's thread, which does not depend on what else the machine does.
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    assert {one["name"]: one["value"] for one in metrics}["TaskDuration"] < 6
    assert len(choose(browser, {})) == 48
    assert browser.execute_script("return document.querySelector('#shown').textContent") == "48 of 1,003 shown"
    # What is below the photographs is a few screens away.
    assert browser.execute_script("return document.querySelector('#numbers').offsetTop") < 20_000
    assert len(choose(browser, {"search": "777.jpg"})) == 1
    choose(browser, {"search": ""})
    browser.execute_script("document.querySelector('#more').click()")
    assert browser.execute_script("return document.querySelector('#shown').textContent") == "96 of 1,003 shown"
    assert browser.execute_script("return document.querySelectorAll('.card:not([hidden])').length") == 96
    # Players are made where they are looked at, and say what the photograph beside them shows.
    assert browser.execute_script("return document.querySelectorAll('audio').length") < 96
    label = browser.execute_async_script(
        "const card = document.querySelectorAll('.card')[70]; card.scrollIntoView({behavior: 'instant'});"
        "const look = () => card.querySelector('audio')?.duration"
        "  ? arguments[0](card.querySelector('audio').ariaLabel) : setTimeout(look, 20); look()"
    )
    assert label == "Spoken: Dog 70."


def test_without_its_script_the_page_shows_everything(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(many_cards(60), encoding="utf-8")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    open_page(browser, path.as_uri())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert len(browser.execute_script(SHOWN)) == 63
    assert browser.execute_script("return document.querySelectorAll('audio[controls]').length") == 60
    assert not browser.execute_script("return document.querySelector('#filters').checkVisibility()")


def test_it_prints_on_few_sheets(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "sixty.html"
    path.write_text(many_cards(60), encoding="utf-8")
    open_page(browser, path.as_uri())
    printed = browser.execute_cdp_cmd(
        "Page.printToPDF", {"preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.7}
    )
    pages = base64.b64decode(printed["data"]).count(b"/Type /Page\n")
    assert 2 <= pages <= 6


def test_long_words_wrap_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    made = made_report(3)
    word = "Donaudampfschifffahrtsgesellschaft" * 5
    rows = [
        card.choice.row._replace(caption=word, repairs=(word,), image_uri=f"file:///{word}.jpg") for card in made.cards
    ]
    cards = [
        card._replace(
            choice=card.choice._replace(row=row), name=f"{word}.jpg", looked_at=looked_at(word, "a") if n == 0 else None
        )
        for n, (card, row) in enumerate(zip(made.cards, rows, strict=True))
    ]
    failed = [row._replace(error_type=word, message=word, image_uri=word) for row in made.status.failures]
    survey = Survey()
    survey.count([{**row._asdict(), "flags": [word], "repairs": []} for row in rows])
    path = tmp_path / "long.html"
    changed = made._replace(cards=tuple(cards), survey=survey, notes=(word,), output=f"file:///{word}", model=word)
    changed = changed._replace(
        status=made.status._replace(failures=failed), reasons=reasons(failed), settings={word: word}
    )
    path.write_text(render(changed), encoding="utf-8")
    open_page(browser, path.as_uri(), 390)
    browser.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    cut = browser.execute_script(
        "return [...document.querySelectorAll('body *:not(.skip, .away, input, select, option)')]"
        ".filter((one) => one.checkVisibility())"
        ".filter((one) => one.getBoundingClientRect().right > 390 || one.scrollWidth > one.clientWidth + 1)"
        ".filter((one) => one.clientWidth && getComputedStyle(one).display !== 'inline')"
        ".map((one) => one.outerHTML.slice(0, 120))"
    )
    assert cut == []


def test_audio_decodes(browser: Browser, page: str) -> None:
    open_page(browser, page)
    seconds = browser.execute_async_script(
        "const audio = document.querySelector('audio'), done = arguments[0];"
        "audio.onloadedmetadata = () => done(audio.duration); audio.onerror = () => done(audio.error.message);"
        "audio.load()"
    )
    assert seconds == pytest.approx(3, abs=0.2)
    lengths = browser.execute_script("return [...document.querySelectorAll('.length')].map((one) => one.innerText)")
    assert len(lengths) == 4
    assert lengths[0].startswith("3.0 s")


def test_a_script_in_a_file_name_does_not_run(browser: Browser, page: str) -> None:
    open_page(browser, page)
    assert browser.title == "4 captions · Beamscribe"
    assert EVIL in browser.execute_script("return document.body.innerText")
    # Nor would it if the page did not escape it.
    browser.execute_script(
        "const one = document.createElement('script'); one.textContent = 'document.title=1'; document.body.append(one)"
    )
    assert browser.title == "4 captions · Beamscribe"
    assert "Content Security Policy" in browser.get_log("browser")[-1]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_it(browser: Browser, axe: str, page: str, width: str, scheme: str) -> None:
    open_page(browser, page, WIDTHS[width], scheme)
    browser.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    browser.execute_script("look(document.querySelectorAll('.word')[1])")
    # The page's own rules let no other script in, so that of axe comes by way of the debugger.
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = browser.execute_async_script("axe.run().then((result) => arguments[0](result.violations))")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_two_hundred_photographs_weigh_no_more_than_5_mb() -> None:
    text = render(made_report(8, photograph_bytes(200)))
    cards = [len(card) for card in re.findall(r'<li class="card".*?</li>\n', text, re.DOTALL)]
    assert len(cards) == 8
    assert len(text) - sum(cards) + 200 * max(cards) <= PAGE_BYTES
