"""Make docs/images/app.png and others: screenshots of the web app in a real browser.

    cign app RUN --teach --out COPY --port 7860 &
    python benchmarks/app_pictures.py http://127.0.0.1:7860 CLIP UNKNOWN NAME CLIPS...

CLIP shows a known class, UNKNOWN an unknown one; CLIPS are used to teach the class NAME.
Requires the extra `browser` and Chromium (`make test-browser` installs both).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from report_pictures import BROWSERS, GAP, PHONE, picture, save

DESKTOP = (1280, 900)


def opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_selector("#ask-file input[type=file]", state="attached")
    return page


def asked(page: Page, clip: Path) -> Image.Image:
    """The whole page with the prediction of a clip."""
    page.locator("#ask-file input[type=file]").first.set_input_files(str(clip))
    page.wait_for_selector("#answer .cign-answer")
    page.locator("#save").wait_for()
    page.wait_for_timeout(2000)  # the video's first frame
    return picture(page.screenshot(full_page=True))


def taught(page: Page, name: str, clips: list[Path]) -> Image.Image:
    """The page after a class has been taught."""
    page.get_by_role("tab", name="Teach", exact=True).click()
    page.locator("#class-name textarea, #class-name input").fill(name)
    page.locator("#teach-files input[type=file]").first.set_input_files([str(c) for c in clips])
    page.wait_for_function(
        "n => document.querySelectorAll('#teach-files tr.file').length == n", arg=len(clips)
    )
    page.click("#teach")
    page.wait_for_selector("#told .cign-taught")
    page.wait_for_timeout(500)
    return picture(page.screenshot())


def beside(images: list[Image.Image], height: int) -> Image.Image:
    """The tops of screenshots side by side."""
    width = sum(one.width for one in images) + GAP * (len(images) - 1)
    sheet = Image.new("RGB", (width, height), (213, 218, 224))
    left = 0
    for one in images:
        part = Image.new("RGB", (one.width, height), "white")
        part.paste(one, (0, 0))
        sheet.paste(part, (left, 0))
        left += one.width + GAP
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address")
    parser.add_argument("clip", type=Path)
    parser.add_argument("unknown", type=Path)
    parser.add_argument("name")
    parser.add_argument("clips", type=Path, nargs="+")
    options = parser.parse_args()
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox"],
        )
        save(asked(opened(browser, options.address, DESKTOP), options.clip), "app", frames=True)
        small = asked(opened(browser, options.address, PHONE), options.unknown)
        half = small.height // 2 + 30
        ends = ((0, half), (half, small.height))
        halves = [small.crop((0, top, small.width, bottom)) for top, bottom in ends]
        save(beside(halves, half), "app_phone", frames=True)
        page = opened(browser, options.address, (1180, 680))
        save(taught(page, options.name, options.clips), "app_teach")
        browser.close()


if __name__ == "__main__":
    main()
