"""A table says which of its runs another version of the code has made."""

import shutil

import pytest

from cign.bench import made_with, run_bench
from cign.errors import InputError
from cign.report.bench import write_bench_report

OTHER = "0" * 16


def test_the_hash_is_of_one_method():
    assert made_with.code_of("finetune") != made_with.code_of("analytic")
    with pytest.raises(InputError, match="no method"):
        made_with.code_of("no method")


def test_runs_of_this_code_are_not_spoken_of(two_methods):
    out, _, result = two_methods
    assert result.table["runs_of_other_code"] == {}
    assert "another version of the code" not in (out / "table.md").read_text()
    assert "different version of the code" not in (out / "report.html").read_text()


def test_runs_of_other_code_are_counted(two_methods, tmp_path):
    out, config, _ = two_methods
    copy = shutil.copytree(out, tmp_path / "bench")
    runs = copy / "runs"
    made_with.write_codes(runs / "analytic-one-t2-m0-o0-s0", (OTHER,))
    mixed = (OTHER, made_with.code_of("finetune"))  # stopped, and gone on with after an update
    made_with.write_codes(runs / "finetune-one-t2-m0-o0-s0", mixed)
    (runs / "finetune-other-t2-m0-o0-s0" / made_with.FILE).unlink()  # from before there was one
    table = run_bench(config, copy, num_workers=0).table
    assert table["runs_of_other_code"] == {"finetune": 2, "analytic": 1}
    said = "3 runs were made with another version of the code: finetune 2, analytic 1"
    assert said in (copy / "table.md").read_text()
    assert "2 runs of finetune, 1 run of analytic." in " ".join(
        (copy / "report.html").read_text().split()
    )


def test_a_page_of_a_table_from_before_is_still_made(two_methods, tmp_path):
    text = (two_methods[0] / "table.json").read_text()
    (tmp_path / "table.json").write_text(text.replace("runs_of_other_code", "unknown_here"))
    write_bench_report(tmp_path, tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()


def test_a_run_that_is_gone_on_with_keeps_both_hashes(tmp_path):
    made_with.write_codes(tmp_path, (OTHER,))
    made_with.note_code(tmp_path, "finetune", goes_on=True)
    assert made_with.made_with(tmp_path) == (OTHER, made_with.code_of("finetune"))
    made_with.note_code(tmp_path, "finetune", goes_on=True)
    assert made_with.made_with(tmp_path) == (OTHER, made_with.code_of("finetune"))
    made_with.note_code(tmp_path, "finetune", goes_on=False)
    assert made_with.made_with(tmp_path) == (made_with.code_of("finetune"),)
