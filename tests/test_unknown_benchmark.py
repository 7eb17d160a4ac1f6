"""`benchmarks/unknown.py` and its scores, against SciPy and scikit-learn."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp
from scipy.stats import ttest_1samp
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score

from benchmark_scripts import BENCHMARKS, script

MODALITIES = ("audio", "visual", "audio_visual")


@pytest.fixture(scope="module")
def unknown():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # it imports the scores beside it
        return script("unknown")


@pytest.fixture(scope="module")
def scores():
    return script("unknown_scores")


def world(module, seed, **skill):
    """Two steps of 200 clips; a score's skill is how far unknown clips lie above known ones."""
    rng = np.random.default_rng(seed)
    steps = []
    for num_known in (80, 140):
        is_known = np.arange(200) < num_known
        values = {
            name: rng.normal(size=200) + np.where(is_known, 0.0, shift)
            for name, shift in skill.items()
        }
        step = module.Step(known=is_known, unknown=~is_known)
        for modality in MODALITIES:
            step.right[modality] = rng.random(200) < 0.8
            step.values[modality] = values
            step.thresholds[modality] = {name: 1.5 for name in skill if name != "oracle"}
        steps.append(step)
    store = SimpleNamespace(folder=Path(f"world{seed}"), info={}, num_clips=200)
    return module.World(store=store, chosen="combined", steps=steps)


def wanted(one, score):
    found = [roc_auc_score(s.unknown, s.values["audio_visual"][score]) for s in one.steps]
    return 100 * np.mean(found)


def test_means_differences_and_what_was_asked(unknown):
    worlds = [
        world(unknown, seed, combined=2.0, max_probability=0.5, oracle=1.5) for seed in (2, 3, 4)
    ]
    text = unknown.report(worlds, 2)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    for score in ("combined", "max_probability", "oracle"):
        values = [wanted(one, score) for one in worlds]
        assert [one.mean(score, "auroc") for one in worlds] == pytest.approx(values)
        assert f"| {score} | {np.mean(values):.1f} |" in text
        cells = " | ".join(f"{x:.1f}" for x in (*values, np.mean(values)))
        assert f"| {score} | {cells} |" in text
    gaps = [wanted(one, "combined") - wanted(one, "max_probability") for one in worlds]
    low, high = ttest_1samp(gaps, 0).confidence_interval()
    _, mean, ends, kind = rows["combined minus max_probability"].split(" | ")
    assert float(mean) == pytest.approx(np.mean(gaps), abs=0.06)
    printed = [float(end) for end in ends.split(" to ")]
    assert printed[0] <= low + 0.06
    assert printed[1] >= high - 0.06
    assert kind.removesuffix(" |") in ("student_t", "bootstrap")
    assert rows["mean"].count("yes (") == 2


def test_what_does_not_hold_is_said(unknown):
    poor = world(unknown, 5, combined=0.2, max_probability=0.5, oracle=2.0)
    (line,) = [line for line in unknown.verdict([poor]) if line.startswith("| world5")]
    assert line.count("no (") == 2
    even = world(unknown, 6, combined=2.0, max_probability=2.0, oracle=2.0)
    (line,) = [line for line in unknown.verdict([even]) if line.startswith("| world6")]
    assert "yes (" in line
    assert "not required: the oracle is" in line


def test_energies_are_scipys(scores):
    z = np.random.default_rng(0).normal(0, 4, (20, 7))
    logits = torch.from_numpy(z)
    assert np.allclose(scores.energy(logits), -logsumexp(z, axis=1), atol=1e-12)
    assert np.allclose(scores.joint_energy(logits), -np.logaddexp(0, z).sum(axis=1), atol=1e-10)


def test_disagreement_is_scipys_divergence(scores):
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(6), 12), rng.dirichlet(np.ones(6), 12)
    found = scores.disagreement(torch.from_numpy(p), torch.from_numpy(3 * q))  # normalised itself
    assert np.allclose(found, jensenshannon(p, q, axis=1, base=2) ** 2, atol=1e-12)
    one, other = torch.eye(2)
    assert scores.disagreement(one, other) == 1
    assert scores.disagreement(one, one) == 0


def test_mahalanobis_is_scikit_learns_with_means_and_scatter_from_sums(scores):
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), [20, 10, 40])
    x = rng.normal(size=(70, 5)) + 3 * rng.normal(size=(3, 5))[labels]
    new = rng.normal(0, 2, (11, 5))
    y = np.eye(3)[labels]
    sums = (x.T @ x, x.T @ y, y.sum(axis=0))
    found = scores.Mahalanobis(*(torch.from_numpy(one) for one in sums), ridge=1e-9)(
        torch.from_numpy(new)
    )
    centred = x - np.stack([x[labels == c].mean(axis=0) for c in range(3)])[labels]
    fitted = EmpiricalCovariance(assume_centered=True).fit(centred)
    for c in range(3):
        wanted = fitted.mahalanobis(new - x[labels == c].mean(axis=0)) / len(x)
        assert np.allclose(found[:, c], wanted, rtol=1e-3)
