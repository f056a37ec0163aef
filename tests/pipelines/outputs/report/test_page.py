"""The page as text and in a browser: whole, calm, and safe from what files are called."""

import json
import re
import time
from typing import Any

import pytest

from beamscribe.pipelines.outputs.report.cards import PAGE_BYTES, photograph_bytes
from beamscribe.pipelines.outputs.report.page import reasons, render
from tests.pipelines.outputs.report.made_report import EVIL, made_report

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


def test_a_page_without_any_caption_says_so() -> None:
    empty = made_report(0)
    text = render(empty._replace(status=empty.status._replace(a_second=None), evaluated=None, reasons=(), notes=()))
    assert "There are no captions yet." in text
    assert "There is nothing to show yet." in text


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
    browser.execute_script("document.querySelector('input[name=group]').focus()")
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


def test_groups_can_be_shown_alone(browser: Browser, page: str) -> None:
    open_page(browser, page)
    browser.execute_script("document.querySelector('input[value=repaired]').click()")
    visible = "return [...document.querySelectorAll('.card')].map((card) => card.checkVisibility())"
    assert browser.execute_script(visible) == [False, False, True, False]
    assert browser.execute_script("return document.querySelector('#shown').textContent") == "1 shown"


def test_audio_decodes(browser: Browser, page: str) -> None:
    open_page(browser, page)
    seconds = browser.execute_async_script(
        "const audio = document.querySelector('audio'), done = arguments[0];"
        "audio.onloadedmetadata = () => done(audio.duration); audio.onerror = () => done(audio.error.message);"
        "audio.load()"
    )
    assert seconds == pytest.approx(3, abs=0.2)


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
