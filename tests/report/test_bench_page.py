"""The page about a bench shows what its table holds."""

import json
import re

import pytest

from cign.bench.resampling import NUMBERS
from cign.metrics.incremental import DEFINITIONS
from cign.report.bench import write_bench_report
from cign.report.charts import Difference, interval_chart
from refusals import input_error

from .test_page import Page


def number(value, difference=None, kind="bootstrap"):
    ends = (None, None) if difference is None else (difference - 2, difference + 3)
    return {
        "value": value,
        "std": 1.5,
        "difference": difference,
        "low": ends[0],
        "high": ends[1],
        "interval": None if difference is None else kind,
    }


def row(method, store, value, difference=None, tasks=4, memory="0", note=""):
    numbers = {name: number(value + i, difference) for i, name in enumerate(NUMBERS)}
    if difference is not None:
        numbers["last_audio_visual"] = number(value + 2, difference, "student_t")
    costs = {"bytes_kept": 7.3e6, "trainable_parameters": 1234.0, "seconds": 61.0}
    return {
        "method": method,
        "tasks": tasks,
        "memory": memory,
        "regime": "frozen",
        "store": store,
        "metric": "accuracy",
        "against": None if difference is None else {"method": "analytic", "memory": "0"},
        "numbers": numbers,
        **costs,
        "peak_memory_mb": 500.0,
        "runs": 3,
        "note": note,
    }


def table(**changes):
    rows = []
    for store in ("w2", "w3", "all"):
        rows += [row("analytic", store, 60.25), row("cign", store, 40.5, -19.7, memory="120")]
        rows += [row("<b>", store, 30.125, -30.1, tasks=12, note="2 of 3 runs done")]
    about = {"list_hash": "ab" * 32, "test_list_hash": "ab" * 32, "num_train": 720, "num_test": 900}
    return {
        "format": 1,
        "config": {"methods": {"cign": ["cign", {"width": 192}]}, "seeds": 2},
        "against": "analytic",
        "runs_done": 9,
        "runs_planned": 10,
        "stores": {name: {**about, "num_classes": 24, "runs": 5} for name in ("w2", "w3")},
        "rows": rows,
        "skipped": [{"method": "icarl", "memory": "0", "reason": "needs exemplars"}],
        "failed": [{"run": "joint-w2-t4", "error": "its process died of SIGKILL"}],
        "limit": 98.0,
        "definitions": {name: DEFINITIONS[name] for name in ("last", "average", "forgetting")},
        "workers": 2,
        "threads": [1],
        "versions": {"cign": "0.1"},
        "machine": {"system": "Linux"},
        **changes,
    }


def page_of(tmp_path, **changes):
    (tmp_path / "table.json").write_text(json.dumps(table(**changes)))
    write_bench_report(tmp_path, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


def test_the_main_comparison_comes_first_with_its_intervals(tmp_path):
    text = page_of(tmp_path)
    page = Page(text)
    assert text.index("Main comparison, 4 tasks") < text.index("Main comparison, 12 tasks")
    assert text.index("Main comparison, 12 tasks") < text.index("All numbers")
    first = next(row for row in page.rows if row and row[0] == "cign")
    assert first[:3] == ["cign", "120", "42.5"]
    shown = " ".join(first)
    assert "−19.7 [−21.7, −16.7] t" in shown  # noqa: RUF001
    assert "7.3 MB" in shown


def test_every_number_of_every_store_is_there(tmp_path):
    page = Page(page_of(tmp_path))
    found = [row for row in page.rows if row and row[0] == "analytic" and "62.2" in row]
    wanted = [f"{60.25 + i:.1f}" for i in range(9)]
    full = [row for row in found if all(value in row for value in wanted)]
    assert len(full) == 3  # two stores and all of them


def test_what_was_left_out_is_listed(tmp_path):
    text = page_of(tmp_path)
    rows = Page(text).rows
    assert ["icarl, memory 0", "skipped: needs exemplars"] in rows
    assert ["joint-w2-t4", "failed", "its process died of SIGKILL"] in rows
    assert "2 of 3 runs done" in text
    assert "not finished" in text
    assert "Skipped and failed" not in page_of(tmp_path, skipped=[], failed=[])


def test_it_loads_nothing_and_takes_no_markup_from_names(tmp_path):
    text = page_of(tmp_path)
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "<b></th>" not in text
    assert "&lt;b&gt;" in text
    assert page_of(tmp_path) == text


def test_without_a_comparison_there_is_neither_difference_nor_chart(tmp_path):
    rows = [row("analytic", store, 60.0) for store in ("w2", "w3", "all")]
    body = page_of(tmp_path, against=None, rows=rows).split("</style>")[1].split("<script>")[0]
    assert "difference" not in body
    assert "svg" not in body


def test_a_bench_without_a_table_is_refused(tmp_path):
    with input_error("file-missing", "table.json"):
        write_bench_report(tmp_path, tmp_path / "page.html")
    (tmp_path / "table.json").write_text('{"format": 99}')
    with input_error("wrong-format", "1", "table.json"):
        write_bench_report(tmp_path, tmp_path / "page.html")


def test_chart_places_zero_and_ends_in_order():
    lines = [
        Difference(name="a & b", value=-3.0, low=-5.0, high=-1.0),
        Difference(name="c", value=0.5, low=-0.5, high=1.5),
    ]
    svg = str(interval_chart(lines, title="t", x_label="points"))
    assert "a &amp; b: -3.0 [-5.0, -1.0] points" in svg
    zero = float(re.search(r'class="zero" d="M([\d.]+)', svg)[1])
    begins = [float(x) for x in re.findall(r'class="line" d="M([\d.]+)', svg)]
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)"', svg)]
    assert begins[0] < dots[0] < zero
    assert begins[1] < zero < dots[1]
    assert (dots[1] - zero) / (zero - dots[0]) == pytest.approx(0.5 / 3, rel=0.01)


def test_chart_of_nothing_but_zero():
    svg = str(
        interval_chart([Difference(name="a", value=0.0, low=0.0, high=0.0)], title="t", x_label="x")
    )
    assert svg.count('class="zero"') == 1
