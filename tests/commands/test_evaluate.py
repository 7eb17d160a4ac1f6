"""`cign evaluate`: recall of each class, confusions in words, and the results of each clip."""

import csv
import dataclasses
import json
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from cign.data.store import Store
from cign.inference.clip_results import ClipResults
from cign.learner import Learner

from .adding import refused


@pytest.fixture(scope="module")
def answers(world):
    """What `cign predict` says of the test clips: path -> true class, object of --json."""
    learner = Learner.load(world.run)
    files = world.test_clips()
    found = {}
    for one in learner.predict(files, top=4):
        found[one.file] = one.file.split("/")[-2], one
    return found


@pytest.fixture(scope="module")
def results(world, tmp_path_factory):
    """Results of each clip in all three formats."""
    folder = tmp_path_factory.mktemp("results")
    learner = Learner.load(world.run)
    for kind in ("csv", "parquet", "json"):
        learner.evaluate(world.store, out=folder / f"clips.{kind}")
    return folder


def test_recall_of_each_class_and_confusions_are_those_of_the_predictions(cign, world, answers):
    code, out, _ = cign("evaluate", world.run, world.store, "--json")
    found = json.loads(out)
    assert code == 0
    assert len(found["classes"]) == 4
    for one in found["classes"]:
        told = [said.label for true, said in answers.values() if true == one["name"]]
        right = sum(label == one["name"] for label in told)
        ends = binomtest(right, len(told)).proportion_ci(method="wilson")
        assert one["num_clips"] == len(told) == 3
        assert one["recall"] == pytest.approx(100 * right / 3)
        assert (one["low"], one["high"]) == pytest.approx((100 * ends.low, 100 * ends.high))
    wanted = Counter((true, said.label) for true, said in answers.values() if true != said.label)
    assert {(c["true"], c["predicted"]): c["count"] for c in found["confusions"]} == wanted
    assert wanted
    right = sum(true == said.label for true, said in answers.values())
    ends = binomtest(right, 12).proportion_ci(method="wilson")
    interval = found["modalities"]["audio_visual"]["interval"]
    assert interval == pytest.approx([100 * ends.low, 100 * ends.high])

    out = cign("evaluate", world.run, world.store)[1]
    lines = out.splitlines()
    rows = [line.split() for line in lines]
    for one in found["classes"]:
        shown = [one["name"], "3", f"{one['recall']:.1f}"]
        assert [*shown, f"{one['low']:.1f}", "to", f"{one['high']:.1f}"] in rows
    (true, predicted), count = wanted.most_common(1)[0]
    assert f"was predicted as {predicted} in {count} of 3 clips ({100 * count / 3:.0f} %)" in out
    assert f"  {true} was predicted as" in out
    recalls = [float(row[2]) for row in rows if len(row) == 6 and row[4] == "to"]
    assert len(recalls) == 4
    assert recalls == sorted(recalls)
    assert max(map(len, lines)) <= 80


def test_results_of_each_clip_are_what_predict_says(results, answers):
    with (results / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == set(answers)
    for row in rows:
        true, said = answers[row["path"]]
        assert row["true_label"] == true
        assert row["predicted_label"] == said.label
        assert row["correct"] == str(true == said.label).lower()
        assert row["split"] == "test"
        assert row["clip"] in row["path"]
        assert float(row["unknown"]) == pytest.approx(said.unknown, abs=2e-3)
        assert row["is_unknown"] == str(said.is_unknown).lower()
        assert (row["missing"], row["start_s"], row["end_s"]) == ("", "", "")
        shares = {
            name.removeprefix("probability_"): float(value)
            for name, value in row.items()
            if name.startswith("probability_")
        }
        assert len(shares) == 4
        # Tokens in the store are rounded to float16.
        assert max(shares, key=shares.get) == said.label
        assert shares[said.label] == float(row["probability"])
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)


