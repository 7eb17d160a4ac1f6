"""The page of `cign app` in a real browser: opens, answers, learns, refuses, fits a phone."""

import contextlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from browser.conftest import LONG_NAMES
from browser.layout import require_sound

pytestmark = pytest.mark.browser


def only_from(address, seen):
    """Whether nothing was asked of any other machine."""
    own = (address, "data:", "blob:")
    return [one for one in seen.addresses if not one.startswith(own)] == []


def choose(page, field, files):
    page.locator(f"{field} input[type=file]").first.set_input_files(files)


def ask(page, clip):
    """Choose a clip; gives what is said of it."""
    choose(page, "#ask-file", clip)
    page.wait_for_selector("#answer .cign-answer")
    return page.inner_text("#answer .said")


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def test_a_clip_is_answered_taught_and_answered_again(look, address, taught):
    page, seen = look(address)
    new = taught.classes[-1]
    clip = taught.clips("test", new)[0]
    assert new not in ask(page, clip)
    assert page.inner_text("#answer").count("only") == 2
    assert "Unknown score" in page.inner_text("#answer")
    pictures = page.locator("#maps img")
    pictures.first.wait_for()
    assert pictures.count() >= 3  # the frame, at least one class, the spectrogram
    sizes = pictures.evaluate_all("all => all.map(one => one.naturalWidth)")
    assert min(sizes) >= 64
    with page.expect_download() as saved:
        page.click("#save")
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")

    tab(page, "Teach")
    page.locator("#class-name textarea, #class-name input").fill(new)
    clips = taught.clips("train", new)
    choose(page, "#teach-files", clips)
    page.wait_for_function(
        "n => document.querySelectorAll('#teach-files tr.file').length == n", arg=len(clips)
    )
    page.click("#teach")
    page.wait_for_selector("#told .cign-taught")
    told = page.inner_text("#told")
    assert f"{new} (5 clips learned)" in told
    assert "validation clips (8 clips" in told
    assert "before" in told
    tab(page, "Classes")
    page.wait_for_function(f"() => document.querySelector('#classes').innerText.includes('{new}')")
    assert "UTC" in page.inner_text("#classes")
    tab(page, "Ask")
    page.wait_for_function(
        f"() => document.querySelector('#answer .said').innerText.includes('{new}')"
    )
    tab(page, "Teach")
    page.click("#undo")
    page.wait_for_function(
        "() => document.querySelector('#told').innerText.includes('Version 1 is restored')"
    )
    assert seen.errors == []
    assert only_from(address, seen)


def test_what_is_no_clip_gets_a_sentence(look, address, taught):
    page, seen = look(address)
    page.wait_for_selector("#ask-file input[type=file]", state="attached")
    choose(page, "#ask-file", str(taught.root / "large.mp4"))
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()
    choose(page, "#ask-file", str(taught.root / "text.mp4"))
    page.wait_for_selector("#answer .cign-problem")
    assert "Text.mp4 cannot be read (unreadable" in page.inner_text("#answer")
    tab(page, "Teach")
    page.wait_for_selector("#teach")
    page.click("#teach")
    page.wait_for_selector("#told .cign-problem")
    assert "Class name '' is empty" in page.inner_text("#told")
    assert seen.errors == []
    assert only_from(address, seen)


def require_sound_parts(page, clip):
    """Every tab is readable, with an answer too; gives what is said of a clip."""
    page.wait_for_selector("#ask-file input[type=file]", state="attached")
    require_sound(page)
    said = ask(page, clip)
    page.locator("#maps img").first.wait_for()
    page.locator("#save").wait_for()
    require_sound(page)
    for name in ("Teach", "Classes"):
        tab(page, name)
        page.wait_for_timeout(300)
        require_sound(page)
    return said


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_it_is_readable(look, address, taught, size):
    page, seen = look(address, *size)
    clip = taught.clips("test", taught.classes[0])[0]
    require_sound_parts(page, clip)
    assert seen.errors == []
    assert only_from(address, seen)


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_unknown_clips_and_long_names_are_readable(look, address_of_long_names, taught, size):
    page, seen = look(address_of_long_names, *size)
    clip = taught.clips("test", taught.classes[0])[0]
    said = require_sound_parts(page, clip)
    assert said.startswith("unknown")
    assert "the nearest is" in said
    assert any(name in said for name in LONG_NAMES)
    classes = page.inner_text("#classes")
    assert all(name in classes for name in LONG_NAMES)
    assert seen.errors == []
    assert only_from(address_of_long_names, seen)


