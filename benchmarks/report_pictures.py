"""Make docs/images/report.png and others: screenshots of reports in a real browser.

    python benchmarks/report_pictures.py report.html one_task.html

The first report is about several runs, the second about a run with one task.

Requires the extra `browser` and Chromium (`make test-browser` installs both).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, SHOWN, PHONE = (1280, 1150), (1056, 949), (390, 844)
GAP = 20  # px between the phone screenshots
NO_DITHER = 4  # error of a colour, of 255, up to which it is not dithered: plain areas remain plain
# Where the phone screenshots start: at the top of the page, and at sections of a run.
PARTS = (None, "Errors", "Misclassified clips")


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def desktop(browser: Browser, address: str) -> Image.Image:
    """The top of the page, scaled down a little."""
    page = browser.new_page(viewport=dict(zip(("width", "height"), DESKTOP, strict=True)))
    page.goto(address)
    return picture(page.screenshot()).resize(SHOWN, Image.Resampling.LANCZOS)


def phone(browser: Browser, address: str) -> Image.Image:
    """Three screenshots side by side, in dark colours."""
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


def save(image: Image.Image, name: str, frames: bool = False, colors: int = 256) -> None:
    """Write an image of the docs with few colours, dithered if it shows video frames."""
    made = image.quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=6 if frames else 0)
    if frames:  # dithering requires a palette from another image
        dithered = image.quantize(palette=made, dither=Image.Dither.FLOYDSTEINBERG)
        error = np.abs(np.asarray(image, int) - np.asarray(made.convert("RGB"), int)).max(axis=2)
        made = Image.composite(made, dithered, Image.fromarray(error <= NO_DITHER))
        made.putpalette(dithered.getpalette())
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
