"""The script of docs/export.md: on real files, without cign and torch, against `cign predict`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.cli import main
from cign.data.prepare import prepare
from cign.learner import Learner
from cign.models.backbones import load_backbone

pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
NOT_HERE = "raise ImportError('this must run without it')\n"


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A run, its export and what the command printed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    # Trained encoders: on random ones a clip is hardly told from another, and an answer hangs on
    # the last place of the rounded tokens.
    prepare(tiny[0], folder / "store", backbone=load_backbone("small"), num_workers=0)
    Learner("cign_analytic", options={"width": 300}).learn(
        folder / "store", tasks=2, out=folder / "run"
    )
    assert main(["export", str(folder / "run"), str(folder / "out")]) == 0
    return folder


def test_the_script_says_what_the_model_says_without_cign_and_torch(exported, tiny, tmp_path):
    script = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[0]
    (tmp_path / "script.py").write_text(script)
    for name in ("cign", "torch"):
        (tmp_path / f"{name}.py").write_text(NOT_HERE)
    files = sorted(map(str, tiny[0].rglob("*.mp4")))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", exported / "out", *files],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    learner = Learner.load(exported / "run")
    wanted = list(learner.predict(files, top=4))
    assert len(said) == len(wanted) >= 40
    for ours, theirs in zip(wanted, said, strict=True):
        told = {e["label"]: e["probability"] for e in ours.readings["audio_visual"]}
        values = [told[name] for name in learner.model.classes]
        np.testing.assert_allclose(theirs["probabilities"], values, atol=1e-4)
        assert theirs["label"] == ("unknown" if ours.is_unknown else ours.label)


def test_cign_cannot_be_imported_where_the_script_runs(tmp_path):
    (tmp_path / "cign.py").write_text(NOT_HERE)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import cign"]
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 1


def test_what_lies_beside_the_file(exported):
    about = json.loads((exported / "out" / "predictor.json").read_text())
    model = Learner.load(exported / "run").model
    assert about["classes"] == list(model.classes)
    assert about["unknown"]["threshold"] == model.unknown_threshold
    assert about["check"]["num_clips"] == {"onnx": 50}
    assert about["check"]["largest_difference"]["onnx"] <= about["check"]["tolerance"] == 1e-4
    assert about["inputs"]["waveform"]["shape"] == ["batch", "samples"]
    assert sorted(path.name for path in exported.glob(".*")) == []
    # The sums that the method keeps are not in it.
    weights = (exported / "run" / "model" / "model.safetensors").stat().st_size
    assert model.method.state_bytes > 600_000
    assert (exported / "out" / "predictor.onnx").stat().st_size < 11e6 + weights
