"""`benchmarks/audit.py`: plantings, scores and its page, on a small store of features."""

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.data.prepare.features import prepare_features
from cign.data.store import Store


@pytest.fixture(scope="module")
def audit():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield script("audit")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Features of 160 clips of four classes, of which 40 are test clips."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    centre = 2.0 * np.eye(4, 24)[labels]
    features = {
        "audio": (centre[:, None] + rng.normal(size=(160, 3, 24))).astype(np.float16),
        "visual": (centre[:, None] + rng.normal(size=(160, 5, 24))).astype(np.float16),
        "labels": np.array(["a", "b", "c", "d"])[labels],
        "split": np.array(["train"] * 80 + ["val"] * 40 + ["test"] * 40),
    }
    folder = tmp_path_factory.mktemp("features") / "store"
    prepare_features(features, folder, encoders="made")
    return folder


def test_a_planting_changes_the_labels_of_training_and_validation_clips(audit, place):
    store = Store.open(place)
    view, wrong = audit.planted(store, 3)
    assert len(wrong) == 6
    for before, after in zip(store.table.clips, view.table.clips, strict=True):
        assert (before.labels != after.labels) == (after.id in wrong)
        assert after.split == ("unknown" if before.split == "test" else "train")
    again = audit.planted(store, 3)[1]
    others = audit.planted(store, 4)[1]
    assert again == wrong != others


def test_precision_counts_as_many_clips_as_are_wrong(audit):
    wrong = np.array([True, False, True, False, False])
    assert audit.precision_at(np.array([5.0, 4.0, 3.0, 2.0, 1.0]), wrong) == 0.5
    assert audit.precision_at(np.array([5.0, 1.0, 3.0, 2.0, 1.0]), wrong) == 1.0


def test_the_page_has_the_means_of_saved_plantings(audit, place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(audit, "NUM_PLANTINGS", 3)
    argv = ["audit.py", str(place), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "a")]
    monkeypatch.setattr("sys.argv", [*argv, "--minutes", "0"])
    monkeypatch.delenv("CIGN_REAL", raising=False)
    with pytest.raises(SystemExit, match="repeat the command"):
        audit.main()
    options = {"width": 60, "ridge": [1.0, 5.0], "token_share": [0.2], "contrast": [0.0]}
    results = [audit.result_of(Store.open(place), seed, options) for seed in range(3)]
    assert [one["num_wrong"] for one in results] == [6, 6, 6]
    for one in results:
        assert one["scores"]["`cign audit`"] >= 5 / 6
        assert one["scores"]["nearest neighbours"] >= 4 / 6
    fixed = audit.options_from(results[0]["settings"])
    assert fixed["token_share"] == [0.2]
    assert set(fixed["ridge"]) <= {1.0, 5.0}
    lines = audit.page({"store": results}, "the command")
    (row,) = [line for line in lines if line.startswith("| `cign audit` |")]
    mean = np.mean([one["scores"]["`cign audit`"] for one in results])
    assert f"| {mean:.3f} [" in row
    capsys.readouterr()
