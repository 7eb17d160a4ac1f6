"""Filter banks held against the feature extractors that the networks were published with."""

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, ClapFeatureExtractor

from cign.backbones.hub.filter_banks import (
    ClapLogMel,
    KaldiFilterBank,
    clap_filters,
    kaldi_filters,
)


def noise(num_samples, seed=0):
    """Noise that swells from silence, so that the floor of the logarithm is met, too."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_samples) * np.linspace(0, 0.1, num_samples)
    return x.astype(np.float32)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-3), (torch.float64, 2e-6)])
def test_the_kaldi_bank_is_that_of_asts_extractor(dtype, most):
    x = noise(16_000)
    bank = KaldiFilterBank()
    bank.window = torch.hann_window(400, periodic=False, dtype=torch.float64).to(dtype)
    bank.filters = kaldi_filters(128, 512, 16_000).to(dtype)
    found = bank(torch.from_numpy(x)[None].to(dtype))[0].numpy()
    assert len(found) == bank.num_frames(16_000) == 98
    theirs = ASTFeatureExtractor(do_normalize=False, max_length=98)
    wanted = theirs(x, sampling_rate=16_000)["input_values"][0]
    assert np.abs(found - wanted).max() < most


@pytest.mark.parametrize(("truncation", "slaney"), [("fusion", False), ("rand_trunc", True)])
def test_the_mel_spectrogram_is_that_of_claps_extractor(truncation, slaney):
    x = noise(96_000)
    theirs = ClapFeatureExtractor(truncation=truncation, max_length_s=2)
    wanted = theirs(x, sampling_rate=48_000)["input_features"][0][0]
    found = ClapLogMel(slaney=slaney)(torch.from_numpy(x)[None])[0].numpy()
    assert found.shape == wanted.shape == (201, 64)
    assert np.abs(found - wanted).max() < 2e-3  # of about 100 decibels
    filters = clap_filters(64, 1024, 48_000, 0.0, 14_000.0, slaney=slaney).numpy()
    published = theirs.mel_filters_slaney if slaney else theirs.mel_filters
    np.testing.assert_allclose(filters, published, atol=1e-12)


def test_silence_stays_finite():
    silence = torch.zeros(1, 16_000)
    assert torch.isfinite(KaldiFilterBank()(silence)).all()
    assert torch.isfinite(ClapLogMel()(silence)).all()
