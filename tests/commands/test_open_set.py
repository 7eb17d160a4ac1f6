"""`cign evaluate` where a store has unknown clips; `cign predict --explain`."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from cign.learner import Learner
from cign.open_set.rule import SCORES

from .adding import refused, write


@pytest.fixture(scope="module")
def stranger(world, tmp_path_factory):
    """A model that does not know one of the four classes by its name."""
    learner = Learner("analytic", options={"width": 40, "ridge": [1.0]})
    learner.learn(world.store, tasks=2)
    learner.rename(learner.model.classes[0], "something else")
    folder = tmp_path_factory.mktemp("stranger") / "model"
    learner.save(folder)
    return folder


def test_evaluate_reports_how_unknown_clips_are_told(cign, world, stranger):
    code, out, _ = cign("evaluate", stranger, world.store, "--json")
    found = json.loads(out)
    assert (code, found["num_clips"]) == (0, 9)
    report = found["open_set"]
    assert (report["num_known"], report["num_unknown"]) == (9, 3)
    assert report["score"] == "combined"
    assert set(SCORES) == set(report["modalities"]["audio"])
    # The model's own score, once more from its predictions on the files.
    files = world.test_clips()
    learner = Learner.load(stranger)
    predictions = list(learner.predict(files))
    unknown = [not any(name in one.file for name in learner.model.classes) for one in predictions]
    assert sum(unknown) == 3
    wanted = 100 * roc_auc_score(unknown, [one.unknown for one in predictions])
    # Scores of files are rounded, and a pair may change places.
    assert report["modalities"]["audio_visual"]["combined"]["auroc"] == pytest.approx(wanted, abs=4)
    right = [one.label in one.file for one in predictions]
    assert report["modalities"]["audio_visual"]["combined"]["oscr"] <= 100 * np.mean(
        np.array(right)[~np.array(unknown)]
    )
    out = cign("evaluate", stranger, world.store)[1]
    assert "3 clips of unknown classes and 9 of known classes" in out
    assert "combined (this model's)" in out
    assert "above the threshold" in out


@pytest.mark.parametrize(("threshold", "decision"), [(1.0, False), (1e-6, True)])
def test_thresholds_changed_in_model_json_apply(
    cign, world, stranger, tmp_path, threshold, decision
):
    """As docs/predict.md says."""
    model = tmp_path / "model"
    shutil.copytree(stranger, model)
    about = json.loads((model / "model.json").read_text())
    about["unknown"]["thresholds"] = dict.fromkeys(about["unknown"]["thresholds"], threshold)
    (model / "model.json").write_text(json.dumps(about))
    code, out, _ = cign("predict", model, *world.test_clips(), "--json")
    assert code == 0
    assert {one["is_unknown"] for one in json.loads(out)} == {decision}


def test_a_run_on_a_store_with_unknown_clips_has_its_open_set_numbers(
    cign, tiny, rows, recipe, tmp_path
):
    found, classes = rows
    listed = [dict(row) for row in found if (row["labels"], row["split"]) != (classes[1], "train")]
    for row in listed:
        if row["labels"] == classes[1]:
            row["split"] = "unknown"
    write(tmp_path / "clips.csv", listed)
    made = ("prepare", tmp_path / "clips.csv", tmp_path / "store", "--media", tiny[0])
    assert cign(*made, "--backbone", "small-random", "--workers", 0)[0] == 0
    run = tmp_path / "run"
    assert cign("train", tmp_path / "store", "--out", run, "--recipe", recipe, "--tasks", 3)[0] == 0

    # From the file of predictions, in which every clip says what it shows.
    table = pq.read_table(run / "predictions.parquet").to_pylist()
    numbers = json.loads((run / "metrics.json").read_text())["open_set"]
    order = json.loads((run / "metrics.json").read_text())["classes"]
    assert classes[1] not in order
    for modality in ("audio", "visual", "audio_visual"):
        wanted = []
        for k in range(3):
            some = [row for row in table if row["task"] == k + 1]
            unknown = [row["labels"][0] not in order[: k + 1] for row in some]
            assert 0 < sum(unknown) < len(some)
            wanted.append(100 * roc_auc_score(unknown, [-max(row[modality]) for row in some]))
        steps = numbers["after_each_task"][modality]
        assert [step["auroc"] for step in steps] == pytest.approx(wanted)
        assert numbers["modalities"][modality]["auroc"] == pytest.approx(np.mean(wanted))
        assert numbers["modalities"][modality]["auroc_last"] == pytest.approx(wanted[-1])
        assert numbers["modalities"][modality]["oscr"] <= 100

    out = cign("metrics", run)[1]
    shown = [f"{numbers['modalities'][r]['oscr']:.1f}" for r in ("audio", "visual", "audio_visual")]
    assert ["oscr", *shown] in [line.split() for line in out.splitlines()]
    assert "  oscr = open-set classification rate, area under" in out
    (plain,) = json.loads(cign("metrics", run, "--json")[1])
    assert plain["numbers"]["open_set"] == numbers["modalities"]
    assert plain["tables"]["open_set_after_each_task"] == numbers["after_each_task"]
    page = (run / "report.html").read_text()
    assert "Detection of unknown classes" in page
    assert plain["definitions"]["open_set"]["oscr"] in page


def test_evaluate_says_nothing_of_unknown_clips_without_any(cign, world):
    assert "open_set" not in json.loads(cign("evaluate", world.run, world.store, "--json")[1])


def test_predict_draws_a_picture_of_every_file_and_leaves_the_answer_as_it_was(
    cign, world, tmp_path
):
    files = world.test_clips()[:2]
    plain = cign("predict", world.run, *files, files[0], "--json")[1]
    code, out, err = cign(
        *("predict", world.run, *files, files[0], "--json"), "--explain", tmp_path / "a" / "b"
    )
    assert (code, out) == (0, plain)
    pictures = sorted((tmp_path / "a" / "b").iterdir())
    assert len(pictures) == 3
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size == (1280, 760)
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    assert "3 images in" in err
    assert "method finetune has no maps" in err


def test_predict_names_windows_by_their_beginning(cign, world, tmp_path):
    (clip, *_) = world.test_clips()
    assert cign("predict", world.run, clip, "--every", 0.5, "--explain", tmp_path)[0] == 0
    stem = clip.rsplit("/", 1)[1].removesuffix(".mp4")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{stem}_00000.00s.png", f"{stem}_00000.50s.png"]


def test_predict_refuses_to_draw_what_shows_nothing(cign, world, tmp_path):
    clip, run = world.test_clips()[0], world.run
    refused(cign("predict", run, clip, "--explain-as", "mp4"), "give --explain DIR")
    to = ("--explain", tmp_path / "x")
    refused(cign("predict", run, clip, *to, "--explain-as", "gif"), "'gif'", "mp4")
    refused(cign("predict", run, clip, *to, "--explain-as", "mp4"), "give --every")
    assert not (tmp_path / "x").exists()
    refused(cign("predict", run, clip, "--explain", clip), "is a file")
