"""Encoders of the user's own: a folder with encoder.json and a network in ONNX."""

import copy
import json
import re

import numpy as np
import pytest
import torch

from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone, load_to_prepare
from cign.data.media.decode import MediaSpec
from cign.errors import InputError

PX, RATE_HZ, WINDOW_S = 32, 8000, 0.5
MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]


@pytest.fixture
def write(onnx, tmp_path):
    """Write a folder: a convolution of stride 8 over the image, or of stride 500 over samples."""

    def folder(name, kind, *, drop=(), **changes):
        made = tmp_path / name
        made.mkdir(exist_ok=True)
        network, about = visual(onnx) if kind == "visual" else audio(onnx)
        (made / "encoder.onnx").write_bytes(network.SerializeToString())
        for key, value in changes.items():
            part, _, entry = key.rpartition("__")
            (about[part] if part else about)[entry] = value
        for key in drop:
            del about["input"][key]
        (made / "encoder.json").write_text(json.dumps(about))
        return made

    return folder


def visual(onnx):
    weight = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
    network = model(onnx, weight, ["b", 3, PX, PX], ["b", 6, 4, 4], [8, 8])
    how = {"name": "x", "layout": "NCHW", "size_px": PX, "mean": MEAN, "std": STD}
    return network, about("visual", how, "NCHW", [6, 4, 4])


def audio(onnx):
    weight = np.random.default_rng(1).normal(size=(5, 1, 500)).astype(np.float32)
    network = model(onnx, weight, ["b", 1, "samples"], ["b", 5, "t"], [500])
    how = {
        "name": "x",
        "layout": "NCL",
        "rate_hz": RATE_HZ,
        "window_s": WINDOW_S,
        "spectrogram": "none",
    }
    return network, about("audio", how, "NCT", [5, 8])


