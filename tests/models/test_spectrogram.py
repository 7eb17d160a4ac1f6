"""The spectrogram against SciPy with the release's settings."""

import numpy as np
import pytest
import scipy.signal
import torch

from cign.backbones.preprocessing.spectrogram import LogSpectrogram, PowerSpectrogram, as_waveform
from refusals import input_error

RATE_HZ = 22050


def scipy_power(waveform):
    return scipy.signal.spectrogram(waveform, RATE_HZ, nperseg=512, noverlap=274)[2]


@pytest.fixture(scope="module")
def waveform():
    rng = np.random.default_rng(0)
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t * (1 + 0.1 * t))
    return tone + 0.05 * rng.normal(size=len(t)) + 0.2


def test_power_matches_scipy_in_float64(waveform):
    ours = PowerSpectrogram(rate_hz=RATE_HZ)(torch.from_numpy(waveform)[None])[0].numpy()
    theirs = scipy_power(waveform)
    assert ours.shape == theirs.shape == (257, 276)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=theirs.max() * 1e-16)


@pytest.mark.parametrize(("segment", "overlap"), [(400, 240), (511, 200)])
def test_other_segments_match_scipy_too(waveform, segment, overlap):
    module = PowerSpectrogram(rate_hz=RATE_HZ, segment=segment, overlap=overlap)
    ours = module(torch.from_numpy(waveform)[None])[0].numpy()
    theirs = scipy.signal.spectrogram(waveform, RATE_HZ, nperseg=segment, noverlap=overlap)[2]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=theirs.max() * 1e-16)


def test_float32_logarithm_is_near_scipys_in_absolute_terms(waveform):
    audio = np.round(waveform.clip(-1, 1) * 32767).astype(np.int16)
    ours = LogSpectrogram(rate_hz=RATE_HZ)(torch.from_numpy(audio)[None])[0].numpy()
    theirs = np.log(scipy_power(audio / 32768.0) + 1e-7) / 12
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-4


def test_int16_becomes_minus_one_to_one():
    assert as_waveform(torch.tensor([-32768, 0, 16384], dtype=torch.int16)).tolist() == [-1, 0, 0.5]


def test_too_short_a_waveform_is_refused():
    with input_error("bad-value", "100", "512"):
        PowerSpectrogram(rate_hz=RATE_HZ)(torch.zeros(1, 100))
