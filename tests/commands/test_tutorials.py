"""Every command of docs/tutorial.md and docs/own-clips.md, with the sizes of the page.

Run, they are slow; what they are called with is checked always.
"""

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import pages
from refusals import input_error

# One process: what is rendered and decoded does not depend on their number.
EXTRA = {name: ["--workers", "0"] for name in ("prepare", "add")} | {"synth": ["--workers", "1"]}
# The page uses encoders for real clips; the test needs no other packages.
OWN_EXTRA = {**EXTRA, "prepare": ["--workers", "0", "--backbone", "small"]}
WHAT = "synth inspect prepare train train report predict synth add versions predict export"
HAS_EXTRA = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", ["tutorial.md", "own-clips.md", "export.md"])
def test_every_option_of_the_page_is_there(page):
    lines = [line for line in pages.commands(page) if line.startswith("cign ")]
    for line in lines:
        pages.parse(line)
    with input_error("bad-usage", "unknown option --frobnicate"):
        pages.parse(f"{lines[0]} --frobnicate 1")


@pytest.mark.slow
def test_the_tutorial_from_clips_to_an_added_class(capsys):
    lines = pages.commands("tutorial.md")
    assert [line.split()[1] for line in lines] == (WHAT.split())
    for line in lines[:-1]:
        assert pages.run(line, EXTRA) == 0, f"{line}: {capsys.readouterr().err}"
    out = capsys.readouterr().out
    assert "new classes: " in out
    assert Path("report.html").stat().st_size > 10_000
    _export_if_possible(lines[-1], capsys)


def _export_if_possible(line, capsys):
    """The last command needs an extra; without it there is one sentence that says so."""
    if HAS_EXTRA:
        assert pages.run(line, EXTRA) == 0, capsys.readouterr().err
        assert sorted(p.name for p in Path("exported").iterdir()) == [
            "predict.py",
            "predictor.json",
            "predictor.onnx",
        ]
    else:
        assert pages.run(line, EXTRA) == 2
        assert "pip install onnx" in capsys.readouterr().err


@pytest.mark.slow
def test_own_clips_in_folders_and_in_a_table(tiny, capsys):
    with (tiny[0] / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    table = []
    for number, row in enumerate(rows):
        new = row["labels"] == classes[-1]
        folder = Path("more/whistle" if new else f"zoo/{row['labels']}")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / row["path"], folder / f"{number}.mp4")
        if not new:
            table.append((f"{row['labels']}/{number}.mp4", row["labels"], row["split"]))
    with Path("clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "split"), *table])
    lines = pages.commands("own-clips.md")
    assert len(lines) == 12
    for line in lines:
        assert pages.run(line, OWN_EXTRA) == 0, f"{line}: {capsys.readouterr().err}"
    out = capsys.readouterr().out
    assert "new classes: whistle" in out
    assert "tin whistle" in out
    assert "model: reverted to version 1" in out
