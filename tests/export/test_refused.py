"""What export refuses: one sentence, and nothing is written."""

import importlib.util

import numpy as np
import pytest
import torch

from cign.errors import RunError
from cign.export import formats
from cign.export.checking import compare, rendered_clips
from cign.export.fourier import rfft, stft
from cign.learner import Learner
from cign.utils.progress import Silent
from refusals import input_error, run_error


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    Learner("cign_analytic", options={"width": 30}).learn(tiny[1], tasks=2, out=out)
    return out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "tflite"], "unknown format 'tflite': use one of onnx, torch, both"),
        (["--precision", "int4"], "unknown precision 'int4': use one of fp32, fp16, int8"),
        (["--precision", "int8", "--format", "both"], "--precision int8 is available in ONNX only"),
        (["--fromat", "onnx"], "unknown option --fromat: did you mean --format?"),
        (["--format", "torch", "--clips", "none.mp4"], "--clips none.mp4 cannot be read"),
    ],
)
def test_wrong_options(arguments, sentence, run, cign, tmp_path):
    code, out, err = cign("export", run, tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_and_a_place_that_cannot_be(run, cign, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path, tmp_path / "file"):
        code, _, err = cign("export", run, out, "--format", "torch")
        assert code == 2
        assert "is not an empty folder: name a new one" in err
    code, _, err = cign("export", run, tmp_path / "file" / "out", "--format", "torch")
    assert code == 2
    assert "cannot be made" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_the_current_folder_and_those_around_it(run, cign, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out, sentence in (
        (".", "is the current folder: name a new one in it"),
        ("new/..", "is the current folder"),
        ("..", "is not an empty folder"),
    ):
        code, _, err = cign("export", run, out, "--format", "torch")
        assert code == 2
        assert f"{out} {sentence}" in err
    assert list(tmp_path.rglob("*")) == [tmp_path / "here"]


def test_without_the_extra(run, cign, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        formats.importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    code, _, err = cign("export", run, tmp_path / "out")
    assert code == 2
    assert "needs onnx: `pip install onnx`, or use --format torch" in err


def test_an_onnxscript_older_than_the_installed_torch(run, cign, tmp_path, monkeypatch):
    def export(*_, **__):
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_11'")

    monkeypatch.setattr(torch.onnx, "export", export)
    code, _, err = cign("export", run, tmp_path / "out", "--format", "onnx")
    assert code == 2
    assert "onnxscript does not fit this PyTorch (No module named 'onnxscript._framework" in err
    assert "`pip install --upgrade onnx onnxscript onnxruntime`, or use --format torch" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(run):
    spec = Learner.load(run).model.spec
    clips = rendered_clips(spec, 9)
    wanted = {name: np.full((9, 4), 0.25) for name in ("audio", "visual", "audio_visual")}
    wanted |= {f"unknown_{name}": np.full(9, 0.5) for name in wanted}

    def check(output, error):
        def says(waveform, frames):
            of = range(len(waveform))
            return {name: values[of] + error * (name == output) for name, values in wanted.items()}

        return compare(says, clips, wanted, Silent(), "it")

    with run_error("export-differs", "0.0002", "the visual prediction of clip 1"):
        check("visual", 2e-4)
    unknown = r"by 0.0002 in the unknown score of the audio-visual prediction of clip 1, more than"
    with pytest.raises(RunError, match=unknown):
        check("unknown_audio_visual", -2e-4)
    for output in ("audio", "unknown_audio"):
        with run_error("export-differs", "inf"):
            check(output, np.nan)
    assert check("visual", 5e-5).num_clips == 9


def test_an_interrupted_export_leaves_nothing(run, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cign.export.exporting.write", stop)
    monkeypatch.setattr("cign.export.exporting._trace", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        Learner.load(run).export(tmp_path / "out", format="torch")
    assert not list(tmp_path.iterdir())


def test_a_learner_that_has_not_learned():
    with input_error("not-trained"):
        Learner("finetune").export("nowhere")


@pytest.mark.parametrize("n_fft", [400, 512])
def test_transforms_agree_with_torchs_in_double_precision(n_fft):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(2, 4000, generator=draw) * 2 - 1
    window = torch.hann_window(n_fft)
    how = {"center": True, "pad_mode": "reflect", "return_complex": True}
    wanted = torch.stft(x.double(), n_fft, 160, window=window.double(), **how)
    assert (stft(x, n_fft, 160, window=window, **how) - wanted).abs().max() < 2e-4
    wanted = torch.fft.rfft(x[:, :n_fft].double())
    assert (rfft(x[:, :n_fft]) - wanted).abs().max() < 2e-4
