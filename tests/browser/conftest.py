"""A browser, and a page served by the command itself on a tiny model that may be taught."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT = "1MB"


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; the system's, else the one that playwright brought."""
    api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with api.sync_playwright() as play:
        try:
            opened = play.chromium.launch(
                executable_path=found,
                args=[
                    "--no-sandbox",
                    "--use-fake-device-for-media-stream",
                    "--use-fake-ui-for-media-stream",
                ],
            )
        except api.Error as error:
            reason = str(error).splitlines()[0]
            pytest.fail(f"no browser starts ({reason}): install chromium, for example with apt-get")
        yield opened
        opened.close()


def note(seen, message):
    """Keep an error of the console.

    But for one of the page's library: it asks how far an upload is, and complains where a small
    file was there before it asked.
    """
    if "/upload_progress" in (message.location or {}).get("url", ""):
        seen.early = True
    elif not (getattr(seen, "early", False) and message.text == "Response"):
        seen.errors.append(f"{message.text} {(message.location or {}).get('url', '')}")


@pytest.fixture
def look(browser):
    """Open an address; what the browser complains of and where it asks are collected."""
    contexts = []

    def open_page(address, width=1280, height=900):
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        seen = SimpleNamespace(errors=[], addresses=[])
        page.on("console", lambda m: m.type == "error" and note(seen, m))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.addresses.append(request.url))
        page.set_default_timeout(60_000)
        page.goto(address)
        return page, seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def taught(tmp_path_factory):
    """A model of four classes, clips of a fifth one, and files that are no clips."""
    from cign.backbones.registry import load_backbone
    from cign.data.prepare.pipeline import prepare
    from cign.learner import Learner
    from cign.synthetic import SynthConfig, synthesize

    root = tmp_path_factory.mktemp("app")
    config = SynthConfig(num_classes=5, num_train=6, num_val=2, num_test=2, duration_s=1.0)
    synthesize(root / "clips", config, num_workers=1)
    with (root / "clips" / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    with (root / "old.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row for row in rows if row["labels"] != classes[-1])
    small = load_backbone("small")
    prepare(root / "old.csv", root / "store", backbone=small, media=[root / "clips"], num_workers=0)
    options = {"width": 400}
    Learner("cign_analytic", options=options).learn(root / "store", tasks=2, out=root / "run")
    (root / "text.mp4").write_text("this is no film\n" * 40)
    (root / "large.mp4").write_bytes(os.urandom(1_300_000))

    def clips(split, name):
        listed = (row["path"] for row in rows if (row["split"], row["labels"]) == (split, name))
        return [str(root / "clips" / path) for path in listed]

    return SimpleNamespace(root=root, classes=classes, clips=clips)


@pytest.fixture(scope="session")
def address(taught):
    """Where the page is; the model is a copy of the run's."""
    options = ["--teach", "--out", str(taught.root / "copy"), "--max-upload", LIMIT]
    with served(taught.root / "run", taught.root / "temporary", options) as found:
        yield found


LONG_NAMES = (
    *("people_eating_crisps_with_their_fingers", "electric shaver, electric razor shaving"),
    *("Rhabarberbarbarabarbarbarenbartbarbier", "playing acoustic guitar"),
)


@pytest.fixture(scope="session")
def address_of_long_names(taught):
    """The page of a model whose classes have long names, and to which every clip is unknown."""
    from cign.learner import Learner

    learner = Learner.load(taught.root / "run")
    for old, new in zip(learner.model.classes, LONG_NAMES, strict=True):
        learner.rename(old, new)
    rule = learner.model.unknown
    assert rule.thresholds
    rule = dataclasses.replace(rule, thresholds=dict.fromkeys(rule.thresholds, 0.0))
    learner.model = dataclasses.replace(learner.model, unknown=rule)
    learner.save(taught.root / "long")
    with served(taught.root / "long", taught.root / "temporary_long", []) as found:
        yield found


@contextmanager
def served(model, temporary, options):
    """The address of a page that the command serves."""
    command = [
        sys.executable,
        "-m",
        "cign.cli.entry_point",
        "app",
        str(model),
        "--port",
        "0",
        *options,
    ]
    temporary.mkdir()
    environment = dict(os.environ, TMPDIR=str(temporary), OMP_NUM_THREADS="1")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), line
    yield line.split()[0]
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 130
    assert not list(Path(temporary).glob("cign-app-*"))  # uploads go with the process
