"""Runs kept in the tree by `benchmarks/kept_runs.py` give the table that they came from."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest
import yaml

from benchmark_scripts import BENCHMARKS, script
from cign.bench import run_bench
from cign.metrics.catalogue import measure
from cign.report.runs import lacking, load_runs, stored
from cign.runs.configuration import RunConfig
from cign.utils.files import read_json, write_json
from refusals import input_error


@pytest.fixture
def kept_runs(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return script("kept_runs")


def test_a_bench_goes_on_from_kept_runs(kept_runs, two_methods, tmp_path):
    out, config, _ = two_methods
    assert kept_runs.keep(out, tmp_path / "kept") == 4
    assert kept_runs.keep(out, tmp_path / "kept") == 0
    again = tmp_path / "again"
    assert kept_runs.restore(tmp_path / "kept", again) == 4
    assert kept_runs.restore(tmp_path / "kept", again) == 0
    for run in (out / "runs").iterdir():
        other = again / "runs" / run.name
        numbers = np.load(run / "resampled.npy")
        assert np.array_equal(np.load(other / "resampled.npy"), numbers, equal_nan=True)
    # A program that makes no run: each would fail.
    result = run_bench(config, again, num_workers=1, program=("false",))
    assert result.failed == {}
    assert result.table["rows"] == read_json(out / "table.json", "table")["rows"]


def test_runs_that_were_archived_in_an_earlier_format_are_converted(
    kept_runs, two_methods, tmp_path
):
    out, _, _ = two_methods
    kept_runs.keep(out, tmp_path / "kept")
    (file,) = (tmp_path / "kept").glob("analytic-one-t2-*.npz")
    config = RunConfig.load(out / "runs" / file.stem)
    with np.load(file) as run:
        arrays = dict(run)
    arrays["config.yaml"] = np.array(yaml.safe_dump(config.flat()))
    np.savez(file, **arrays)
    kept_runs.restore(tmp_path / "kept", tmp_path / "again")
    assert RunConfig.load(tmp_path / "again" / "runs" / file.stem) == config


def test_what_needs_scores_is_not_told_of_runs_that_were_put_back(kept_runs, two_methods, tmp_path):
    out, _, _ = two_methods
    kept_runs.keep(out, tmp_path / "kept")
    kept_runs.restore(tmp_path / "kept", tmp_path / "again")
    name = "analytic-one-t2-m0-o0-s0"
    (before,), (after,) = (load_runs([root / "runs" / name]) for root in (out, tmp_path / "again"))
    was, now = measure(stored(before, [])), measure(stored(after, []))
    assert now["incremental"] == was["incremental"]
    assert was["calibration"]["audio_visual"]["ece"] > 0
    assert now["calibration"] == now["open_set"] == {}
    assert "only the top-ranked class" in lacking(after)["calibration"]
    assert kept_runs.keep(tmp_path / "again", tmp_path / "kept twice") == 4
    restored = kept_runs.restore(tmp_path / "kept twice", tmp_path / "twice")
    assert restored == 4


def test_another_configuration_does_not_go_on_from_kept_runs(
    kept_runs, two_methods, recipes, tmp_path
):
    out, config, _ = two_methods
    kept_runs.keep(out, tmp_path / "kept")
    kept_runs.restore(tmp_path / "kept", tmp_path / "again")
    others = shutil.copytree(recipes, tmp_path / "recipes")
    recipe = others / "analytic.yaml"
    recipe.write_text(recipe.read_text().replace("width: 30", "width: 40"))
    with input_error("resume-mismatch", "other options of method analytic"):
        run_bench(dataclasses.replace(config, recipes=others), tmp_path / "again", num_workers=0)


def test_the_code_that_is_kept_is_that_of_the_run_and_not_of_the_moment(
    kept_runs, two_methods, tmp_path
):
    copy = shutil.copytree(two_methods[0], tmp_path / "bench")
    name = "analytic-one-t2-m0-o0-s0"
    made_with = [{"version": "1.0", "commit": "a" * 40, "dirty": True}]
    path = copy / "runs" / name / "metrics.json"
    write_json(path, read_json(path, "metrics") | {"code": made_with})
    kept_runs.keep(copy, tmp_path / "kept")
    kept_runs.restore(tmp_path / "kept", tmp_path / "again")
    restored = read_json(tmp_path / "again" / "runs" / name / "metrics.json", "metrics")
    assert restored["code"] == made_with


def test_runs_on_other_clips_are_not_kept_beside_these(kept_runs, two_methods, tmp_path):
    kept_runs.keep(two_methods[0], tmp_path / "kept")
    for file in (tmp_path / "kept" / kept_runs.CLIPS).iterdir():
        with np.load(file) as clips:
            changed = {**clips, "labels": clips["labels"][::-1]}
        np.savez(file, **changed)
    next((tmp_path / "kept").glob("*.npz")).unlink()
    with pytest.raises(SystemExit, match="not tested on the same clips"):
        kept_runs.keep(two_methods[0], tmp_path / "kept")


def test_one_file_holds_all_runs_and_gives_them_back(kept_runs, two_methods, tmp_path, monkeypatch):
    out, archive = two_methods[0], tmp_path / "runs.tar.xz"

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["kept_runs.py", *map(str, arguments)])
        kept_runs.main()

    call("keep", out, archive)
    first = archive.read_bytes()
    call("keep", out, archive)
    assert archive.read_bytes() == first  # nothing is new
    call("restore", archive, tmp_path / "again")
    for run in (out / "runs").iterdir():
        numbers = np.load(run / "resampled.npy")
        other = tmp_path / "again" / "runs" / run.name / "resampled.npy"
        assert np.array_equal(np.load(other), numbers, equal_nan=True)
    assert len(first) < sum(f.stat().st_size for f in (out / "runs").rglob("predictions.parquet"))
