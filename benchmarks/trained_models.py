"""Operations on a trained model: the main rows of four detailed tables on one page.

    python benchmarks/trained_models.py

writes ``benchmarks/results/trained_models.md`` from the tables in ``benchmarks/results``; it
measures nothing. Repeat it after a change of one of these tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cign.utils.files import write_text

RESULTS = Path(__file__).parent / "results"
OUT = RESULTS / "trained_models.md"
PAIRED = "`cign audit` minus self-confidence, paired"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page.

    Attributes:
        above: The heading above it; empty without any.
        head: Names of its columns.
        rows: Its rows.
    """

    above: str
    head: list[str]
    rows: list[list[str]]

    def cell(self, row: str, column: str) -> str:
        """The cell of a row, named by its first cell, and of a column."""
        (found,) = [one for one in self.rows if one[0] == row]
        return found[self.head.index(column)]

    def part(self, columns: Sequence[str], rows: Sequence[str] | None = None) -> list[str]:
        """Some columns of some rows, of all rows by default, as lines of Markdown."""
        places = [self.head.index(name) for name in columns]
        chosen = [one for one in self.rows if rows is None or one[0] in rows]
        return markdown(columns, [[row[place] for place in places] for row in chosen])


def tables(text: str) -> list[Table]:
    """The tables of a page."""
    found: list[Table] = []
    block: list[list[str]] = []
    above = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if block:
            found.append(Table(above=above, head=block[0], rows=block[2:]))
            block = []
        if line.startswith("## "):
            above = line.removeprefix("## ")
    return found


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table; columns that begin with a number are aligned to the right."""
    marks = ["---:" if re.match(r"-?\d", cell) else "---" for cell in rows[0]]
    return [f"| {' | '.join(row)} |" for row in (head, marks, *rows)]


def command(text: str) -> str:
    """The command of a page, which is a line of its own."""
    return re.findall(r"^`[^`]*python benchmarks/[^`]*`", text, re.M)[0]


def labels(text: str) -> list[str]:
    """Accuracy with 80 labels."""
    rows = []
    for one in tables(text):
        if "random" not in [row[0] for row in one.rows]:
            continue  # variants
        name = one.above.replace("world1_small", "world1, backbone `small`")
        rules = ("random", "margin alone", "`cign next`")
        rows.append([name, *(one.cell(rule, "80 labels") for rule in rules)])
        rows[-1].append(one.cell("`cign next`", "minus random, 80"))
    return markdown(
        ("80 labels", "at random", "least certain", "`cign next`", "minus random"), rows
    )


def audit(text: str) -> list[str]:
    """Precision of three scores."""
    first = tables(text)[0]
    names = ("`cign audit`", "self-confidence, leave-one-out", "nearest neighbours", PAIRED)
    return first.part(first.head, names)


def operations(text: str) -> list[str]:
    """Merged and forgetting models beside those that learned at once, and the membership test."""
    first, second = tables(text)
    columns = ["set", "operation", "folds", "sums", "changed", "accuracy", "reference"]
    return [*first.part(columns), "", *second.part(second.head)]


def background(text: str) -> list[str]:
    """Accuracy and false alarms without and with background."""
    real, synthetic = tables(text)
    return [*real.part(real.head), "", *synthetic.part(synthetic.head, ("none", "all three"))]


SECTIONS = (
    (
        "Labels needed",
        "labels",
        "Audio-visual accuracy in percent with 80 labels, chosen in rounds; mean and 95 % interval "
        "over five starts.",
        labels,
    ),
    (
        "Wrong labels",
        "audit",
        "5 % of the labels are wrong: the share of wrong ones among as many of the most doubtful "
        "ones, by three scores; mean and 95 % interval over ten plantings. `world1_small` is "
        "`world1` with backbone `small`.",
        audit,
    ),
    (
        "Merging and forgetting",
        "operations",
        "Against a model that learned the clips at once or never: largest difference of the sums, "
        "relative to the largest entry; percent of predictions changed with the same settings; "
        "accuracy of both in percent, each with the settings that it selected. Below, in percent, "
        "the area under the curve of a test that tells forgotten clips from held-out ones; 50 is "
        "chance.",
        operations,
    ),
    (
        "Background",
        "background",
        "Accuracy in percent, and false alarms: percent of background clips below the threshold "
        "that 95 % of the known clips are below; on real24, then on synthetic datasets by kind of "
        "background.",
        background,
    ),
)


def page(results: Path) -> str:
    """The page, from the tables in a folder."""
    lines = [
        "# Operations on a trained model",
        "",
        "What proposing clips to label, judging labels, merging, forgetting and learning "
        "background achieve: the main rows of four tables, with the commands that measured them.",
    ]
    for title, name, words, rows in SECTIONS:
        text = (results / f"{name}.md").read_text(encoding="utf-8")
        link = f"({command(text)}, [all figures]({name}.md))"
        lines += ["", f"## {title}", "", f"{words} {link}", "", *rows(text)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    write_text(OUT, page(RESULTS))
    print(OUT.read_text(encoding="utf-8"))