def test_all_formats_hold_the_same(results):
    with (results / "clips.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    parquet = pq.read_table(results / "clips.parquet").to_pylist()
    nested = json.loads((results / "clips.json").read_text())
    assert len(table) == len(parquet) == len(nested) == 12
    for row, flat, one in zip(table, parquet, nested, strict=True):
        assert list(row) == list(flat)
        shares = one.pop("probabilities")
        assert flat == one | {f"probability_{name}": value for name, value in shares.items()}
        written = {True: "true", False: "false", None: ""}
        assert row == {
            name: written[value] if isinstance(value, bool | None) else str(value)
            for name, value in flat.items()
        }


def test_the_command_writes_them_and_refuses_other_formats(cign, world, tmp_path, results):
    out = tmp_path / "new" / "clips.csv"
    code, shown, told = cign("evaluate", world.run, world.store, "--out", out, "--json")
    assert code == 0
    assert out.read_bytes() == (results / "clips.csv").read_bytes()
    assert f"results of each clip in {out}" in told
    json.loads(shown)
    words = "has no known suffix: use .csv, .parquet or .json"
    refused(cign("evaluate", world.run, world.store, "--out", tmp_path / "clips.xlsx"), words)
    refused(cign("evaluate", world.run, world.store, "--out", tmp_path / "clips"), words)
    (tmp_path / "folder.csv").mkdir()
    refused(cign("evaluate", world.run, world.store, "--out", tmp_path / "folder.csv"), "a folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "new"]


def test_unknown_clips_have_rows_that_are_neither_right_nor_wrong(cign, world, tmp_path):
    learner = Learner("analytic", options={"width": 40, "ridge": [1.0]})
    learner.learn(world.store, tasks=2)
    hidden = learner.model.classes[0]
    learner.rename(hidden, "something else")
    learner.save(tmp_path / "model")
    code, out, _ = cign("evaluate", tmp_path / "model", world.store, "--out", tmp_path / "r.json")
    rows = json.loads((tmp_path / "r.json").read_text())
    assert code == 0
    assert len(rows) == 12
    unknown = [row for row in rows if row["true_label"] == hidden]
    assert [row["correct"] for row in unknown] == [None] * 3
    assert all(isinstance(row["correct"], bool) for row in rows if row not in unknown)
    assert "1 class has no clip and therefore no recall: something else" in out
    shown = next(line for line in out.splitlines() if line.startswith("above the threshold"))
    percent = 100 * sum(row["is_unknown"] for row in unknown) / 3
    assert f"{percent:.1f} % of unknown clips" in shown


def test_a_clip_without_audio_has_no_audio_label(world, tmp_path):
    store = Store.open(world.store)
    row = int(store.indices("test")[0])
    store = dataclasses.replace(store, audio_ok=np.arange(store.num_clips) != row)
    Learner.load(world.run).evaluate(store, out=tmp_path / "r.json")
    found = {one["clip"]: one for one in json.loads((tmp_path / "r.json").read_text())}
    one = found[store.table.clips[row].id]
    assert (one["missing"], one["audio_label"], one["audio_probability"]) == ("audio", None, None)
    # It is judged by its frames alone.
    assert (one["predicted_label"], one["probability"]) == (
        one["visual_label"],
        one["visual_probability"],
    )
    assert sum(other["missing"] == "" for other in found.values()) == 11


def test_several_labels_are_joined_and_any_of_them_is_right(world, tmp_path):
    clip = dataclasses.replace(
        Store.open(world.store).table.clips[0], labels=("a", "c"), start_s=1.5, end_s=2.5
    )
    shares = np.array([[0.2, 0.1, 0.7]], np.float32)
    one = ClipResults(
        clips=(clip,),
        class_names=("a", "b", "c"),
        probabilities=dict.fromkeys(("audio", "visual", "audio_visual"), shares),
        unknown=np.array([0.25], np.float32),
        is_unknown=None,
        has_audio=np.array([True]),
        has_visual=np.array([True]),
    )
    (row,) = one.rows()
    assert (row["true_label"], row["predicted_label"], row["correct"]) == ("a|c", "c", True)
    assert (row["start_s"], row["end_s"], row["is_unknown"]) == (1.5, 2.5, None)
    one.write(tmp_path / "r.parquet")
    (read,) = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert read["is_unknown"] is None
    assert read["probability_c"] == pytest.approx(0.7)


def test_names_of_files_need_not_be_text(world, tmp_path):
    clip = Store.open(world.store).table.clips[0]
    one = ClipResults(
        clips=(dataclasses.replace(clip, path=tmp_path / "caf\udce9.mp4"),),
        class_names=("a", "b"),
        probabilities=dict.fromkeys(
            ("audio", "visual", "audio_visual"), np.array([[0.2, 0.8]], np.float32)
        ),
        unknown=np.array([0.25], np.float32),
        is_unknown=None,
        has_audio=np.array([True]),
        has_visual=np.array([True]),
    )
    for suffix in (".csv", ".json", ".parquet"):
        one.write(tmp_path / f"results{suffix}")
    with (tmp_path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    (entry,) = json.loads((tmp_path / "results.json").read_text())
    (read,) = pq.read_table(tmp_path / "results.parquet").to_pylist()
    assert {row["path"], entry["path"], read["path"]} == {str(tmp_path / "caf\\xe9.mp4")}


# what `cign train` prints


def test_a_run_with_one_task_is_shown_without_forgetting(cign, world, recipe, tmp_path):
    run = tmp_path / "run"
    code, out, _ = cign("train", world.store, "--out", run, "--recipe", recipe, "--tasks", 1)
    assert code == 0
    found = json.loads(cign("evaluate", run, world.store, "--json")[1])["modalities"]
    rows = [line.split() for line in out.splitlines()]
    for modality, one in found.items():
        low, high = one["interval"]
        name = modality.replace("_", "-")
        assert [name, f"{one['value']:.1f}", f"{low:.1f}", "to", f"{high:.1f}"] in rows
    assert "forgetting" not in out
    assert "BWT" not in out
    code, out, _ = cign("train", world.store, "--out", run, "--resume")
    assert "forgetting" not in out


def test_without_test_clips_it_is_said_in_words(cign, world, recipe, tmp_path):
    clips = shutil.copytree(world.clips, tmp_path / "clips")
    shutil.rmtree(clips / "test")
    (clips / "clips.csv").unlink()
    store = tmp_path / "store"
    made = ("prepare", clips, store, "--backbone", "small-random", "--workers", 0)
    assert cign(*made)[0] == 0
    for tasks in (1, 2):
        run = tmp_path / f"run{tasks}"
        code, out, told = cign("train", store, "--out", run, "--recipe", recipe, "--tasks", tasks)
        assert code == 0
        assert "no test clips: accuracy was not measured" in told
        assert "percent" not in out
        assert "accuracy" not in out
        assert "No test clips: accuracy, recall" in (run / "report.html").read_text()
        assert "finetune: no test clips" in cign("metrics", run)[2]
    refused(cign("evaluate", tmp_path / "run1", store), "no test clip of a class")
