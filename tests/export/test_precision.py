"""Smaller variants: what is in the file, what its report says, and how the script runs it."""

import ast
import json
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from cign.data.media.decode import decode
from cign.export import cost, exporting
from cign.export.checking import inputs_of, rendered_clips
from cign.export.cost import compare_labels
from cign.export.exporting import export_model
from cign.export.formats import runner
from cign.export.predictor import OUTPUTS, in_float32, predictor_of
from cign.export.script import REQUIREMENTS, SCRIPT
from cign.vocabulary import MODALITIES
from refusals import input_error, run_error

from .test_script import CONDITIONS, alone
from .toys import ToyBackbone, toy_model

onnx = pytest.importorskip("onnx", reason="needs the extra export")
for name in ("onnxruntime", "onnxscript"):
    pytest.importorskip(name, reason="needs the extra export")


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """A model, and exports of it in half precision and 8 bits by name."""
    model, root = toy_model("cign_analytic"), tmp_path_factory.mktemp("variants")
    return model, {
        name: export_model(model, ToyBackbone(), root / name, precision=name)
        for name in ("fp16", "int8")
    }


def weights_of(exported):
    """The constants of a file by name."""
    model = onnx.load(exported.folder / "predictor.onnx")
    return {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}


def test_half_precision_rounds_the_weights_and_nothing_else(variants):
    model, exported = variants[0], variants[1]["fp16"]
    network = predictor_of(in_float32(model), ToyBackbone())
    with torch.no_grad():
        for values in [*network.parameters(), *network.buffers()]:
            if values.dtype == torch.float32 and values.nbytes >= 4096:
                values.copy_(values.half().float())
    halves = [w for w in weights_of(exported).values() if w.dtype == np.float16]
    assert sum(w.size for w in halves) > 5_000
    inputs = inputs_of(rendered_clips(model.spec))
    found = runner("onnx", exported.folder)(**inputs)
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(values) for values in inputs.values()))
    for name, values in zip(OUTPUTS, wanted, strict=True):
        np.testing.assert_allclose(found[name], values.numpy(), rtol=0, atol=1e-4)


def test_eight_bits_are_in_the_encoders_alone_and_scaled_by_channel(variants):
    exported = variants[1]["int8"]
    model = onnx.load(exported.folder / "predictor.onnx")
    weights = weights_of(exported)
    eight = {name: w for name, w in weights.items() if w.dtype == np.int8 and w.ndim == 2}
    encoders = [ToyBackbone().heard.weight, ToyBackbone().seen.weight]
    shapes = sorted(tuple(w.shape[::-1]) for w in encoders)
    assert sorted(w.shape for w in eight.values()) == shapes
    for weight in encoders:
        exact = weight.numpy().T
        (found,) = (name for name, w in eight.items() if w.shape == exact.shape)
        assert np.abs(eight[found]).max() <= 64  # seven bits
        scale = weights[found.replace("_quantized", "_scale")]
        assert scale.shape == (exact.shape[1],)
        assert (np.abs(eight[found] * scale - exact) <= scale * 0.51).all()
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMul") > 2  # those of the method, in float32


def test_the_report_has_what_the_file_costs(variants):
    model, exports = variants
    clips = rendered_clips(model.spec)
    runs = {}
    for precision, exported in exports.items():
        about = json.loads((exported.folder / "predictor.json").read_text())
        assert about["precision"] == precision
        assert about["check"]["largest_difference"]["onnx"] <= 1e-4  # of the file in float32
        told = about["cost"]
        assert told["num_clips"] == {"fp16": 50, "int8": 25}[precision]
        assert told["num_calibrated"] == {"fp16": 0, "int8": 25}[precision]
        size = (exported.folder / "predictor.onnx").stat().st_size
        assert told["num_bytes"][precision] == size == exported.files["predictor.onnx"]
        assert min(told["clips_per_s"].values()) > 0
        compared = clips if precision == "fp16" else clips[1::2]
        run = runner("onnx", exported.folder)
        runs[precision] = [run(**inputs_of([clip])) for clip in compared]
        expected = exporting.scores_of(model, ToyBackbone(), compared)
        for name in MODALITIES:
            found = np.concatenate([part[name] for part in runs[precision]])
            agreement = (found.argmax(1) == expected[name].argmax(1)).mean()
            assert told["agreement"][name] == pytest.approx(agreement)
            difference = np.abs(found - expected[name]).max(axis=1).mean()
            assert told["difference"][name] == pytest.approx(difference, abs=1e-6)
            assert 0 < difference < {"fp16": 0.01, "int8": 0.1}[precision]
    assert exports["fp16"].files["predictor.onnx"] < exports["fp16"].cost.num_bytes["fp32"]


