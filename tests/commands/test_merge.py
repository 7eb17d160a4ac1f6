"""`cign merge` and `cign resolve` on models of real files."""

import json
import shutil

import numpy as np
import pytest

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.learner import Learner
from cign.saved_model.files import folder_in_use, read_about

from .adding import OPTIONS, refused, state_of, write

NAMES = ("analytic", "cign_analytic")
ADAPTATION = {"num_epochs": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def halves(tiny, rows, tmp_path_factory):
    """Stores of the first two classes and of the last two, of the same corpus."""
    folder = tmp_path_factory.mktemp("halves")
    found, classes = rows
    stores = []
    for number, some in enumerate((classes[:2], classes[2:])):
        table = write(folder / f"{number}.csv", [row for row in found if row["labels"] in some])
        stores.append(folder / f"store{number}")
        backbone = load_backbone("small-random")
        prepare(table, stores[-1], backbone=backbone, media=[tiny[0]], num_workers=0)
    return stores


@pytest.fixture(scope="module")
def pairs(halves, tmp_path_factory):
    """Runs of each method on both stores."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in NAMES:
        for number, store in enumerate(halves):
            learner = Learner(name, options=OPTIONS[name])
            learner.learn(store, tasks=1, out=folder / name / str(number))
    return folder


def told(learner, files):
    """Probabilities of each modality by class name."""
    return {
        (p.file, name, one["label"]): one["probability"]
        for p in learner.predict(files, top=99)
        for name, modality in p.modalities.items()
        for one in modality
    }


@pytest.mark.parametrize("name", NAMES)
def test_merged_runs_predict_files_as_one_that_learned_all_clips(
    name, cign, pairs, rows, tiny, tmp_path
):
    runs = pairs / name / "0", pairs / name / "1"
    before = [state_of(run) for run in runs]
    code, out, err = cign("merge", *runs, "--out", tmp_path / "both")
    assert code == 0, err
    assert f"new classes: {rows[1][2]} (6 clips), {rows[1][3]} (6 clips)" in out
    assert "model A, 4 clips for validation: accuracy" in out
    assert "model B, 4 clips for validation: accuracy" in out
    assert f"{tmp_path / 'both'}: 4 classes; {runs[0] / 'model'} is unchanged" in out
    assert [state_of(run) for run in runs] == before
    at_once = Learner(name, options=OPTIONS[name]).learn(tiny[1], tasks=1)
    merged = Learner.load(tmp_path / "both")
    assert merged.classes == at_once.classes
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    found, wanted = told(merged, files), told(at_once, files)
    assert found.keys() == wanted.keys()
    keys = sorted(wanted)
    np.testing.assert_allclose([found[k] for k in keys], [wanted[k] for k in keys], atol=1e-4)
    assert read_about(tmp_path / "both")["results"] == {}
    assert (tmp_path / "both" / "README.md").is_file()


def test_a_merge_in_place_is_a_version_that_can_be_undone(cign, pairs, tmp_path):
    model = shutil.copytree(pairs / "analytic" / "0" / "model", tmp_path / "model")
    before = state_of(model)
    refused(cign("merge", pairs / "analytic" / "0", pairs / "analytic" / "1"), "belongs to a run")
    code, out, err = cign("merge", model, pairs / "analytic" / "1", "--json")
    assert code == 0, err
    merged = json.loads(out)
    assert set(merged["clips"].values()) == {6}
    assert len(merged["effects"]) == 2
    code, out, _ = cign("versions", model)
    assert code == 0
    assert "merged with one of 2 classes" in " ".join(out.split())
    assert cign("versions", model, "--undo")[0] == 0
    assert {path.name: data for path, data in state_of(folder_in_use(model)).items()} == {
        path.name: data for path, data in before.items()
    }


def test_what_cannot_be_merged_is_refused_and_changes_nothing(cign, pairs, runs, tmp_path):
    model = shutil.copytree(pairs / "analytic" / "0" / "model", tmp_path / "model")
    before = state_of(model)
    refused(cign("merge", model), "is missing")
    refused(cign("merge", model, tmp_path / "none"), "none")
    refused(
        cign("merge", model, pairs / "cign_analytic" / "1"), "methods analytic and cign_analytic"
    )
    refused(cign("merge", model, runs / "ncm"), "no sums that can be added")
    refused(
        cign("merge", model, pairs / "analytic" / "1", "--settings", "C"), "'C'", "A, B, select"
    )
    refused(cign("resolve", model), "no setting was given", "ridge")
    refused(cign("resolve", model, "--ridge", "many"), "ridge", "'many'")
    refused(cign("resolve", model, "--ridge", "sound=3"), "sound.ridge is not a setting")
    refused(cign("resolve", runs / "finetune", "--ridge", "3", "--out", tmp_path / "x"), "finetune")
    assert state_of(model) == before


def test_a_model_is_solved_again_and_undone(cign, pairs, tiny, tmp_path):
    model = shutil.copytree(pairs / "analytic" / "0" / "model", tmp_path / "model")
    before = state_of(model)
    code, out, err = cign(
        "resolve", model, "--ridge", "audio=40,visual=2", "--set", "temperature=0.2"
    )
    assert code == 0, err
    assert "changed: audio ridge 5 -> 40, temperature 0.1 -> 0.2" in " ".join(out.split())
    assert "4 clips for validation: accuracy" in out
    solved = Learner.load(model)
    assert solved.model.method.ridge_of("audio") == 40.0
    assert solved.model.method.ridge_of("visual") == 2.0
    fresh = Learner.load(pairs / "analytic" / "0")
    for modality, ridge in (("audio", 40.0), ("visual", 2.0)):
        sums = fresh.model.method
        gram = np.tril(sums.gram(modality).numpy())
        gram += np.tril(gram, -1).T
        system = gram + ridge * np.eye(len(gram))
        wanted = np.linalg.solve(system, sums.cross(modality).numpy())
        found = solved.model.method.of(modality).weights.numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    code, out, err = cign("add", model, tiny[1], "--json")
    assert code == 0, err
    assert Learner.load(model).model.method.ridge_of("audio") == 40.0
    for _ in range(2):
        assert cign("versions", model, "--undo")[0] == 0
    assert {path.name: data for path, data in state_of(folder_in_use(model)).items()} == {
        path.name: data for path, data in before.items()
    }


def test_encoders_trained_on_different_clips_are_refused(cign, halves, tmp_path):
    options = {**OPTIONS["analytic"], "adaptation": ADAPTATION}
    for number, store in enumerate((*halves, halves[0])):
        learner = Learner("analytic", options=options, regime="end-to-end", backbone="small-random")
        learner.learn(store, tasks=1, out=tmp_path / str(number))
    out = tmp_path / "out"
    refused(
        cign("merge", tmp_path / "0", tmp_path / "1", "--out", out),
        "encoders that were trained on different clips",
    )
    assert not out.exists()
    # Encoders that are equal bit for bit have the same features.
    code, _, err = cign("merge", tmp_path / "0", tmp_path / "2", "--out", out)
    assert code == 0, err
    assert "equal sums" in " ".join(err.split())
    assert Learner.load(out).model.method.class_clips.tolist() == [12.0, 12.0]
