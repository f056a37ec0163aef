"""How soon the page of `beamscribe report` is of use: seconds until it is loaded, is searched, and shows all it has.

    python -m benchmarks.page report.html --search dog

Opens the page in headless Chromium as often as `--times` says, types into its search box, letter by letter, and lets
it show every card. The last letter's seconds are those until the cards that match are laid out. docs/performance.md
has what it gave.
"""

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from selenium import webdriver

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}

LONGEST = 300
"""Seconds after which a page is taken to be of no use."""

CARDS = "document.querySelectorAll('.card:not([hidden])').length"

TYPE = (
    "const box = document.querySelector('#search'); box.value += arguments[0];"
    "box.dispatchEvent(new Event('input', {bubbles: true})); document.body.offsetHeight;"
    f"return {CARDS}"
)


class Opened(NamedTuple):
    """What one opening of the page took, in seconds.

    Attributes:
        filters: until the search box is there and works, from the beginning of the load.
        loaded: until the load event.
        worked: of the page's thread on the processor until then, which other work on the machine does not change.
        letter: for the slowest letter typed.
        everything: until all cards are laid out, after the button that asks for them.
        found: cards that match.
        cards: in all.
    """

    filters: float
    loaded: float
    worked: float
    letter: float
    everything: float
    found: int
    cards: int


def browser_of(width: int, height: int) -> webdriver.Chrome:
    """Headless Chromium with a window of so many pixels."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        sys.exit("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    # `get` returns at once: what the page takes until it answers is measured here.
    options.page_load_strategy = "none"
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.set_script_timeout(LONGEST)
    return browser


def until(browser: webdriver.Chrome, condition: str, began: float) -> float:
    """Seconds since `began` at which a condition of JavaScript holds.

    Raises:
        TimeoutError: if it does not in time.
    """
    while not browser.execute_script(f"return Boolean({condition})"):
        if time.monotonic() - began > LONGEST:
            raise TimeoutError(f"not within {LONGEST} s: {condition}")
        time.sleep(0.02)
    return time.monotonic() - began


def timed(browser: webdriver.Chrome, script: str, *values: Any) -> tuple[float, Any]:
    """Seconds of a script, and what it returned."""
    began = time.monotonic()
    result = browser.execute_script(script, *values)
    return time.monotonic() - began, result


def open_once(page: str, search: str, size: str) -> Opened:
    """Opens the page in a browser of its own, which has nothing of it in memory."""
    browser = browser_of(*SIZES[size])
    try:
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        began = time.monotonic()
        browser.get(page)
        filters = until(browser, "document.querySelector('#filters')?.hidden === false", began)
        loaded = until(browser, "document.readyState === 'complete'", began)
        metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        worked = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
        letters = [timed(browser, TYPE, letter) for letter in search]
        browser.execute_script("document.querySelector('#filters').reset()")
        until(browser, "document.querySelector('#search').value === ''", time.monotonic())
        more = "const all = document.querySelector('#all'); if (all.checkVisibility()) all.click();"
        everything, cards = timed(browser, f"{more} document.body.offsetHeight; return {CARDS}")
        return Opened(
            filters, loaded, worked, max(seconds for seconds, _ in letters), everything, letters[-1][1], cards
        )
    finally:
        browser.quit()


def main() -> None:
    """Prints a line for each size of the window."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--search", default="dog", help="what is typed (default: dog)")
    parser.add_argument("--times", type=int, default=3, help="openings, of which the median is told (default: 3)")
    args = parser.parse_args()
    for size in SIZES:
        opened = [open_once(args.page.resolve().as_uri(), args.search, size) for _ in range(args.times)]
        middle = {name: statistics.median(getattr(one, name) for one in opened) for name in Opened._fields[:5]}
        print(
            f"{size}: the search box works after {middle['filters']:.2f} s, the page is loaded after "
            f"{middle['loaded']:.2f} s, {middle['worked']:.2f} s of them on the processor; a letter "
            f"takes {middle['letter']:.2f} s at most "
            f"({opened[0].found:,} of {opened[0].cards:,} cards match {args.search!r}), "
            f"all cards {middle['everything']:.2f} s; {args.page.stat().st_size / 1e6:.1f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
