"""Figures in README and docs, each with the table that it comes from.

There are three ways to say where a figure comes from:

- A table of figures has ``<!-- figures: NAME -->`` in the line before it. ``figures.yaml`` beside
  this file says which rows and columns of a CSV file in ``benchmarks/results`` it shows.
- A figure in prose is followed by a reference, which readers do not see:
  ``86.3<!--= real_table dataset=real24_clutter method=cign_analytic last_audio_visual -->``
  names a CSV file, columns with the values that select one row, and the column of the figure. The
  figure has as many decimals as it is written with, and a sign if it is written with one.
- Any other figure with one decimal, from 10.0, is somewhere in a page of results that its page
  links to, or the section names the command that measured it, or ``<!-- quoted: SOURCE -->``.

Decisions are exempt: they state what was measured when they were made. So are licences, which are
full of versions.

    python tools/figures.py            list the figures that differ from their table
    python tools/figures.py --write    write the figures of the tables
"""

from __future__ import annotations

import argparse
import csv
import functools
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MINUS = "\N{MINUS SIGN}"
REFERENCE = re.compile(rf"([+{MINUS}-]?\d[\d,]*(?:\.\d+)?)<!--= ([^>]*?) -->")
# A figure with one decimal; versions, dates and times have more dots or letters beside them.
FIGURE = re.compile(rf"(?<![\w.,/{MINUS}+-])[+{MINUS}-]?\d[\d,]+\.\d(?![\w.]|,\d)")
MARK = re.compile(r"^<!-- figures: (\S+) -->\n((?:\|.*\n)+)", re.M)
LINK = re.compile(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)")
SOURCE = re.compile(
    r"(python|bash) benchmarks/|\bmake [a-z]|\bcign (train|evaluate|add|inspect|bench|synth) |"
    r"<!-- quoted: "
)
EXEMPT = ("decisions", "licences.md")
INCLUDED = re.compile(r'^--8<-- "([^"]+)"', re.M)
NOTHING = "\N{EN DASH}"  # in a table, where there is no run


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A figure that is not that of its table.

    Attributes:
        line: Number of the line, from 1.
        text: What is wrong, in one sentence.
    """

    line: int
    text: str


@functools.cache
def rows_of(table: str, results: Path = RESULTS) -> tuple[dict[str, str], ...]:
    """The rows of a CSV table.

    Raises:
        ValueError: If there is no such table.
    """
    path = results / f"{table}.csv"
    if not path.is_file():
        raise ValueError(f"there is no table {table}.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def found_in(table: str, wanted: Mapping[str, str], column: str, results: Path = RESULTS) -> str:
    """The text of one column in the one row that has the wanted values; empty if it has none.

    Raises:
        ValueError: If there is not one such row.
    """
    rows = rows_of(table, results)
    for name in (*wanted, column):
        if rows and name not in rows[0]:
            raise ValueError(f"{table}.csv has no column {name}")
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows of {table}.csv match, not one")
    return found[0][column]


def value_of(reference: str, results: Path = RESULTS) -> float:
    """The value that a reference names.

    Raises:
        ValueError: If it does not name one value of one row.
    """
    table, *parts = reference.split()
    wanted = dict(part.split("=", 1) for part in parts if "=" in part)
    columns = [part for part in parts if "=" not in part]
    if len(columns) != 1:
        raise ValueError(f"name one column, not {len(columns)}")
    text = found_in(table, wanted, columns[0], results)
    if not text:
        raise ValueError(f"{columns[0]} is empty in {table}.csv")
    return float(text)


def written(value: float, like: str) -> str:
    """A value as it is written in a text, with the decimals and the sign of a given figure."""
    decimals = len(like.partition(".")[2])
    signed = "+" if like[0] in f"+{MINUS}-" else ""
    text = f"{value:{signed},.{decimals}f}" if "," in like else f"{value:{signed}.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS if MINUS in like or signed else "-")


def cell(
    spec: Mapping[str, Any],
    row: Mapping[str, str],
    column: Mapping[str, Any],
    results: Path = RESULTS,
) -> str:
    """A cell of a table of figures; a dash if there is no run.

    Args:
        spec: The table, see `figures.yaml`.
        row: Values that select the row; ``table`` if it is from another CSV file.
        column: Values that select the column, ``show`` and whether it has an ``interval``;
            ``table`` if it is from another CSV file; ``text`` if it is no number.
        results: Folder of the tables.
    """
    wanted = {**spec.get("where", {}), **row, **column.get("where", {})}
    of_row = wanted.pop("table", spec.get("table"))
    table = column.get("table", of_row)
    show, like = column["show"], column.get("like", "1.0")
    names = [show, *(f"{show}_{end}" for end in ("low", "high") if column.get("interval"))]
    try:
        texts = [found_in(table, wanted, name, results) for name in names]
    except ValueError as error:
        if "0 rows" in str(error):
            return NOTHING
        raise
    if not texts[0] or column.get("text"):
        return texts[0]
    value, *ends = (written(float(text), like) for text in texts)
    return f"{value} [{', '.join(ends)}]" if ends else value


def filled(
    name: str, table: str, specs: Mapping[str, Any] | None = None, results: Path = RESULTS
) -> str:
    """A Markdown table with the figures of `figures.yaml` in the columns that are named there.

    Raises:
        ValueError: If it has other columns or another number of rows than stated there.
    """
    if specs is None:
        specs = yaml.safe_load((Path(__file__).parent / "figures.yaml").read_text("utf-8"))
    if name not in specs:
        raise ValueError(f"there is no table {name} in figures.yaml")
    spec = specs[name]
    head, ruler, *lines = table.splitlines()
    titles = [title.strip() for title in head.strip("|").split("|")]
    missing = [title for title in spec["columns"] if title not in titles]
    if missing:
        raise ValueError(f"table {name} has no column {missing[0]}")
    if len(lines) != len(spec["rows"]):
        raise ValueError(f"table {name} has {len(lines)} rows, not {len(spec['rows'])}")
    made = [head, ruler]
    for line, row in zip(lines, spec["rows"], strict=True):
        texts = [text.strip() for text in line.strip("|").split("|")]
        for title, column in spec["columns"].items():
            texts[titles.index(title)] = cell(spec, row, column, results)
        made.append("|" + "".join(f" {text} |" if text else " |" for text in texts))
    return "\n".join(made) + "\n"


def updated(text: str, results: Path = RESULTS) -> str:
    """A page with the figures of the tables.

    Raises:
        ValueError: If a reference or a table of figures does not name values.
    """

    def figure(match: re.Match[str]) -> str:
        value = value_of(match[2], results)
        return f"{written(value, match[1])}<!--= {match[2]} -->"

    def table(match: re.Match[str]) -> str:
        return f"<!-- figures: {match[1]} -->\n{filled(match[1], match[2])}"

    return MARK.sub(table, REFERENCE.sub(figure, text))


def normal(figure: str) -> str:
    """A figure without sign and commas."""
    return figure.lstrip(f"+-{MINUS}").replace(",", "")


def linked_figures(page: Path) -> frozenset[str]:
    """All figures with one decimal in the pages of results that a page links to."""
    found: set[str] = set()
    for target in {page, *(page.parent / link for link in LINK.findall(page.read_text("utf-8")))}:
        if target != page and not (
            target.parent.name in ("results", "studies") and target.is_file()
        ):
            continue
        text = target.read_text("utf-8")
        sources = [ROOT / name for name in INCLUDED.findall(text)]
        if target != page:
            sources.append(target)
        for source in sources:
            found.update(map(normal, FIGURE.findall(source.read_text("utf-8"))))
    return frozenset(found)


def problems(
    text: str, *, known: Collection[str] | None = None, results: Path = RESULTS
) -> list[Problem]:
    """What is wrong with the figures of a page.

    Args:
        text: The page in Markdown.
        known: Figures of the pages of results that it links to; None if figures need no source.
        results: Folder of the tables.
    """
    found = wrong_tables(text)
    lines = without_code(MARK.sub(lambda match: "\n" * match[0].count("\n"), text)).split("\n")
    for number, line in enumerate(lines, 1):
        for match in REFERENCE.finditer(line):
            try:
                now = written(value_of(match[2], results), match[1])
            except ValueError as error:
                found.append(Problem(line=number, text=f"{match[1]}: {error}"))
                continue
            if now != match[1].replace("-", MINUS if MINUS in now else "-"):
                found.append(Problem(line=number, text=f"{match[1]} is {now} in the table"))
    if known is not None:
        sourced = sourced_lines(text)
        for number, line in enumerate(lines, 1):
            rest = re.sub(r"<!--.*?-->", "", REFERENCE.sub("", line))
            found += [
                Problem(line=number, text=f"{match[0]} is in no table that the page links to")
                for match in FIGURE.finditer(rest)
                if number not in sourced and normal(match[0]) not in known
            ]
    return found


def wrong_tables(text: str) -> list[Problem]:
    """Tables of figures that are not as `figures.yaml` has them made."""
    found = []
    for match in MARK.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        try:
            if filled(match[1], match[2]) != match[2]:
                found.append(Problem(line=number, text=f"table {match[1]} has other figures now"))
        except ValueError as error:
            found.append(Problem(line=number, text=str(error)))
    return found


def sourced_lines(text: str) -> frozenset[int]:
    """Numbers of the lines in sections that name a command or what they quote."""
    lines = text.split("\n")
    heads = [i for i, line in enumerate(without_code(text).split("\n")) if line.startswith("#")]
    found: list[int] = []
    for begin, end in zip([0, *heads], [*heads, len(lines)], strict=True):
        if SOURCE.search("\n".join(lines[begin:end])):
            found += range(begin + 1, end + 1)
    return frozenset(found)


def without_code(text: str) -> str:
    """A page with blank code, in which all other lines keep their numbers."""
    blank = re.sub(
        r"^( *)(```|~~~).*?^\1\2", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S
    )
    return re.sub(r"`[^`\n]*`", "", blank)


def pages(root: Path = ROOT) -> list[Path]:
    """README and all pages of the docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def known_figures(page: Path) -> frozenset[str] | None:
    """The figures of a page that need no reference; None for a decision."""
    return None if {page.name, page.parent.name} & set(EXEMPT) else linked_figures(page)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    num_problems = 0
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if given.write and (new := updated(text)) != text:
            page.write_text(new, encoding="utf-8")
            text = new
        name = str(page.relative_to(ROOT))
        for problem in problems(text, known=known_figures(page)):
            print(f"{name}:{problem.line}: {problem.text}")
            num_problems += 1
    sys.exit(1 if num_problems else 0)


if __name__ == "__main__":
    main()
