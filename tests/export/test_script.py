"""The commands and the script of docs/export.md, the script without cign and torch."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pages
from cign.data.prepare import prepare
from cign.learner import Learner
from cign.models.backbones import load_backbone
from cign.predictor import predict_files

from .toys import ToyBackbone

for name in ("onnxruntime", "onnxscript"):
    pytest.importorskip(name, reason="needs the extra export")

PAGE = pages.DOCS / "export.md"
NOT_HERE = "raise ImportError('this must run without it')\n"


def python_blocks():
    """The script, and how a model is passed on."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def alone(arguments, folder):
    """Run Python where neither cign nor torch can be imported; gives the lines it printed."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name in ("cign", "torch"):
        (stubs / f"{name}.py").write_text(NOT_HERE)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_answers(lines, wanted, classes):
    """What the script printed against predictions with all classes."""
    said = [json.loads(line) for line in lines]
    assert [one["file"] for one in said] == [one.file for one in wanted]
    for ours, theirs in zip(wanted, said, strict=True):
        reading = (
            ours.modalities["audio_visual"] or ours.modalities["audio"] or ours.modalities["visual"]
        )
        told = {entry["label"]: entry["probability"] for entry in reading}
        np.testing.assert_allclose(
            theirs["probabilities"], [told[name] for name in classes], atol=1e-4
        )
        assert theirs["label"] == ours.label
        assert abs(theirs["unknown"] - ours.unknown) <= 1e-4
        if abs(ours.unknown - ours.unknown_threshold) > 1e-4:
            assert theirs["is_unknown"] == ours.is_unknown


def one_track(clip, folder):
    """Copies of a clip with sound alone and with pictures alone."""
    import imageio_ffmpeg

    made = []
    for option in ("-vn", "-an"):
        made.append(str(folder / f"only{option}.mp4"))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", clip, option, "-c", "copy"]
        subprocess.run([*command, made[-1]], check=True)
    return made


def test_the_script_on_a_toy_network(toy_export, tiny, tmp_path):
    model, exported = toy_export
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:6]
    files += one_track(files[0], tmp_path)
    (tmp_path / "script.py").write_text(python_blocks()[0])
    lines = alone([tmp_path / "script.py", exported.folder, *files], tmp_path)
    wanted = list(predict_files(model, ToyBackbone(), files, top=len(model.classes)))
    assert [one.missing for one in wanted][-2:] == [["visual"], ["audio"]]
    check_answers(lines, wanted, model.classes)


def test_cign_cannot_be_imported_where_the_script_runs(tmp_path):
    with pytest.raises(AssertionError, match="this must run without it"):
        alone(["-c", "import cign"], tmp_path)


@pytest.mark.slow
def test_every_command_of_the_page(tiny, tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    # Trained encoders: on random ones a clip is hardly told from another, and an answer hangs on
    # the last place of the rounded tokens.
    prepare(tiny[0], Path("store"), backbone=load_backbone("small"), num_workers=0)
    learner = Learner("cign_analytic").learn("store", tasks=2, out="work/run")
    files = sorted(map(str, tiny[0].rglob("*.mp4")))
    Path("clip.mp4").write_bytes(Path(files[0]).read_bytes())
    Path("script.py").write_text(python_blocks()[0])
    printed = []
    for line in pages.commands("export.md"):
        program, *words = line.split()
        if program == "pip":
            assert line == "pip install 'cign[export]'"
            assert importlib.util.find_spec("onnxscript")  # it was done before the tests
        elif program == "python":
            printed = alone(words, tmp_path)
            lines = alone([*words[:2], *files], tmp_path)
        else:
            assert pages.run(line, {}) == 0, f"{line}: {capsys.readouterr().err}"
    assert len(printed) == 1
    classes = learner.model.classes
    wanted = list(learner.predict(files, top=len(classes)))
    assert len(wanted) >= 40
    check_answers(lines, wanted, classes)
    assert "unknown scores differ from the model's by at most" in capsys.readouterr().out
    about = json.loads(Path("work/exported/predictor.json").read_text())
    assert about["unknown"]["score"] == "combined"
    assert about["inputs"]["waveform"]["shape"] == ["batch", "samples"]
    assert about["check"]["largest_difference"]["onnx"] <= about["check"]["tolerance"] == 1e-4


def test_what_lies_beside_the_file(toy_export):
    model, exported = toy_export
    about = json.loads((exported.folder / "predictor.json").read_text())
    assert about["classes"] == list(model.classes)
    assert about["check"]["num_clips"] == {"onnx": 50}
    assert about["checksums"].keys() == {"predictor.onnx"}
    assert sorted(path.name for path in exported.folder.parent.glob(".*")) == []
