r"""Make docs/images/app.png and others: screenshots of the web app in a real browser.

    cign app RUN --teach --out COPY --port 7860 &
    python benchmarks/app_pictures.py http://127.0.0.1:7860 CLIP UNKNOWN NAME CLIPS...

CLIP shows a known class, UNKNOWN an unknown one; CLIPS are used to teach the class NAME. With
`--explained IMAGE`, an image of `cign predict --explain`, docs/images/explain.png is made as well.
With `--label ADDRESS`, another app that has clips to label, docs/images/app_label.png is made.
Requires the extra `browser` and Chromium (`make test-browser` installs both).

The images show clips of `real24_clutter` (docs/real.md) whose images and sounds may be
shared with attribution; docs/licences.md has the credits, which change with the clips:

    CLUTTER=$CIGN_REAL/real24_clutter
    grep -E '^path|/(clock|dog|helicopter|rain_umbrella|sea_ship)_(train|val)_' \
        $CLUTTER/clips.csv > work/five.csv
    cign prepare work/five.csv work/five-store --media $CLUTTER
    cign train work/five-store --out work/five
    cign predict work/five $CLUTTER/clips/dog/dog_val_01.mp4 --explain work/explained
    cign app work/five --teach --out work/everyday --port 7860 &
    cign synth work/clips --classes 5 --train 6 --val 1 --test 5 --seconds 1
    cign prepare work/clips work/synth-store --backbone small
    cign train work/synth-store --out work/synth
    cign app work/synth --teach --out work/labelled --clips work/clips/test --port 7861 &
    python benchmarks/app_pictures.py http://127.0.0.1:7860 \
        $CLUTTER/clips/rain_umbrella/rain_umbrella_val_04.mp4 \
        $CLUTTER/clips/rooster/rooster_val_00.mp4 \
        rooster $CLUTTER/clips/rooster/rooster_train_0[0-7].mp4 --label http://127.0.0.1:7861 \
        --explained work/explained/dog_val_01.png
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from report_pictures import BROWSERS, GAP, PHONE, picture, save

DESKTOP = (1280, 900)
SHOWN = 1056  # px, the width of the images of a desktop in the docs
MARGIN = 14  # px above the maps on a phone
FEW = 128  # colours of images with frames, to keep their files small


def opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_selector("#ask-file input[type=file]", state="attached")
    return page


def asked(page: Page, clip: Path) -> tuple[Image.Image, int]:
    """The whole page with the prediction of a clip, and where its maps begin, in pixels."""
    page.locator("#ask-file input[type=file]").first.set_input_files(str(clip))
    page.wait_for_selector("#answer .cign-answer")
    page.locator("#save").wait_for()
    page.wait_for_timeout(2000)  # the video's first frame
    box = page.get_by_role("heading", name="Where", exact=True).bounding_box()
    assert box is not None
    return picture(page.screenshot(full_page=True)), int(box["y"])


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


def labelling(browser: Browser, address: str) -> Image.Image:
    """The Label tab with the first clip."""
    page = opened(browser, address, (1180, 680))
    page.get_by_role("tab", name="Label", exact=True).click()
    page.wait_for_selector("#label-clip .progress")
    page.wait_for_timeout(1000)
    return picture(page.screenshot())


def narrower(image: Image.Image) -> Image.Image:
    """The image at the width of the docs."""
    return image.resize((SHOWN, image.height * SHOWN // image.width), Image.Resampling.LANCZOS)


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
    parser.add_argument("--explained", type=Path)
    parser.add_argument("--label", metavar="ADDRESS")
    options = parser.parse_args()
    if options.explained:
        image = Image.open(options.explained).convert("RGB")
        save(narrower(image), "explain", frames=True, colors=FEW)
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox"],
        )
        asked(opened(browser, options.address, DESKTOP), options.clip)  # the first is slower
        large, _ = asked(opened(browser, options.address, DESKTOP), options.clip)
        save(narrower(large), "app", frames=True, colors=FEW)
        small, where = asked(opened(browser, options.address, PHONE), options.unknown)
        ends = ((0, where - MARGIN), (where - MARGIN, small.height))
        halves = [small.crop((0, top, small.width, bottom)) for top, bottom in ends]
        height = max(half.height for half in halves)
        save(beside(halves, height), "app_phone", frames=True, colors=FEW)
        page = opened(browser, options.address, (1180, 680))
        save(taught(page, options.name, options.clips), "app_teach")
        if options.label:
            save(labelling(browser, options.label), "app_label", frames=True, colors=FEW)
        browser.close()


if __name__ == "__main__":
    main()
