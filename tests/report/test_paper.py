"""LaTeX tables and SVG files of a bench."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from cign.report.bench import write_bench_report
from cign.report.charts import Difference, interval_chart
from cign.report.paper import escaped, latex_table, svg_file
from refusals import input_error

from .test_bench_page import row, table

SVG = "{http://www.w3.org/2000/svg}"


def written(tmp_path, name, **changes):
    (tmp_path / "table.json").write_text(json.dumps(table(**changes)))
    write_bench_report(tmp_path, tmp_path / name)
    return (tmp_path / name).read_text()


def cells(line):
    """The cells of a row; an escaped ampersand separates none."""
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]


def rows_of(text):
    return [cells(line) for line in text.splitlines() if line.endswith(r"\\")]


def test_the_latex_table_has_the_numbers_of_the_bench(tmp_path):
    text = written(tmp_path, "table.tex")
    assert text.count(r"\begin{tabular}{llrrrrrr}") == 2  # 4 and 12 tasks
    head, analytic, cign, _, other = rows_of(text)
    assert head[:4] == ["method", "memory", "audio-visual", "difference from analytic"]
    assert analytic[:2] == ["analytic", "0"]
    assert analytic[2] == r"\textbf{62.2 $\pm$ 1.5}"
    assert analytic[3] == ""
    assert cign[:4] == ["cign", "120", r"42.5 $\pm$ 1.5", r"$-$19.7 [$-$21.7, $-$16.7]"]
    assert other[0] == "<b>"
    assert {len(line) for line in rows_of(text)} == {8}
    assert "12 tasks" in text


def test_without_a_comparison_there_is_no_column_for_it_and_no_chart(tmp_path):
    rows = [row("analytic", store, 60.0, tasks=1) for store in ("w2", "all")]
    text = written(tmp_path, "table.tex", against=None, rows=rows)
    assert "difference" not in text
    assert "1 task." in text
    with input_error("no-clips", "second method"):
        written(tmp_path, "chart.svg", against=None, rows=rows)


def test_the_chart_is_a_valid_file_that_loads_nothing(tmp_path):
    text = written(tmp_path, "chart.svg")
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("width") == "640"
    assert float(root.get("height")) > 0
    (style,) = root.iter(f"{SVG}style")
    assert "var(" not in text
    assert not re.search(r"href|url\(|@import", text)
    used = {name for one in root.iter() for name in one.get("class", "").split()}
    for name in ("line", "dot", "name", "tick", "zero", "grid"):
        assert name in used
        assert f".{name} {{" in style.text
    names = [one.text for one in root.iter(f"{SVG}text") if one.get("class") == "name"]
    assert names == ["<b>"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("#1 $x {y}", r"\#1 \$x \{y\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("\N{MINUS SIGN}1.5 ± 2", r"$-$1.5 $\pm$ 2"),
        ("é 好", "é 好"),
    ],
)
def test_names_are_printed_and_not_run(text, said):
    assert escaped(text) == said


def test_a_table_in_latex_marks_cells_and_has_a_caption():
    text = latex_table(["m", "x"], [["a", "1"], ["b", "2"]], caption="50 %", bold=[(1, 1)])
    assert [cells(line)[1] for line in text.splitlines() if line.endswith(r"\\")] == [
        "x",
        "1",
        r"\textbf{2}",
    ]
    assert r"\caption{50 \%}" in text
    assert r"\caption" not in latex_table(["m"], [])
    depth = [text.count(rf"\{kind}{{{name}}}") for kind in ("begin", "end") for name in ("table",)]
    assert depth == [1, 1]


def test_a_chart_keeps_its_shape_as_a_file():
    chart = interval_chart(
        [Difference(name="a & b", value=1.0, low=-1.0, high=2.0)], title="t", x_label="points"
    )
    root = ET.fromstring(svg_file(chart))
    assert root.get("viewBox").split()[2] == root.get("width")
    assert [one.text for one in root.iter(f"{SVG}text") if one.get("class") == "name"] == ["a & b"]


def test_files_of_other_kinds_need_a_bench(cign, tmp_path):
    code, _, err = cign("report", tmp_path, "--out", tmp_path / "x.tex")
    assert code == 2
    assert "bench" in err
