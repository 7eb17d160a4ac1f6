"""Time from choosing a clip on the page of `cign app` to its prediction and maps, in Chromium.

    cign app MODEL --port 7999 &
    python benchmarks/app_answer.py http://127.0.0.1:7999 CLIP...

The first clip is not counted, because it includes opening the page.
"""

import shutil
import statistics
import sys
import time

from playwright.sync_api import sync_playwright


def main(address, clips):
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(".cign-head h1")
        seconds = []
        for clip in clips:
            if page.locator("#answer .cign-answer").count():
                page.locator("#ask-file button[aria-label=Clear]").first.click()
            page.wait_for_selector("#answer .cign-empty")
            page.wait_for_timeout(2000)  # the image to save is being drawn
            began = time.perf_counter()
            page.set_input_files("#ask-file input[type=file]", clip)
            page.wait_for_selector("#answer .cign-answer")
            page.wait_for_selector("#maps img")
            seconds.append(time.perf_counter() - began)
        browser.close()
    counted = seconds[1:]
    print(
        f"{len(counted)} clips: median {statistics.median(counted):.2f} s, "
        f"{min(counted):.2f} to {max(counted):.2f} s; the first one {seconds[0]:.2f} s"
    )


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python benchmarks/app_answer.py ADDRESS CLIP CLIP...")
    main(sys.argv[1], sys.argv[2:])