def model(onnx, weight, input_shape, output_shape, strides):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=strides)
    graph = helper.make_graph(
        [node],
        "encoder",
        [helper.make_tensor_value_info("x", kind, input_shape)],
        [helper.make_tensor_value_info("y", kind, output_shape)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def about(modality, how, layout, shape):
    output = {"name": "y", "layout": layout, "shape": shape}
    return {"modality": modality, "file": "encoder.onnx", "input": how, "output": output}


def test_tokens_are_the_map_of_the_network_in_the_declared_order(write, onnx):
    pair = load_backbone(f"{write('eyes', 'visual')}+{write('ears', 'audio')}")
    assert pair.name == "eyes+ears"
    assert pair.spec == MediaSpec(frame_px=PX, rate_hz=RATE_HZ, window_s=WINDOW_S)
    assert (pair.visual_grid, pair.visual_dim) == ((4, 4), 6)
    assert (pair.audio_grid, pair.audio_dim) == ((1, 8), 5)
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (2, 3, PX, PX, 3), dtype=np.uint8)
    samples = rng.integers(-9000, 9000, (2, 4000), dtype=np.int16)
    fit(pair, MediaSpec(num_frames=3, frame_px=PX, rate_hz=RATE_HZ, window_s=WINDOW_S))
    weight = np.random.default_rng(0).normal(size=(6, 3, 8, 8))
    x = (frames / 255 - MEAN) / STD  # [B, K, S, S, 3]
    tiles = x.reshape(2, 3, 4, 8, 4, 8, 3)
    wanted = np.einsum("bkrhcwi,dihw->bkrcd", tiles, weight).reshape(2, 48, 6)
    found = pair.visual_tokens(torch.from_numpy(frames))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    weight = np.random.default_rng(1).normal(size=(5, 1, 500))
    wanted = (samples / 32768).reshape(2, 8, 500) @ weight[:, 0].T
    np.testing.assert_allclose(
        pair.audio_tokens(torch.from_numpy(samples)), wanted, rtol=1e-3, atol=1e-4
    )


def test_other_layouts_of_input_and_output(write, onnx):
    helper = onnx.helper
    folder = write("eyes", "visual", input__layout="NHWC", output__layout="NWHC")
    network, _ = visual(onnx)
    graph = network.graph  # NHWC in, NWHC out
    graph.node.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
    graph.node.append(helper.make_node("Transpose", ["y"], ["out"], perm=[0, 3, 2, 1]))
    for value, name, shape in (
        (graph.input, "image", (PX, PX, 3)),
        (graph.output, "out", (4, 4, 6)),
    ):
        del value[:]
        kind = onnx.TensorProto.FLOAT
        value.append(helper.make_tensor_value_info(name, kind, ["b", *shape]))
    (folder / "encoder.onnx").write_bytes(network.SerializeToString())
    described = json.loads((folder / "encoder.json").read_text())
    described["input"]["name"], described["output"]["name"] = "image", "out"
    described["output"]["shape"] = [4, 4, 6]
    (folder / "encoder.json").write_text(json.dumps(described))
    plain = load_backbone(f"{write('plain', 'visual')}+resnet18-random")
    turned = load_backbone(f"{folder}+resnet18-random")
    frames = torch.randint(0, 256, (2, 1, PX, PX, 3), dtype=torch.uint8)
    torch.testing.assert_close(turned.visual_tokens(frames), plain.visual_tokens(frames))
    assert turned.fingerprint != plain.fingerprint


def test_default_tokens_fit_coarse_maps(write):
    assert load_to_prepare(f"{write('eyes', 'visual')}+resnet18-random").name == (
        "eyes+resnet18-random@4x4+4x4"
    )
    pair = load_to_prepare(f"{write('eyes', 'visual')}+{write('ears', 'audio')}")
    assert pair.name == "eyes+ears@4x4+1x4"


def test_other_bytes_or_settings_have_another_fingerprint(write):
    def fingerprint():
        return load_backbone(f"{folder}+resnet18-random").fingerprint

    torch.manual_seed(0)
    folder = write("eyes", "visual")
    with torch.random.fork_rng():
        first = load_backbone(f"{folder}+resnet18-random")
    same = copy.deepcopy(first)
    assert same.fingerprint == first.fingerprint
    settings = dict(first.visual.settings)
    write("eyes", "visual", input__mean=[0.0, 0.2, 0.3])
    other = load_backbone(f"{folder}+resnet18-random")
    assert other.visual.settings != settings
    write("eyes", "visual")
    network = (folder / "encoder.onnx").read_bytes()
    (folder / "encoder.onnx").write_bytes(network + b"\x72\x00")  # an empty, ignored entry
    assert load_backbone(f"{folder}+resnet18-random").visual.settings != settings


def refusal(name):
    with pytest.raises(InputError) as caught:
        load_backbone(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"output__shape": [6, 2, 2]},
            r"shape \[1, 6, 4, 4\] for 1 inputs.*declares \[1, 6, 2, 2\]",
        ),
        ({"output__name": "z"}, "cannot process an input of shape.*correct its encoder.json"),
        ({"input__size_px": 64}, "cannot process an input of shape"),
        ({"output__layout": "NCHH"}, "output layout 'NCHH' is invalid"),
        ({"output__layout": "NCFT"}, "output layout 'NCFT' is invalid"),
        ({"output__shape": [6, 4]}, "must list the 3 sizes of CHW"),
        ({"input__layout": "CHW"}, "'CHW'.*NCHW"),
        ({"input__std": [0, 1, 1]}, "std, which is positive"),
        ({"input__mean": [0, 1]}, "three numbers"),
        ({"input__size_px": 5}, "size_px from 16"),
        ({"modality": "smell"}, "'smell'.*visual"),
        ({"file": "../encoder.onnx"}, "which is not in its folder"),
        ({"file": "gone.onnx"}, "which is not in its folder"),
        ({"drop": ["std"]}, "must have exactly the entries layout, mean, name, size_px, std"),
    ],
)
def test_a_wrong_description_is_one_sentence(write, changes, words):
    assert re.search(words, refusal(f"{write('eyes', 'visual', **changes)}+resnet18-random"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input__spectrogram": "mel"}, "'mel'.*none"),
        ({"input__rate_hz": 0}, "a whole rate_hz and a window_s, positive"),
        ({"input__window_s": 1e9}, "together at most"),
        ({"output__shape": [5, 9]}, r"shape \[1, 5, 8\].*declares \[1, 5, 9\]"),
    ],
)
def test_a_wrong_description_of_audio(write, changes, words):
    assert re.search(words, refusal(f"resnet18-random+{write('ears', 'audio', **changes)}"))


