"""A whole bench: its table says what its runs say, and one failure costs nothing else."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from cign.bench import BenchConfig, run_bench
from cign.bench.grid import Part
from cign.bench.resampling import METRICS, NUMBERS
from cign.bench.table import CSV_COLUMNS
from cign.errors import InputError
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.utils.files import folder_lock
from cign.vocabulary import MODALITIES
from refusals import input_error


def grid(stores, recipes, **kwargs):
    given = {"methods": ("finetune", "analytic"), "tasks": (2,), "against": "analytic"}
    return BenchConfig(stores=stores, recipes=recipes, **{**given, **kwargs})


def rows_of(folder):
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def numbers_of(folder, run):
    """The nine numbers of a run, from its predictions."""
    summary = summarise(Predictions.load(folder / "runs" / run / "predictions.parquet"))
    return np.array([summary[r][m] for m in METRICS for r in MODALITIES])


@pytest.fixture(scope="module")
def bench(stores, recipes, tmp_path_factory):
    """Four methods, one of which diverges and one of which needs a memory, on two stores."""
    out = tmp_path_factory.mktemp("bench")
    config = grid(
        stores,
        recipes,
        methods=("finetune", "analytic", "diverging", "icarl"),
        memories=("0", "4"),
        num_orders=(2,),
    )
    return out, config, run_bench(config, out, num_workers=0)


def test_table_has_the_columns_of_the_contract(bench):
    numbers = [
        f"{metric}_{modality}"
        for metric in ("last", "average", "forgetting")
        for modality in ("audio", "visual", "audio_visual")
    ]
    assert list(NUMBERS) == numbers
    wanted = ["method", "tasks", "memory", "regime", "store", "metric"]
    for name in numbers:
        wanted += [name, f"{name}_std", f"{name}_low", f"{name}_high"]
    wanted += ["bytes_kept", "trainable_parameters", "seconds", "peak_memory_mb", "runs"]
    assert list(CSV_COLUMNS[:-1]) == wanted
    assert list(rows_of(bench[0])[0]) == [*wanted, "note"]


def test_one_row_for_each_store_and_one_for_all(bench):
    keys = [(row["method"], row["memory"], row["store"]) for row in rows_of(bench[0])]
    cells = [("finetune", "0"), ("finetune", "4"), ("analytic", "0"), ("icarl", "4")]
    assert sorted(keys) == sorted((*cell, s) for cell in cells for s in ("one", "other", "all"))


def test_rows_hold_the_means_of_the_runs(bench):
    out, _, _ = bench
    rows = {(row["method"], row["memory"], row["store"]): row for row in rows_of(out)}
    means = {}
    for store in ("one", "other"):
        runs = np.array([numbers_of(out, f"finetune-{store}-t2-m4-o{k}-s0") for k in (0, 1)])
        row = rows["finetune", "4", store]
        means[store] = runs.mean(axis=0)
        np.testing.assert_allclose([float(row[name]) for name in NUMBERS], means[store], atol=1e-3)
        spread = [float(row[f"{name}_std"]) for name in NUMBERS]
        np.testing.assert_allclose(spread, runs.std(axis=0, ddof=1), atol=1e-3)
        assert row["runs"] == "2"
    every, both = rows["finetune", "4", "all"], np.array(list(means.values()))
    np.testing.assert_allclose([float(every[n]) for n in NUMBERS], both.mean(axis=0), atol=1e-3)
    spread = [float(every[f"{name}_std"]) for name in NUMBERS]
    np.testing.assert_allclose(spread, both.std(axis=0, ddof=1), atol=1e-3)
    assert every["runs"] == "4"
    assert int(every["bytes_kept"]) > 0
    closed = rows["analytic", "0", "all"]
    assert closed["runs"] == "2"
    assert closed["note"].startswith("stores no exemplars: one run, also for memory 4; one run for")
    assert closed["last_audio_std"] != ""
    assert rows["analytic", "0", "one"]["last_audio_std"] == ""


def test_intervals_are_those_of_the_paired_difference(bench):
    result = bench[2]
    rows = {(r["method"], r["memory"], r["store"]): r for r in result.table["rows"]}
    ours = rows["finetune", "4", "all"]["numbers"]
    theirs = rows["analytic", "0", "all"]["numbers"]
    for name in NUMBERS:
        one = ours[name]
        assert one["difference"] == pytest.approx(one["value"] - theirs[name]["value"], abs=1e-3)
        assert one["low"] <= one["difference"] <= one["high"]
        assert theirs[name]["low"] is None
    # Two stores: t has one degree of freedom.
    by_store = [
        rows["finetune", "4", s]["numbers"]["last_visual"]["difference"] for s in ("one", "other")
    ]
    half = 12.706 * np.std(by_store, ddof=1) / np.sqrt(2)
    found = ours["last_visual"]
    if found["interval"] == "student_t":
        assert found["high"] - found["low"] == pytest.approx(2 * half, rel=1e-3, abs=1e-3)
    else:
        assert found["high"] - found["low"] >= 2 * half - 1e-3
    # In a single store only clips are drawn.
    assert rows["finetune", "4", "one"]["numbers"]["last_visual"]["interval"] == "bootstrap"


def test_a_failing_method_costs_only_its_runs(bench):
    out, _, result = bench
    assert len(result.failed) == 8  # two memories, two orders, two stores
    assert all(name.startswith("diverging-") for name in result.failed)
    for text in result.failed.values():  # found by the loss, or by the scores after the last step
        assert "lower" in text
        assert "learning rate" in text
    record = json.loads((out / "runs" / "diverging-one-t2-m0-o0-s0" / "run.json").read_text())
    assert record["status"] == "failed"
    assert record["error_code"] == "diverged"
    assert "RunError" in record["traceback"]
    assert result.table["runs_done"] == 8 + 2 + 4
    assert result.table["runs_planned"] == 8 + 2 + 4 + 8
    assert [(one["method"], one["memory"]) for one in result.table["skipped"]] == [("icarl", "0")]


def test_finished_runs_are_complete_and_keep_no_checkpoint(bench):
    run = bench[0] / "runs" / "finetune-one-t2-m4-o1-s0"
    names = {path.name for path in run.iterdir() if path.name != ".lock"}
    assert names == {
        *("config.yaml", "metrics.json", "predictions.parquet", "embeddings.parquet", "model"),
        *("run.json", "resampled.npy"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["seeds"] == {"order": 1, "run": 0}


def test_without_what_it_is_compared_with_a_row_has_no_difference(stores, recipes, tmp_path):
    config = grid(stores[:1], recipes, tasks=(2, 4), only={"analytic": Part(tasks=(2,))})
    rows = run_bench(config, tmp_path, num_workers=0).table["rows"]
    compared = {
        (row["method"], row["tasks"]): row["numbers"]["last_audio"]["difference"]
        for row in rows
        if row["store"] == "all"
    }
    assert compared["finetune", 2] is not None
    assert compared["finetune", 4] is None
    assert ("analytic", 4) not in compared


def test_validation_clips_of_old_tasks_count_as_kept(bench):
    out, _, result = bench
    costs = json.loads((out / "runs" / "analytic-one-t2-m0-o0-s0" / "metrics.json").read_text())[
        "costs"
    ]
    assert costs["validation_bytes"] > 0
    row = next(r for r in result.table["rows"] if (r["method"], r["store"]) == ("analytic", "one"))
    assert row["bytes_kept"] == costs["bytes_kept"] + costs["validation_bytes"]


def test_files_agree_with_each_other(bench):
    out, _, result = bench
    assert json.loads((out / "table.json").read_text()) == result.table
    text = (out / "table.md").read_text()
    assert "| finetune | 4 |" in text
    assert "- icarl, memory 0: needs exemplars" in text
    assert "- diverging-one-t2-m0-o0-s0: the loss of task 1" in text
    page = (out / "report.html").read_text()
    value = next(r for r in rows_of(out) if (r["method"], r["memory"]) == ("finetune", "4"))
    assert f"{float(value['last_audio']):.1f}" in page


def test_a_bench_that_is_done_makes_no_run_again(bench, monkeypatch):
    out, config, result = bench
    made = []
    monkeypatch.setattr(
        "cign.bench.worker.make_run", lambda job, progress: made.append(job["name"])
    )
    before = (out / "table.csv").read_bytes()
    again = run_bench(config, out, num_workers=0)
    assert sorted(made) == sorted(result.failed)  # only those that failed are tried again
    assert again.table["rows"] == result.table["rows"]
    assert (out / "table.csv").read_bytes() == before


def test_resumed_with_another_configuration_is_refused(bench, stores, recipes, tmp_path):
    out, config, _ = bench
    for change, text in (
        ({"tasks": (2, 4)}, "begun with --tasks 2, not 2,4: repeat the original command"),
        ({"memories": ("0",)}, "begun with --memory 0,4, not 0"),
        ({"num_orders": (1,)}, "begun with --orders 2, not 1"),
        ({"num_seeds": 2}, "begun with --seeds 1, not 2"),
        ({"methods": ("finetune", "analytic")}, "--methods finetune,analytic,diverging,icarl, not"),
        ({"stores": stores[:1]}, "--stores one,other, not one"),
        ({"test_stores": stores}, "--test-store none, not one,other"),
        ({"recipes": None, "methods": ("finetune", "analytic", "joint", "icarl")}, "--methods"),
    ):
        with pytest.raises(InputError, match=text):
            run_bench(dataclasses.replace(config, **change), out, num_workers=0)
    other = tmp_path / "recipes"
    other.mkdir()
    for path in recipes.iterdir():
        (other / path.name).write_text(path.read_text().replace("width: 30", "width: 31"))
    with input_error("resume-mismatch", "options of method analytic"):
        run_bench(dataclasses.replace(config, recipes=other), out, num_workers=0)


def test_a_bench_may_gain_a_method(bench, recipes, tmp_path, monkeypatch):
    source, config, _ = bench
    out = shutil.copytree(source, tmp_path / "bench")
    made = []
    monkeypatch.setattr("cign.bench.worker.make_run", lambda job, _: made.append(job["name"]))
    more = dataclasses.replace(config, methods=(*config.methods, "joint"), recipes=recipes)
    run_bench(more, out, num_workers=0)
    failed = {name for name in made if name.startswith("diverging-")}  # these are tried again
    assert {name.split("-")[0] for name in set(made) - failed} == {"joint"}
    with pytest.raises(InputError, match="--methods"):
        run_bench(config, out, num_workers=0)  # it has joint now


def test_what_only_changes_the_table_may_change(bench, monkeypatch):
    out, config, _ = bench
    monkeypatch.setattr("cign.bench.worker.make_run", lambda job, progress: None)
    table = run_bench(dataclasses.replace(config, against="icarl@4"), out, num_workers=0).table
    compared = {(r["method"], r["memory"]) for r in table["rows"] if r["against"]}
    assert compared == {("finetune", "0"), ("finetune", "4"), ("analytic", "0")}
    table = run_bench(dataclasses.replace(config, against="finetune"), out, num_workers=0).table
    against = {(r["method"], r["memory"]): r["against"] for r in table["rows"]}
    assert against["icarl", "4"] == {"method": "finetune", "memory": "4"}
    assert against["analytic", "0"] == {"method": "finetune", "memory": "0"}
    assert against["finetune", "4"] is None
    with input_error("unknown-name", "finetune@0, finetune@4"):
        run_bench(dataclasses.replace(config, against="finetune@9"), out, num_workers=0)
    run_bench(config, out, num_workers=0)


def test_a_second_bench_in_the_same_folder_is_refused(stores, recipes, tmp_path):
    with (
        folder_lock(tmp_path, "bench folder"),
        input_error("busy"),
    ):
        run_bench(grid(stores, recipes), tmp_path, num_workers=0)


def test_test_clips_of_another_store_are_scored(stores, recipes, tmp_path):
    one, other = stores
    config = grid((one,), recipes, methods=("analytic",), against=None, test_stores=(other,))
    result = run_bench(config, tmp_path, num_workers=0, keep_models=False)
    kept = {path.name for path in (tmp_path / "runs").glob("*/*")}
    assert {"predictions.parquet", "metrics.json"} <= kept
    assert not {"model", "embeddings.parquet", "checkpoint.safetensors"} & kept
    run = tmp_path / "runs" / "analytic-one-t2-m0-o0-s0"
    scored = Predictions.load(run / "predictions.parquet")
    learned = json.loads((run / "metrics.json").read_text())["store"]
    # The test clips of the other store are those that this one learned from.
    assert scored.num_clips == learned["num_train"] == 24
    assert learned["test_list_hash"] == "0123abcd" * 8
    assert result.table["stores"]["one"]["num_test"] == 24
    assert result.table["rows"][0]["numbers"]["last_audio_visual"]["low"] is None
    assert not (run / "model").exists()


def test_wrong_names_are_refused_before_anything_is_written(stores, recipes, tmp_path):
    out = tmp_path / "bench"
    for change, text in (
        ({"methods": ("finetuned", "analytic")}, r"unknown method 'finetuned'.*nor is"),
        ({"recipes": tmp_path / "none"}, "is not a folder"),
        ({"stores": (stores[0], stores[0] / "..")}, "not finished or not a store"),
        ({"tasks": (9,)}, "9 tasks do not fit 4 classes"),
    ):
        with pytest.raises(InputError, match=text):
            run_bench(grid(**{"stores": stores, "recipes": recipes, **change}), out, num_workers=0)
    assert not out.exists()
