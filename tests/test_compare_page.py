"""Numbers, intervals and page of a comparison, on runs of ten made clips."""

import csv
import dataclasses
import importlib

import numpy as np
import pytest
from scipy.stats import t

from cign.vocabulary import MODALITIES
from comparison_scripts import module, scripts  # noqa: F401


def job_of(part=0, *, method, order=0):
    jobs = module("_jobs")
    table = jobs.Table(backbone="small", dataset="real24")
    return jobs.Job(table=table, row=jobs.Row(method=method), order=order, part=part)


def comparison():
    return dataclasses.replace(
        importlib.import_module("comparisons").REAL_FOLDS, introduction="Introduction."
    )


def kept_of(job, right, code=None):
    """A run in which the first ``right`` clips of ten are predicted rightly in each modality."""
    labels = [["a"], ["b"]] * 5
    truth = np.array([0, 1] * 5)
    answers = [np.where(np.arange(10) < number, truth, 1 - truth) for number in right]
    modalities = {
        modality: {"last": 10.0 * number, "average": 0.0, "forgetting": 1.0}
        for modality, number in zip(MODALITIES, right, strict=True)
    }
    record = {
        "clips": [[f"{job.part}-{i}" for i in range(10)], labels],
        "classes": ["a", "b"],
        "modalities": modalities,
        "bytes_kept": 3_000_000,
        "cpu_seconds": 2.0,
        "code": code or {"version": "1.0", "commit": "a" * 40, "dirty": False},
    }
    return module("_runs").Kept(record=record, answers=np.stack(answers).astype(np.uint8))


def runs_of(numbers):
    """Runs from audio-visual numbers by method, order and fold."""
    kept = {}
    for method, orders in numbers.items():
        for order, folds in orders.items():
            for fold, right in enumerate(folds):
                job = job_of(fold, method=method, order=order)
                kept[job.name] = kept_of(job, (1, 2, right))
    return module("_page").Runs(comparison(), kept)


def test_orders_are_averaged_in_a_fold_and_folds_are_paired():
    runs = runs_of(
        {
            "finetune": {0: [9, 8, 7, 9, 9], 1: [7, 8, 9, 9, 9], 2: [1, 1, 1]},  # two folds missing
            "analytic": {0: [6, 6, 6, 6, 4]},
        }
    )
    job = job_of(method="finetune")
    line = runs.line(job.table, job.row)
    assert line.orders == (0, 1)
    assert line.last[:, 2].tolist() == [80.0, 80.0, 80.0, 90.0, 90.0]
    assert line.last[:, :2].tolist() == [[10.0, 20.0]] * 5
    assert set(line.differences) == {"analytic"}  # cign_analytic is not finished
    found = line.differences["analytic"]
    each = np.array([20.0, 20.0, 20.0, 30.0, 50.0])
    assert found.value.tolist() == [0.0, 0.0, pytest.approx(28.0)]
    half = t.ppf(0.975, 4) * each.std(ddof=1) / np.sqrt(5)
    low, high = found.low[2], found.high[2]
    if found.kinds[2] == "student_t":
        assert (low, high) == (pytest.approx(28.0 - half), pytest.approx(28.0 + half))
    assert high - low >= 2 * half - 1e-9  # the wider of the two
    assert found.low[0] == found.high[0] == 0.0  # equal predictions differ in no draw


def test_methods_on_other_clips_are_not_compared():
    runs = runs_of({"finetune": {0: [5] * 5}, "analytic": {0: [5] * 5}})
    name = job_of(2, method="analytic").name
    runs.kept[name].record["clips"][0][0] = "other"
    job = job_of(method="finetune")
    with pytest.raises(ValueError, match="different clips"):
        runs.line(job.table, job.row)


def test_the_page_says_what_is_missing():
    page, jobs = module("_page"), comparison().jobs()
    runs = runs_of(
        {
            "cign_analytic": {0: [8, 8, 8, 8, 9]},
            "analytic": {0: [6, 6, 6, 6, 4], 1: [6, 6]},
        }
    )
    found = page.page(runs)
    text, table = found["md"], found["csv"]
    assert f"12 of {len(jobs)} runs are done.**" in text
    assert "Processors: 12 runs: not recorded." in text
    assert "12 runs: commit aaaaaaaaaa" in text
    assert "| analytic | 0 | 10.0 | 20.0 | 56.0 ± 8.9 | \N{MINUS SIGN}26.0 [" in text
    assert text.count("| 1.0 | 3.0 | 1 | 2.0 |\n") == 2
    assert "- real24 (small): analytic 8, " in text
    assert "- real24, 1 clip per class (small)" in text
    assert "This page has 2 intervals, each at 95 %" in text
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["method"] for row in rows] == ["analytic", "cign_analytic"]
    assert float(rows[1]["audio_visual_minus_analytic"]) == pytest.approx(26.0)
    assert rows[1]["audio_visual_minus_cign_analytic"] == ""


def test_differences_that_hold_after_the_correction_are_marked():
    runs = runs_of(
        {
            "cign_analytic": {0: [9, 9, 9, 9, 9]},
            "analytic": {0: [5, 5, 5, 5, 5]},
            "finetune": {0: [9, 8, 9, 8, 9]},
        }
    )
    page = module("_page")
    table = job_of(method="analytic").table
    rows = runs.comparison.section_of(table).rows_of(table)
    lines = page.corrected([line for row in rows if (line := runs.line(table, row))])
    holds = {line.row.method: line.holds for line in lines}
    assert holds["cign_analytic"] == {"analytic"}
    assert holds["analytic"] == {"cign_analytic"}
    assert "cign_analytic" not in holds["finetune"]
    text = page.page(runs)["md"]
    (row,) = [line for line in text.splitlines() if line.startswith("| cign_analytic")]
    assert row.count("] \\*") + row.count("] t \\*") == 1


def test_the_tables_are_also_in_latex():
    found = module("_page").page(runs_of({"analytic": {0: [6, 6, 6, 6, 4]}}))["tex"]
    assert r"analytic & 0 & 10.0 & 20.0 & 56.0 $\pm$ 8.9 &" in found
    assert r"\caption{real24 (small)}" in found


def test_processors_are_counted_by_name():
    runs = runs_of({"analytic": {0: [5, 5, 5]}})
    first, second, _ = runs.kept.values()
    first.record["processor"] = second.record["processor"] = "One, with AMX"
    text = module("_page").processors(runs)
    assert text == "Processors: 2 runs: One, with AMX; 1 run: not recorded."
