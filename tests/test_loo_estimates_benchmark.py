"""`benchmarks/loo_estimates.py`: its figures on a small store, and its exactness on real clips."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.data.prepare.features import prepare_features
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store

BUILT = os.environ.get("CIGN_REAL", "")
SETS = ("real24", "real24_clutter", "real24_duets")


@pytest.fixture(scope="module")
def loo():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield script("loo_estimates")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Features of 120 clips of four classes, three clips of each of 40 sources."""
    rng = np.random.default_rng(0)
    labels, source = np.arange(120) % 4, np.arange(120) // 12 * 4 + np.arange(120) % 4
    own = rng.normal(size=(40, 24))
    centre = 0.8 * np.eye(4, 24)[labels] + 0.5 * own[source]
    features = {
        "audio": (centre[:, None] + rng.normal(size=(120, 3, 24))).astype(np.float16),
        "visual": (centre[:, None] + rng.normal(size=(120, 5, 24))).astype(np.float16),
        "labels": np.array(["a", "b", "c", "d"])[labels],
        "split": np.array(["train"] * 120),
        "source": np.array([f"recording {n}" for n in source]),
    }
    place = tmp_path_factory.mktemp("features") / "store"
    prepare_features(features, place, encoders="made")
    return place


def test_leaving_out_equals_training_again(loo, store):
    difference, effect, compared = loo.largest_difference(
        Store.open(store), num_sources=10, width=40
    )
    assert compared == 30
    assert 0 < difference < 1e-8
    assert effect > 0.01


def test_the_folds_divide_the_sources(loo, store):
    pairs = loo.of_folds(Store.open(store), "analytic", {"width": 40, "ridge": [10.0]})
    assert pairs["audio"].shape == (5, 2)
    assert pairs["classes"].shape == (5, 2, 4)
    estimate, accuracy = pairs["audio_visual"].mean(axis=0)
    assert 30 < estimate < 99  # neither chance nor certainty
    assert abs(estimate - accuracy) < 15


def test_correlation_over_classes(loo):
    classes = np.array(
        [[[10.0, 50.0, 90.0], [20.0, 60.0, 100.0]], [[30.0, 50.0, 70.0], [40.0, np.nan, 80.0]]]
    )
    assert loo.class_correlation(classes) == pytest.approx(1.0)


def test_the_page_names_store_and_figures(loo, store, tmp_path, monkeypatch):
    out = tmp_path / "page.md"
    recipe = tmp_path / "fixed.yaml"
    recipe.write_text("method: analytic\noptions: {width: 30, ridge: [10.0]}\n")
    argv = [str(store), "--method", "analytic", "--recipe", str(recipe), "--width", "20"]
    monkeypatch.setattr("sys.argv", ["loo_estimates.py", *argv, "--out", str(out)])
    monkeypatch.setattr(loo, "NUM_SOURCES", 3)
    loo.main()
    tables = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith("| st")]
    headings = [row for row in tables if "modality" in row or "clips compared" in row]
    exact, *of_modalities = [row for row in tables if row not in headings]
    assert len(headings) == 2
    assert float(exact[2]) < 1e-8
    assert [row[1] for row in of_modalities] == ["audio", "visual", "audio-visual"]
    for row in of_modalities:
        assert float(row[3]) - float(row[2]) == pytest.approx(float(row[4]), abs=0.11)


@pytest.mark.slow
@pytest.mark.skipif(not BUILT, reason="CIGN_REAL names no folder with built sets")
@pytest.mark.parametrize("name", SETS)
def test_leaving_out_equals_training_again_on_real_clips(loo, name, tmp_path):
    place = Path(BUILT) / name
    if not (place / "store.json").is_file():
        from cign.backbones.registry import load_backbone

        clips, place = place / "clips.csv", tmp_path / "store"
        prepare(clips, place, backbone=load_backbone("lite0+sfx"))
    difference, effect, compared = loo.largest_difference(
        Store.open(place), num_sources=50, width=100
    )
    assert compared >= 50
    assert difference < 1e-8
    assert effect > 0.01
