"""Figures in README and docs, each with the place in a table that it comes from.

A figure in prose is followed by a reference, which readers do not see:

    86.3<!--= real_table dataset=real24_clutter method=cign_analytic last_audio_visual -->

The reference names a CSV file in ``benchmarks/results``, columns with the values that select one
row, and the column of the figure. Only columns that are needed to select one row must be named. The
figure has as many decimals as it is written with, and a sign if it is written with one.

    python tools/figures.py            list the figures that differ from their table
    python tools/figures.py --write    write the figures of the tables
"""

from __future__ import annotations

import argparse
import csv
import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MINUS = "\N{MINUS SIGN}"
REFERENCE = re.compile(rf"([+{MINUS}-]?\d[\d,]*(?:\.\d+)?)<!--= ([^>]*?) -->")
# A figure with one decimal; versions, dates and times have more dots or letters beside them.
FIGURE = re.compile(rf"(?<![\w.,/{MINUS}+-])[+{MINUS}-]?\d[\d,]*\.\d(?![\w.]|,\d)")
# Pages whose figures all have a reference; tables, code and settings in backticks need none.
PAGES: tuple[str, ...] = ()


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
    rows = rows_of(table, results)
    for column in (*wanted, *columns):
        if rows and column not in rows[0]:
            raise ValueError(f"{table}.csv has no column {column}")
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows of {table}.csv match, not one")
    text = found[0][columns[0]]
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


def updated(text: str, results: Path = RESULTS) -> str:
    """A page with the figures of the tables.

    Raises:
        ValueError: If a reference does not name a value.
    """

    def figure(match: re.Match[str]) -> str:
        value = value_of(match[2], results)
        return f"{written(value, match[1])}<!--= {match[2]} -->"

    return REFERENCE.sub(figure, text)


def problems(text: str, *, needs_all: bool, results: Path = RESULTS) -> list[Problem]:
    """What is wrong with the figures of a page.

    Args:
        text: The page in Markdown.
        needs_all: Whether every figure with one decimal in prose needs a reference.
        results: Folder of the tables.
    """
    found = []
    for number, line in enumerate(without_code(text).split("\n"), 1):
        for match in REFERENCE.finditer(line):
            try:
                now = written(value_of(match[2], results), match[1])
            except ValueError as error:
                found.append(Problem(line=number, text=f"{match[1]}: {error}"))
                continue
            if now != match[1].replace("-", MINUS if MINUS in now else "-"):
                found.append(Problem(line=number, text=f"{match[1]} is {now} in the table"))
        rest = re.sub(r"<!--.*?-->", "", REFERENCE.sub("", line))
        is_table = rest.lstrip().startswith("|")
        if needs_all and not is_table:
            found += [
                Problem(line=number, text=f"{match[0]} has no reference to a table")
                for match in FIGURE.finditer(rest)
            ]
    return found


def without_code(text: str) -> str:
    """A page with blank code, in which all other lines keep their numbers."""
    blank = re.sub(
        r"^( *)(```|~~~).*?^\1\2", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S
    )
    return re.sub(r"`[^`\n]*`", "", blank)


def pages(root: Path = ROOT) -> list[Path]:
    """README and all pages of the docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


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
        for problem in problems(text, needs_all=name in PAGES):
            print(f"{name}:{problem.line}: {problem.text}")
            num_problems += 1
    sys.exit(1 if num_problems else 0)


if __name__ == "__main__":
    main()
