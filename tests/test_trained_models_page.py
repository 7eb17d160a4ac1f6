"""`benchmarks/trained_models.py`: its page has the figures of the tables that it links."""

import re
from pathlib import Path

import pytest

from benchmark_scripts import BENCHMARKS, script

RESULTS = Path(BENCHMARKS) / "results"
PAGE = (RESULTS / "trained_models.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.M)[1:]


def rows(text):
    """Cells of the rows of all tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    marks = [i for i, line in enumerate(lines) if set(line) <= set("|-: ")]
    heads = {i - 1 for i in marks}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for i, line in enumerate(lines)
        if i not in heads and i not in marks
    ]


def test_the_page_is_that_of_the_tables():
    """Repeat `python benchmarks/trained_models.py` after a change of a table."""
    assert script("trained_models").page(RESULTS) == PAGE


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_figures_and_command_are_those_of_the_linked_page(section):
    (name,) = re.findall(r"\[all figures\]\((\w+)\.md\)", section)
    source = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    known = {cell for row in rows(source) for cell in row}
    figures = [cell for row in rows(section) for cell in row[1:]]
    assert len(figures) >= 9
    assert [one for one in figures if one not in known] == []
    (command,) = re.findall(r"\((`[^`]*python benchmarks/[^`]*`)", section)
    assert f"\n{command}" in source


def test_it_takes_the_row_and_the_column_that_it_names():
    text = "## set\n\n| a | b | c |\n| --- | ---: | ---: |\n| x | 1 | 2 |\n| y | 3 | 4 |\n"
    (table,) = script("trained_models").tables(text)
    assert table.above == "set"
    assert [table.cell("x", "c"), table.cell("y", "b")] == ["2", "3"]
    assert table.part(("c", "a"), ("y",)) == ["| c | a |", "| ---: | --- |", "| 4 | y |"]
