"""The timeline of a long file on the page of `cign app`, in a real browser."""

import re
import subprocess

import imageio_ffmpeg
import pytest

from browser.layout import require_sound

pytestmark = pytest.mark.browser

SECONDS = 12  # six clips of one second of each of two classes


@pytest.fixture(scope="module")
def film(taught, tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    names = [clip for name in taught.classes[:2] for clip in taught.clips("train", name)[:6]]
    (folder / "list.txt").write_text("".join(f"file '{name}'\n" for name in names))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "concat", "-safe", "0"]
    command += ["-i", str(folder / "list.txt"), "-c", "copy", str(folder / "film.mp4")]
    subprocess.run(command, check=True)
    return str(folder / "film.mp4")


def choose(page, clip):
    page.wait_for_selector("#ask-file input[type=file]", state="attached")
    page.locator("#ask-file input[type=file]").first.set_input_files(clip)
    page.wait_for_selector("#answer .cign-answer")


def window(page):
    """Start and end of the window that the answer is about, in seconds."""
    found = re.search(r"Window: ([\d.]+) to ([\d.]+) s of ([\d.]+) s", page.inner_text("#answer"))
    return tuple(map(float, found.groups()))


def wait_for_window(page, start_s):
    """Wait for the answer of a window; a click is exact to a pixel."""
    page.wait_for_function(
        r"""start => {
          const text = document.querySelector('#answer')?.innerText ?? '';
          const found = text.match(/Window: ([\d.]+) to/);
          return found && Math.abs(Number(found[1]) - start) < 0.15;
        }""",
        arg=start_s,
    )


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_a_long_file_has_a_timeline_that_leads_to_its_windows(look, address, taught, film, size):
    page, seen = look(address, *size)
    choose(page, film)
    page.get_by_text("Choose a time to see its prediction and maps").wait_for()
    start_s, end_s, length_s = window(page)
    assert length_s == pytest.approx(SECONDS, abs=0.7)
    assert (start_s + end_s) / 2 == pytest.approx(length_s / 2, abs=0.02)
    names = page.locator("#timeline .row .name").all_inner_texts()
    assert names
    assert set(names) <= {*taught.classes, "unknown"}
    segments = page.locator("#timeline .lane button")
    assert segments.count() >= len(names)
    lane = page.locator("#timeline .lane").first
    box, whole = lane.bounding_box(), page.locator("#timeline .lanes").bounding_box()
    for each in segments.all():
        part = each.bounding_box()
        assert part["x"] >= box["x"] - 1
        assert part["x"] + part["width"] <= box["x"] + box["width"] + 1
    page.wait_for_timeout(300)
    require_sound(page)

    # A click asks for the window around that time; the player and the mark go there.
    before = page.locator("#maps img").first.get_attribute("src")
    lane.click(position={"x": box["width"] * 0.25, "y": box["height"] / 2})
    wait_for_window(page, 0.25 * length_s - 1.5)
    page.wait_for_function(
        "old => document.querySelector('#maps img')?.src !== old && "
        "document.querySelector('#maps img')",
        arg=before,
    )
    page.wait_for_function(
        "at => Math.abs(document.querySelector('video.clip').currentTime - at) < 0.2",
        arg=0.25 * length_s - 1.5,
    )
    mark = page.locator("#timeline .here").bounding_box()
    assert mark["x"] == pytest.approx(box["x"] + box["width"] * 0.25, abs=3)
    assert mark["height"] >= whole["height"]
    # Near the end the window stays within the file.
    lane.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
    wait_for_window(page, length_s - 3)

    # A segment can be chosen by keyboard.
    middle_s = float(segments.first.get_attribute("data-at"))
    segments.first.focus()
    page.keyboard.press("Enter")
    wait_for_window(page, min(max(middle_s - 1.5, 0), length_s - 3))
    assert seen.errors == []


def test_a_short_file_has_no_timeline(look, address, taught):
    page, seen = look(address)
    choose(page, taught.clips("test", taught.classes[0])[0])
    page.locator("#save").wait_for()
    page.wait_for_timeout(1000)
    assert page.locator("#timeline .cign-timeline").count() == 0
    assert seen.errors == []
