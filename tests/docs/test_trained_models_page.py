"""The overview of operations on a trained model has the figures of the tables that it links."""

import re

import pytest

from pages import DOCS

PAGE = DOCS / "results" / "trained_models.md"
RESULTS = DOCS.parent / "benchmarks" / "results"
SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]


def cells(text):
    """Cells of all table rows but heads and separators."""
    rows = re.findall(r"^\|.*\|$", text, flags=re.M)
    heads = {i for i, row in enumerate(rows) if i + 1 < len(rows) and set(rows[i + 1]) <= set("|-: ")}
    found = [row.strip("|").split("|") for i, row in enumerate(rows) if i not in heads]
    return [[cell.strip() for cell in row] for row in found if not set("".join(row)) <= set("-: ")]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_figures_are_those_of_the_linked_table(section):
    (name,) = re.findall(r"\[all figures\]\((\w+)\.md\)", section)
    source = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    known = {cell for row in cells(source) for cell in row}
    figures = [cell for row in cells(section) for cell in row[1:]]
    assert len(figures) >= 4
    assert [one for one in figures if one not in known] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_the_command_is_that_of_the_linked_table(section):
    (name,) = re.findall(r"\[all figures\]\((\w+)\.md\)", section)
    (command,) = re.findall(r"^`([^`]*python benchmarks/[^`]*)`$", section, flags=re.M)
    assert f"`{command}`" in (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 80
