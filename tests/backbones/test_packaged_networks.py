"""Folded convolutions, their ONNX form, and the log mel spectrogram of aiSFX."""

import copy
import pickle

import numpy as np
import pytest
import scipy.signal
import torch
from torch import nn

from cign.backbones.packaged.accelerated import ONNXRUNTIME, TORCH, Accelerated, only_torch
from cign.backbones.packaged.convolutions import (
    RELU,
    RELU6,
    Convolution,
    Residual,
    convolutions,
    fold,
)
from cign.backbones.packaged.lite0 import lite0_network
from cign.backbones.packaged.sfx import SfxLogMel, sfx_network, warped_mel_filters


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        Convolution(3, 8, 3, stride=2, activation=RELU6),
        Residual(Convolution(8, 8, 5, depthwise=True, activation=RELU), Convolution(8, 8, 1)),
        Convolution(8, 8, 5, stride=2, depthwise=True, activation=RELU6),
        nn.MaxPool2d(2),
    )


def test_folded_batch_normalisation_changes_nothing():
    torch.manual_seed(0)
    plain, norm = nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=1e-3).eval()
    nn.init.uniform_(norm.running_mean, -2, 2)
    nn.init.uniform_(norm.running_var, 0.1, 3)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.uniform_(norm.bias, -2, 2)
    network = nn.ModuleDict({"conv": plain, "norm": norm})
    layer = Convolution(4, 6, 3)
    layer.weight.data, layer.bias.data = fold(network.state_dict(), "conv", "norm", eps=1e-3)
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(layer(x), norm(plain(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_that_of_tensorflow(kernel, stride):
    """TensorFlow's `same`: (out - 1) * stride + kernel - size in all, the larger part last."""
    torch.manual_seed(0)
    layer, size = Convolution(2, 3, kernel, stride=stride), 12
    total = (size // stride - 1) * stride + kernel - size
    x = torch.randn(1, 2, size, size)
    padded = np.pad(x[0].numpy(), ((0, 0), *([(total // 2, total - total // 2)] * 2)))
    wanted = np.stack(
        [
            [
                [
                    (padded[:, i : i + kernel, j : j + kernel] * w).sum()
                    for j in range(0, size, stride)
                ]
                for i in range(0, size, stride)
            ]
            for w in layer.weight.detach().numpy()
        ]
    )
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), wanted, atol=1e-4)


def test_the_layouts_are_the_published_ones():
    lite0, sfx = lite0_network(), sfx_network()
    # Its 4,652,008 parameters without the classifier's; folding left one of two for each channel.
    weights = sum(p.numel() for p in lite0.parameters())
    channels = sum(len(layer.bias) for layer in convolutions(lite0))
    assert weights + channels == 4_652_008 - 1_281_000
    with torch.inference_mode():
        assert lite0(torch.zeros(1, 3, 224, 224)).shape == (1, 1280, 7, 7)
        assert sfx(torch.zeros(1, 1, 131, 96)).shape == (1, 512, 16, 12)


def test_onnxruntime_computes_the_same_until_weights_change(onnx):
    network = Accelerated(small_network()).eval()
    x = torch.randn(3, 3, 16, 24)
    assert network.runtime == TORCH  # not declared final
    network.freeze()
    assert network.runtime == ONNXRUNTIME
    with torch.no_grad():
        found = network(x)
        with only_torch():
            assert network.runtime == TORCH
            wanted = network(x)
    assert found.shape == wanted.shape == (3, 8, 2, 3)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert network(x).requires_grad  # with gradients, torch computes
    assert network.train().runtime == TORCH
    assert network.eval().runtime == ONNXRUNTIME
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        with torch.no_grad():
            torch.testing.assert_close(copied(x), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        convolutions(network)[0].weight.add_(0.1)
        assert network.runtime == TORCH
        assert float((network(x) - wanted).abs().max()) > 1e-3


def test_gpus_do_not_round_the_factors_of_frozen_encoders():
    setting, seen = torch.backends.cudnn.conv, []
    before = setting.fp32_precision
    network = Accelerated(small_network())
    network.network.register_forward_pre_hook(lambda *_: seen.append(setting.fp32_precision))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 16, 16))
        network.train()(torch.zeros(1, 3, 16, 16))
    assert seen == ["ieee", before]
    assert setting.fp32_precision == before


def test_tracing_sees_the_operations(onnx):
    network = Accelerated(small_network()).eval()
    network.freeze()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for strict in (False, True):
            program = torch.export.export(network, (x,), strict=strict)
            names = {str(node.target) for node in program.graph.nodes}
            assert any("conv2d" in name for name in names)
            torch.testing.assert_close(program.module()(x), network(x), rtol=1e-5, atol=1e-5)


def test_mel_bands_are_triangles_on_the_mel_scale_that_sum_to_one():
    filters = warped_mel_filters().double().numpy()
    assert filters.shape == (1025, 96)
    np.testing.assert_allclose(filters.sum(axis=0), 1, atol=1e-6)
    mel = 2595 * np.log10(1 + np.arange(1025) * 44_100 / 2048 / 700)
    step = 2595 * np.log10(1 + 22_050 / 700) / 97
    for band in (0, 5, 60, 95):
        triangle = np.maximum(0, 1 - np.abs(mel / step - (band + 1)))
        np.testing.assert_allclose(filters[:, band], triangle / triangle.sum(), atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 1024, 4000, 9216])
def test_the_log_mel_spectrogram_against_scipy(num_samples):
    y = np.random.default_rng(0).normal(0, 0.1, num_samples)
    frames = -(-num_samples // 1024) + 1
    padded = np.concatenate([np.zeros(1024), y, np.zeros(4096)])
    window = scipy.signal.get_window("hann", 2048, fftbins=False)
    wanted = []
    for t in range(frames):
        power = np.abs(np.fft.rfft(padded[t * 1024 : t * 1024 + 2048] * window)) ** 2
        mel = power @ warped_mel_filters().double().numpy()
        wanted.append(np.log10(1 + 1e4 * mel) / 9.457798957824707)
    found = SfxLogMel()(torch.from_numpy(y)[None].float())
    assert found.shape == (1, 96, SfxLogMel.num_frames(num_samples))
    np.testing.assert_allclose(found[0].T.numpy(), wanted, atol=2e-5)
