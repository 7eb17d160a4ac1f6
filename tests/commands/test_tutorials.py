"""Every command of docs/tutorial.md and docs/own-clips.md, with the sizes of the page.

Run, they are slow; what they are called with is checked always. With CIGN_REAL, the folder of the
built real sets, the pages are also followed on real recordings.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import pages
from refusals import input_error

# One process: what is rendered and decoded does not depend on their number.
EXTRA = {name: ["--workers", "0"] for name in ("prepare", "add")} | {"synth": ["--workers", "1"]}
WHAT = "synth inspect prepare train train report predict synth add versions predict export"
HAS_EXTRA = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_real = pytest.mark.skipif(
    not os.environ.get("CIGN_REAL"), reason="CIGN_REAL names no folder with built sets"
)


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
    _follow_tutorial(lines, capsys)


@pytest.mark.slow
@needs_real
def test_the_tutorial_on_real_recordings(capsys):
    pages.example_clips("tutorial")
    lines = [line for line in pages.commands("tutorial.md") if not line.startswith("cign synth")]
    _follow_tutorial([line.removesuffix(" --backbone small") for line in lines], capsys)


def _follow_tutorial(lines, capsys):
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
@pytest.mark.parametrize("clips", ["generated", pytest.param("real", marks=needs_real)])
def test_own_clips_in_folders_and_in_a_table(clips, monkeypatch, capsys):
    extra = EXTRA
    if clips == "generated":
        monkeypatch.delenv("CIGN_REAL", raising=False)
        extra = {**EXTRA, "prepare": [*EXTRA["prepare"], "--backbone", "small"]}
    example, *lines = pages.commands("own-clips.md")
    assert example == "python examples/clips.py own"
    pages.example_clips("own")
    assert len(lines) == 12
    for line in lines:
        assert pages.run(line, extra) == 0, f"{line}: {capsys.readouterr().err}"
    out = capsys.readouterr().out
    assert clips in out
    assert "new classes: rooster" in out
    assert "crowing rooster" in out
    assert "model: reverted to version 1" in out