def test_on_a_phone_little_room_is_lost_at_the_sides(look, address):
    page, _ = look(address, 390, 844)
    box = page.locator(".cign-head h1").bounding_box()
    assert box["x"] <= 20


def test_what_is_recorded_is_answered(look, address):
    page, seen = look(address)
    tab(page, "Record")
    page.get_by_text("Click to Access Webcam").click()
    # On a busy machine the camera's first frame is late, and a recording without one is empty.
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].some(v => v.currentTime > 0.2)"
    )
    page.get_by_label("start recording").click()
    page.wait_for_timeout(5000)
    page.locator("button.capture-button").click()
    page.wait_for_selector("#answer .cign-answer, #answer .cign-problem")
    assert page.locator("#answer .cign-problem").count() == 0, page.inner_text("#answer")
    assert only_from(address, seen)


def test_two_gigabytes_are_refused_as_they_come(address, taught):
    """By the server too, whatever the browser lets through, and before they fill the disk."""
    server = urllib.parse.urlsplit(address).netloc
    temporary = taught.root / "temporary"
    before = size_of(temporary)
    head = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n'
        b"Content-Type: video/mp4\r\n\r\n"
    )
    connection = http.client.HTTPConnection(server, timeout=60)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", str(2**31))
    connection.endheaders(head)
    chunk, sent, most = b"\0" * 2**20, 0, 0
    try:
        while sent < 2**31 - len(chunk):
            connection.send(chunk)
            sent += len(chunk)
            most = max(most, size_of(temporary) - before)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 2**27
    assert connection.getresponse().status == 413
    assert most < 2**24
    assert urllib.request.urlopen(address).status == 200


def size_of(folder):
    """Bytes of all files in a folder; some may be gone by then."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{root}/run/model/model.json", "http://a.invalid/"]
)
def test_nothing_outside_its_folder_is_served(path, address, taught):
    asked = f"{address}/gradio_api/file={path.format(root=taught.root)}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 403
    policy = urllib.request.urlopen(address).headers["content-security-policy"]
    assert "default-src 'self'" in policy


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{root}/run/model/model.json", "http://a.invalid/a.mp4"]
)
def test_nothing_that_was_not_uploaded_is_read(path, address, taught):
    """Not even where a browser names it, as no honest page would."""
    import json
    import secrets

    config = json.load(urllib.request.urlopen(f"{address}/config"))
    number = next(d["id"] for d in config["dependencies"] if d["api_name"] == "ask")
    named = path.format(root=taught.root)
    body = {
        "data": [{"path": named, "orig_name": "a.mp4", "meta": {"_type": "gradio.FileData"}}],
        "fn_index": number,
        "session_hash": secrets.token_hex(5),
    }

    def post(where):
        request = urllib.request.Request(
            f"{address}/gradio_api/{where}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        return urllib.request.urlopen(request)

    post("queue/join").close()
    address_of = f"{address}/gradio_api/queue/data?session_hash={body['session_hash']}"
    done = None
    with urllib.request.urlopen(address_of, timeout=30) as stream:
        for line in stream:
            if b"process_completed" in line:
                done = json.loads(line.removeprefix(b"data: "))
                break
    assert done is not None
    assert done["success"] is False
    temporary = taught.root / "temporary"
    assert not [file for file in temporary.rglob("*") if file.name in ("passwd", "model.json")]
