"""`cign bench` and `cign report` of a bench, through real processes."""

import shutil
from types import SimpleNamespace

import pytest

from cign.cli.commands.bench import numbers_of_tasks
from refusals import input_error


def test_bench_and_its_report(cign, stores, recipes, tmp_path):
    out = tmp_path / "bench"
    command = ["bench", stores[0], "--out", out, "--methods", "analytic,diverging", "--tasks", "2"]
    command += ["--recipes", recipes, "--against", "analytic", "--memory", "0", "--no-models"]
    command += ["--only", "diverging:memory=0:orders=1"]
    code, text, _ = cign(*command, "--workers", 1, "--now", "analytic")
    assert code == 0
    assert [folder.name for folder in (out / "runs").iterdir()] == ["analytic-one-t2-m0-o0-s0"]
    assert "**1 of 2 runs are done.**" in (out / "table.md").read_text()
    code, _, err = cign(*command, "--now", "analytics")
    assert code == 2
    assert "in --now" in err
    code, text, err = cign(*command, "--workers", 2)
    assert code == 1
    assert err.splitlines()[-1].startswith("cign: 1 of 2 runs failed (diverging-one-t2-m0-o0-s0: ")
    assert "run the same command again to retry" in err
    (row,) = (line for line in text.splitlines() if line.startswith("analytic"))
    assert row.split()[1:3] == ["2", "0"]
    assert (out / "runs" / "analytic-one-t2-m0-o0-s0" / "run.json").exists()

    page = tmp_path / "page.html"
    code, text, _ = cign("report", out, "--out", page)
    assert (code, text) == (0, f"{page}\n")
    assert page.read_bytes() == (out / "report.html").read_bytes()
    code, _, err = cign("report", out, out / "runs" / "analytic-one-t2-m0-o0-s0")
    assert code == 2
    assert "needs its own report" in err
    # Its runs are runs as any other.
    shutil.rmtree(out / "runs" / "diverging-one-t2-m0-o0-s0")
    assert cign("report", out / "runs", "--out", page)[0] == 0

    code, _, err = cign(*command, "--seeds", 2)
    assert code == 2
    assert "was begun with --seeds 1, not 2: repeat the original command" in err


def test_a_benchmark_with_a_memory_for_each_number_of_tasks_is_not_crossed():
    options = {"benchmark": "vggsound-100", "stores": [], "memory": None}
    with input_error("missing-option", "0 at 4 tasks, 1500 at 10 tasks") as found:
        numbers_of_tasks(SimpleNamespace(**options, tasks=[4, 10]))
    assert "--memory" in str(found.value)
    assert numbers_of_tasks(SimpleNamespace(**options, tasks=[10]))[:2] == ((10,), ("1500",))
    given = SimpleNamespace(**{**options, "memory": ["20/class"]}, tasks=[4, 10])
    assert numbers_of_tasks(given)[:2] == ((4, 10), ("20/class",))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ["--out", "missing"]),
        (("--methods", "finetune,,cign"), ["empty entry"]),
        (("--tasks", "four"), ["--tasks", "'four' is not a whole number from 1"]),
        (("--against", "icarl"), ["'icarl'", "finetune"]),
        (("--memory", "some"), ["'some'", "20/class"]),
        (("--methods", "fintune"), ["unknown method 'fintune'"]),
        (("--only", "finetune:orders=1", "--only", "finetune:seeds=1"), ["names finetune twice"]),
        (("--orders", "1,2,3"), ["--orders has 3 numbers for 1"]),
    ],
)
def test_wrong_usage_is_one_sentence(cign, arguments, parts, stores, tmp_path):
    given = ["--out", tmp_path / "out", "--methods", "finetune", "--tasks", "2"]
    code, out, err = cign("bench", stores[0], *(given if arguments else ()), *arguments)
    assert (code, out) == (2, "")
    (sentence,) = err.splitlines()
    for part in parts:
        assert part in sentence
    assert not (tmp_path / "out").exists()