def test_what_a_network_in_onnx_cannot_do(write):
    folder = write("ears", "audio")
    assert "is audio only" in refusal(str(folder))
    assert "swap the two names" in refusal(f"{folder}+resnet18-random")
    pair = load_backbone(f"resnet18-random+{folder}")
    with pytest.raises(InputError, match="which cannot be trained: leave out --regime end-to-end"):
        pair.train()
    with pytest.raises(InputError, match=r"takes 0\.5 s of audio, not 0\.25"):
        fit(pair, MediaSpec(frame_px=246, rate_hz=RATE_HZ, window_s=0.25))
    with pytest.raises(InputError, match="cannot be trained: restore or recreate the model"):
        load_backbone(pair.name, weights=False, record=pair.record)
    pair.eval()
    with pytest.raises(InputError, match="which torch cannot trace"):
        torch.export.export(pair.audio, (torch.zeros(2, 4000),))
    (folder / "encoder.onnx").write_bytes(b"not a network")
    assert "cannot be opened by onnxruntime" in refusal(f"resnet18-random+{folder}")


def test_commands_prepare_train_and_predict_with_them(write, tiny, cign, tmp_path):
    torch.set_num_threads(1)
    name = f"{write('eyes', 'visual')}+{write('ears', 'audio')}"
    store, run = tmp_path / "store", tmp_path / "run"
    code, _, err = cign("prepare", tiny[0], store, "--backbone", name, "--workers", 0)
    assert code == 0, err
    assert cign("train", store, "--out", run, "--set", "width=100")[0] == 0
    clip = min(tiny[0].rglob("test/**/*.mp4"))
    code, out, err = cign("predict", run, clip, "--json")
    assert code == 0, err
    assert json.loads(out)[0]["error"] is None
    write("ears", "audio", input__spectrogram="none", output__name="y", input__window_s=0.5)
    assert cign("predict", run, clip)[0] == 0
    network = tmp_path / "ears" / "encoder.onnx"
    network.write_bytes(network.read_bytes() + b"\x72\x00")
    code, out, err = cign("predict", run, clip)
    assert (code, out) == (2, "")
    assert "has other weights than the model was trained with" in err


def test_an_output_of_another_shape_is_refused_by_the_commands(write, tiny, cign, tmp_path):
    """When clips are prepared, and later, when the file of a model's encoder was replaced."""
    torch.set_num_threads(1)

    def refusal(*words):
        code, out, err = cign(*words)
        assert (code, out) == (2, "")
        (sentence,) = [line for line in err.splitlines() if line.startswith("cign: ")]
        return sentence

    name = f"{write('eyes', 'visual')}+{write('ears', 'audio')}"
    store, run = tmp_path / "store", tmp_path / "run"
    assert cign("prepare", tiny[0], store, "--backbone", name, "--workers", 0)[0] == 0
    assert cign("train", store, "--out", run, "--set", "width=50")[0] == 0
    write("eyes", "visual", output__shape=[6, 2, 2])
    clip = min(tiny[0].rglob("test/**/*.mp4"))
    prepare = ("prepare", tiny[0], tmp_path / "other", "--backbone", name, "--workers", 0)
    add = ("add", run, tiny[0], "--out", tmp_path / "more", "--workers", 0)
    for words in (prepare, ("predict", run, clip), add):
        sentence = refusal(*words)
        assert "returns an output of shape [1, 6, 4, 4]" in sentence
        assert "declares [1, 6, 2, 2]: correct output.shape" in sentence
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "more").exists()