def test_the_script_runs_eight_bits_on_odd_media(variants, odd, media, tmp_path):
    model, exported = variants[0], variants[1]["int8"]
    files = [odd(name) for name in ("turned.mp4", "cover.m4a", "mono.wav", "video.mp4")]
    files += [media(name) for name in CONDITIONS]
    lines = alone([exported.folder / SCRIPT, "--top", "99", *files], tmp_path)
    run = runner("onnx", exported.folder)
    for file, line in zip(files, lines, strict=True):
        told = json.loads(line)
        if file.name == "short.mp4":
            assert told["error_code"] == "bad-clip" or "short" in told["error"]
            continue
        clip = decode(file, model.spec)
        scores = run(**inputs_of([clip]))
        for name in {"audio", "visual"} - set(told["missing"]):
            found = {one["label"]: one["probability"] for one in told["modalities"][name]}
            wanted = dict(zip(model.classes, scores[name][0].tolist(), strict=True))
            assert found == pytest.approx(wanted, abs=2e-6), file


def test_the_packages_that_the_script_imports_are_listed(variants):
    folder = variants[1]["int8"].folder
    tree = ast.parse((folder / SCRIPT).read_text())
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    listed = [Requirement(line) for line in (folder / REQUIREMENTS).read_text().splitlines()]
    # torch runs the other format.
    assert imported - set(sys.stdlib_module_names) == {one.name for one in listed} | {"torch"}
    assert all(one.specifier.contains(version(one.name)) for one in listed)
    assert str(next(one for one in listed if one.name == "av").specifier) == f"=={version('av')}"


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"precision": "bf16"}, "unknown-name", ["bf16", "fp32", "fp16", "int8"]),
        ({"precision": "int8", "format": "torch"}, "conflicting-options", ["int8", "onnx"]),
        ({"precision": "fp16", "format": "both"}, "conflicting-options", ["fp16", "onnx"]),
    ],
)
def test_a_precision_that_cannot_be_written(options, code, names, variants, tmp_path):
    with input_error(code, *names):
        export_model(variants[0], ToyBackbone(), tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_one_clip_cannot_calibrate_and_check(variants, odd, tmp_path):
    with input_error("bad-clip", "int8", "--clips"):
        export_model(
            variants[0],
            ToyBackbone(),
            tmp_path / "out",
            precision="int8",
            clips=[odd("base.mp4")],
        )
    assert not list(tmp_path.iterdir())


def test_too_many_other_labels_are_refused(variants, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "LEAST_AGREEMENT", {"int8": 1.1})
    with run_error("export-differs", "int8", "110%", "--clips", "fp16"):
        export_model(variants[0], ToyBackbone(), tmp_path / "out", precision="int8")
    assert not list(tmp_path.iterdir())


def test_labels_are_compared_by_modality():
    expected = {name: np.eye(3, dtype=np.float32) for name in MODALITIES}
    found = {name: values.copy() for name, values in expected.items()}
    found["audio"][0] = [0.2, 0.8, 0.0]
    for scores in (expected, found):
        scores |= {f"unknown_{name}": np.zeros(3, np.float32) for name in MODALITIES}
    found["unknown_visual"] = np.array([0.3, 0.0, 0.0], np.float32)
    agreement, difference, unknown = compare_labels(found, expected, "int8", multi_label=False)
    assert agreement == pytest.approx({"audio": 2 / 3, "visual": 1.0, "audio_visual": 1.0})
    assert difference == pytest.approx({"audio": 0.8 / 3, "visual": 0.0, "audio_visual": 0.0})
    assert unknown == pytest.approx({"audio": 0.0, "visual": 0.1, "audio_visual": 0.0})


def test_several_labels_are_compared_at_one_half():
    expected = {name: np.array([[0.9, 0.6], [0.9, 0.4]], np.float32) for name in MODALITIES}
    found = {name: np.array([[0.8, 0.7], [0.9, 0.6]], np.float32) for name in MODALITIES}
    for scores in (expected, found):
        scores |= {f"unknown_{name}": np.zeros(2, np.float32) for name in MODALITIES}
    with run_error("export-differs", "50%", "80%"):
        compare_labels(found, expected, "int8", multi_label=True)
    agreement, _, _ = compare_labels(found, expected, "int8", multi_label=False)
    assert agreement == dict.fromkeys(MODALITIES, 1.0)
