"""Photographs the demo's page for the documents, with Chromium and its driver (`apt-get install chromium-driver`).

    python docs/demo/pictures.py demo-output/of-photographs/report.html

writes docs/pictures/report.jpg: the page on a desktop, and in the dark on a phone.
"""

import argparse
import base64
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver

PICTURE = Path(__file__).resolve().parents[1] / "pictures" / "report.jpg"
HEIGHT, GAP = 900, 24
WIDTH, PHONE = 1280, 390

READY = "Promise.all([...document.images].slice(0, 8).map((image) => image.decode())).then(() => setTimeout(done, 800))"
"""When the photographs that can be in the picture are decoded, and the light has faded in."""


def open_browser() -> webdriver.Chrome:
    """Headless Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        sys.exit("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def photograph(browser: webdriver.Chrome, page: str, width: int, scheme: str, script: str) -> Image.Image:
    """The upper part of the page."""
    metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(page)
    browser.execute_async_script(f"const done = arguments[0]; {script}; {READY}")
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def main() -> None:
    """Puts both side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--card", type=int, default=3, help="photograph that is lit (default: 3)")
    parser.add_argument("--word", type=int, default=3, help="word of its caption (default: 3)")
    parser.add_argument("--output", type=Path, default=PICTURE)
    args = parser.parse_args()
    page = args.page.resolve().as_uri()
    # So that the page shows a caption that is wrong beside those that are right.
    by_name = "order.value = 'name'; order.dispatchEvent(new Event('input', {bubbles: true}))"
    lit = f"look(document.querySelectorAll('.card')[{args.card - 1}].querySelectorAll('.word')[{args.word - 1}])"
    to_card = f"document.querySelectorAll('.card')[{args.card - 1}].scrollIntoView({{behavior: 'instant'}})"
    browser = open_browser()
    try:
        desktop = photograph(browser, page, WIDTH, "light", f"{by_name}; {lit}")
        phone = photograph(browser, page, PHONE, "dark", f"{by_name}; {lit}; {to_card}")
    finally:
        browser.quit()
    whole = Image.new("RGB", (WIDTH + GAP + PHONE, HEIGHT), "white")
    whole.paste(desktop, (0, 0))
    whole.paste(phone, (WIDTH + GAP, 0))
    whole.save(args.output, "JPEG", quality=82, optimize=True)


if __name__ == "__main__":
    main()
