"""Figures in README and docs are those of the tables that they refer to."""

from pathlib import Path

import pytest

from benchmark_scripts import tool

ROOT = Path(__file__).parents[2]
figures = tool("figures")

TABLE = """method,memory,last,difference
a,0,86.25,-5.75
b,0,91.0,
b,5,1234.5,0.04
"""


@pytest.fixture
def results(tmp_path):
    (tmp_path / "some.csv").write_text(TABLE)
    figures.rows_of.cache_clear()
    return tmp_path


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_of_a_page_are_those_of_the_tables(page):
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(ROOT))
    assert figures.problems(text, needs_all=name in figures.PAGES) == []


def said(text, results, needs_all=True):
    return [one.text for one in figures.problems(text, needs_all=needs_all, results=results)]


def test_a_figure_of_the_table_is_right_and_another_is_not(results):
    assert said("It is 86.2<!--= some method=a last --> %.", results) == []
    assert said("It is 86<!--= some method=a last --> %.", results) == []
    assert said("It is 86.3<!--= some method=a last --> %.", results) == [
        "86.3 is 86.2 in the table"
    ]
    minus = "\N{MINUS SIGN}"
    assert said(f"{minus}5.8<!--= some method=a difference -->", results) == []
    assert said("-5.8<!--= some method=a difference -->", results) == []
    assert said("5.8<!--= some method=a difference -->", results) != []
    assert said("1,234.5<!--= some method=b memory=5 last -->", results) == []
    assert said("+0.0<!--= some method=b memory=5 difference -->", results) == [
        "+0.0 is 0.0 in the table"
    ]


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("other method=a last", "no table other.csv"),
        ("some method=b last", "2 rows of some.csv match"),
        ("some method=c last", "0 rows of some.csv match"),
        ("some method=a first", "no column first"),
        ("some first=a last", "no column first"),
        ("some method=a", "name one column, not 0"),
        ("some method=b memory=0 difference", "empty"),
    ],
)
def test_a_reference_to_nothing_is_named(results, reference, why):
    (text,) = said(f"It is 1.0<!--= {reference} -->.", results)
    assert why in text
    with pytest.raises(ValueError, match=why):
        figures.updated(f"It is 1.0<!--= {reference} -->.", results)


def test_figures_are_written_in_the_form_that_they_had(results):
    text = "1.0<!--= some method=a last -->, +1.00<!--= some method=a difference --> and 1.0"
    assert figures.updated(text, results) == (
        "86.2<!--= some method=a last -->, \N{MINUS SIGN}5.75<!--= some method=a difference --> "
        "and 1.0"
    )


def test_every_figure_in_prose_needs_a_reference_where_that_is_asked(results):
    text = "a 1.5, and `2.5`\n```\n3.5\n```\n| 4.5 |\nv1.2.3 of 2026.5.1, 1.25, x1.5, (6.5)\n"
    assert said(text, results) == [
        "1.5 has no reference to a table",
        "6.5 has no reference to a table",
    ]
    lines = [one.line for one in figures.problems(text, needs_all=True, results=results)]
    assert lines == [1, 6]
    assert said(text, results, needs_all=False) == []
