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
    assert figures.problems(text, known=figures.known_figures(page)) == []


def said(text, results, known=()):
    return [one.text for one in figures.problems(text, known=known, results=results)]


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


def test_a_figure_needs_a_source(results):
    text = (
        "a 11.5, and `12.5`\n```\n13.5\n```\n| 14.5 |\nv1.2.3 of 2026.5.1, 11.25, x11.5, (16.5)\n"
    )
    assert said(text, results) == [
        f"{figure} is in no table that the page links to" for figure in ("11.5", "14.5", "16.5")
    ]
    lines = [one.line for one in figures.problems(text, known=(), results=results)]
    assert lines == [1, 5, 6]
    assert said(text, results, known=None) == []
    assert said(text, results, known=("11.5", "14.5")) == [
        "16.5 is in no table that the page links to"
    ]


def test_a_figure_below_ten_needs_none(results):
    assert said("7.4 points, 9.9 s", results) == []


@pytest.mark.parametrize(
    "source", ["`python benchmarks/study.py memory`", "make demo", "<!-- quoted: the paper -->"]
)
def test_a_section_may_name_the_source_of_its_figures(results, source):
    text = f"# One\n\n11.5\n\n## Two\n\n{source}\n\n12.5\n\n# Three\n\n13.5\n"
    problems = figures.problems(text, known=(), results=results)
    assert [(one.line, one.text[:4]) for one in problems] == [(3, "11.5"), (13, "13.5")]


def test_the_figures_of_linked_pages_are_known(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "some.md").write_text("| 86.2 | \N{MINUS SIGN}15.8 | 1,234.5 | 7.5 |")
    (tmp_path / "results" / "other.md").write_text("55.5")
    (tmp_path / "prose.md").write_text("44.4")
    page = tmp_path / "page.md"
    page.write_text("33.3 [table](results/some.md#part), [prose](prose.md), [lost](results/no.md)")
    assert figures.linked_figures(page) == {"86.2", "15.8", "1234.5"}
    assert figures.problems("+15.8 and 55.5", known=figures.linked_figures(page)) == [
        figures.Problem(line=1, text="55.5 is in no table that the page links to")
    ]


def test_a_page_of_results_has_its_own_figures(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('--8<-- "benchmarks/results/agreement.md"\n')
    assert "69.5" in figures.linked_figures(page)


SPECS = {
    "short": {
        "table": "some",
        "rows": [{"method": "a"}, {"method": "b", "memory": "0"}, {"method": "c"}],
        "columns": {
            "last": {"show": "last"},
            "difference": {"show": "difference", "like": "+1.00"},
        },
    }
}
SHORT = """| method | difference | note | last |
| --- | ---: | --- | ---: |
| one | | first | 1 |
| two | 5 | | 2 |
| three | | | |
"""


def test_a_table_is_filled_in_the_columns_that_are_named(results):
    minus, dash = "\N{MINUS SIGN}", "\N{EN DASH}"
    assert figures.filled("short", SHORT, SPECS, results) == (
        "| method | difference | note | last |\n"
        "| --- | ---: | --- | ---: |\n"
        f"| one | {minus}5.75 | first | 86.2 |\n"
        "| two | | | 91.0 |\n"
        f"| three | {dash} | | {dash} |\n"
    )


def test_a_cell_has_its_interval(results):
    (results / "wide.csv").write_text("name,gain,gain_low,gain_high\nx,7.44,-3.02,11.9\n")
    spec = {"table": "wide", "where": {"name": "x"}}
    column = {"show": "gain", "interval": True, "like": "+1.0"}
    assert figures.cell(spec, {}, column, results) == "+7.4 [\N{MINUS SIGN}3.0, +11.9]"


def test_a_cell_may_be_text(results):
    (results / "wide.csv").write_text("name,fusion\nx,mean at 2\n")
    column = {"show": "fusion", "text": True}
    assert figures.cell({"table": "wide"}, {"name": "x"}, column, results) == "mean at 2"


def test_a_row_or_a_column_may_be_of_another_table(results):
    (results / "other.csv").write_text("method,memory,last\na,0,12.34\n")
    row, column = {"method": "a", "memory": "0"}, {"show": "last"}
    assert figures.cell({"table": "some"}, row, {**column, "table": "other"}, results) == "12.3"
    assert figures.cell({"table": "some"}, {**row, "table": "other"}, column, results) == "12.3"
    both = {**column, "table": "other"}
    assert figures.cell({}, {**row, "table": "some"}, both, results) == "12.3"


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (SHORT.replace("| three | | | |\n", ""), "has 2 rows, not 3"),
        (SHORT.replace("note | last", "note | first"), "has no column last"),
    ],
)
def test_a_table_of_another_form_is_refused(results, table, why):
    with pytest.raises(ValueError, match=why):
        figures.filled("short", table, SPECS, results)


def test_a_table_with_another_figure_is_a_problem():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = figures.MARK.search(text)
    assert match is not None
    assert figures.wrong_tables(text) == []
    wrong = text.replace(match[2], match[2].replace("8", "7"))
    (problem,) = figures.wrong_tables(wrong)
    assert problem.text == f"table {match[1]} has other figures now"
    (problem,) = figures.wrong_tables(wrong.replace(match[1], "no_such"))
    assert problem.text == "there is no table no_such in figures.yaml"
