"""A table says at which commits its runs were made."""

import json
import shutil

import pytest

from cign.bench import run_bench
from cign.report.bench import write_bench_report
from cign.utils.code_version import code_version
from cign.utils.files import read_json, write_json

A = {"version": "1.0", "commit": "a" * 40, "dirty": False}
B = {"version": "1.0", "commit": "b" * 40, "dirty": False}


def made_with(run, versions):
    metrics = read_json(run / "metrics.json", "metrics")
    write_json(run / "metrics.json", metrics | {"code": versions})


def test_runs_record_the_code_as_it_is(two_methods):
    out, _, result = two_methods
    assert result.table["code"] == [{"versions": [code_version()], "runs": 4}]
    for run in (out / "runs").iterdir():
        assert read_json(run / "metrics.json", "metrics")["code"] == [code_version()]


@pytest.fixture
def copy(two_methods, tmp_path):
    """A copy of the bench whose runs were all made at commit A."""
    copy = shutil.copytree(two_methods[0], tmp_path / "bench")
    for run in (copy / "runs").iterdir():
        made_with(run, [A])
    return copy


def test_a_table_of_one_commit_states_it_without_a_warning(two_methods, copy):
    run_bench(two_methods[1], copy, num_workers=0)
    text = (copy / "table.md").read_text()
    assert "\n\nCode: 4 runs: commit aaaaaaaaaa.\n\n" in text
    page = (copy / "report.html").read_text()
    assert "Code: 4 runs: commit aaaaaaaaaa." in page
    assert "Caution" not in text + page


def test_a_table_warns_of_runs_of_different_code(two_methods, copy):
    runs = copy / "runs"
    made_with(runs / "analytic-one-t2-m0-o0-s0", [B | {"dirty": True}])
    made_with(runs / "finetune-one-t2-m0-o0-s0", [A, B])  # resumed after an update
    made_with(runs / "finetune-other-t2-m0-o0-s0", [])  # made before it was recorded
    table = run_bench(two_methods[1], copy, num_workers=0).table
    assert sorted((one["runs"], len(one["versions"])) for one in table["code"]) == [
        *((1, 0), (1, 1), (1, 1), (1, 2)),
    ]
    said = "runs were made with different commits and uncommitted changes and unknown code."
    for name in ("table.md", "report.html"):
        text = (copy / name).read_text()
        assert said in text
        assert "commit aaaaaaaaaa, then commit bbbbbbbbbb" in text
        assert "commit bbbbbbbbbb with uncommitted changes" in text


def test_a_page_of_a_table_from_before_is_still_made(two_methods, tmp_path):
    table = json.loads((two_methods[0] / "table.json").read_text())
    del table["code"]
    (tmp_path / "table.json").write_text(json.dumps(table))
    write_bench_report(tmp_path, tmp_path / "report.html")
    assert "Code:" not in (tmp_path / "report.html").read_text()
