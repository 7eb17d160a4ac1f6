"""Draws docs/images/report.png and report_phone.png: a report as a real browser shows it.

    cign demo && python benchmarks/report_pictures.py demo/report.html

Needs the extra `browser` and a Chromium (`make test-browser` brings both).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, SHOWN, PHONE = (1320, 1190), (1056, 952), (390, 844)
GAP = 20  # px between the screens of a phone
# What the phone's screens begin with: the page, and parts of a run.
PARTS = (None, "Where the errors are", "Does it notice what it was not taught?")


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def desktop(browser: Browser, address: str) -> Image.Image:
    """The beginning of the page, four fifths of its size."""
    page = browser.new_page(viewport=dict(zip(("width", "height"), DESKTOP, strict=True)))
    page.goto(address)
    return picture(page.screenshot()).resize(SHOWN, Image.Resampling.LANCZOS)


def phone(browser: Browser, address: str) -> Image.Image:
    """Three screens side by side, in dark colours."""
    page = browser.new_page(
        viewport=dict(zip(("width", "height"), PHONE, strict=True)), color_scheme="dark"
    )
    page.goto(address)
    screens = []
    for part in PARTS:
        if part is not None:
            heading = page.get_by_role("heading", name=part).first
            heading.evaluate("one => window.scrollTo(0, one.offsetTop - 12)")
        screens.append(picture(page.screenshot()))
    width, height = PHONE
    sheet = Image.new("RGB", (len(screens) * (width + GAP) - GAP, height), "white")
    for place, screen in enumerate(screens):
        sheet.paste(screen, (place * (width + GAP), 0))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("report", type=Path)
    address = parser.parse_args().report.resolve().as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox"],
        )
        for name, draw in (("report", desktop), ("report_phone", phone)):
            made = draw(browser, address).quantize(
                256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
            made.save(IMAGES / f"{name}.png", optimize=True)
            print(IMAGES / f"{name}.png", made.size)
        browser.close()


if __name__ == "__main__":
    main()
