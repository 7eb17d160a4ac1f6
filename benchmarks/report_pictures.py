"""Draws docs/images/report.png and others: reports as a real browser shows them.

    python benchmarks/report_pictures.py report.html one_task.html

The first is of several runs, the second of a run with one task.

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
DESKTOP, SHOWN, PHONE = (1280, 1150), (1056, 949), (390, 844)
GAP = 20  # px between the screens of a phone
# What the phone's screens begin with: the page, and parts of a run.
PARTS = (None, "Errors", "Misclassified clips")


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def desktop(browser: Browser, address: str) -> Image.Image:
    """The beginning of the page, a little smaller than on the screen."""
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
            heading.evaluate("one => one.scrollIntoView()")
        screens.append(picture(page.screenshot()))
    width, height = PHONE
    sheet = Image.new("RGB", (len(screens) * (width + GAP) - GAP, height), "white")
    for place, screen in enumerate(screens):
        sheet.paste(screen, (place * (width + GAP), 0))
    return sheet


def save(image: Image.Image, name: str, frames: bool = False) -> None:
    """Write an image of the docs, in 256 colours; dithered where it shows frames of videos."""
    made = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=6 if frames else 0)
    if frames:  # dithering is done only with the palette of another image
        made = image.quantize(palette=made, dither=Image.Dither.FLOYDSTEINBERG)
    made.save(IMAGES / f"{name}.png", optimize=True)
    print(IMAGES / f"{name}.png", made.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("one_task", type=Path)
    options = parser.parse_args()
    report, one_task = (path.resolve().as_uri() for path in (options.report, options.one_task))
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox"],
        )
        save(desktop(browser, report), "report")
        save(phone(browser, report), "report_phone", frames=True)
        save(desktop(browser, one_task), "report_one_task")
        browser.close()


if __name__ == "__main__":
    main()
