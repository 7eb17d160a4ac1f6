"""Copy six rows of the published main table, with 4 tasks, into the README.

python benchmarks/readme_table.py
"""

from __future__ import annotations

import re
from pathlib import Path

from cign.utils.files import write_text

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- main table -->", "<!-- end of main table -->"
SHOWN = ("method", "memory", "audio-visual", "difference", "forgetting", "stored")
ROWS = (
    ("finetune", "0"),
    ("cign", "0"),
    ("icarl", "120"),
    ("joint", "0"),
    ("analytic", "0"),
    ("cign_analytic", "0"),
)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, header row first, without the separator line."""
    _, _, rest = page.partition(f"\n{heading}\n")
    lines = re.findall(r"^\|(.*)\|$", rest.partition("\n## ")[0], re.MULTILINE)
    if len(lines) < 3:
        raise SystemExit(f"main_table.md has no table under {heading!r}: run `make table` first")
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def unfinished(page: str) -> list[str]:
    """A sentence naming the rows of 4 tasks that do not cover all datasets yet, if any."""
    pattern = r"^- (\w+), 4 tasks, memory (\w+):.*?(\d+) of (\d+) stores only"
    found = re.findall(pattern, page, re.MULTILINE)
    rows = [f"{method} at {memory} ({done} of {of})" for method, memory, done, of in found]
    return [f"Not on all datasets yet: {', '.join(rows)}."] if rows else []


def main() -> None:
    page = (ROOT / "benchmarks" / "results" / "main_table.md").read_text()
    head, *every = rows_of(page, "## 4 tasks")
    found = {(row[0], row[1]): row for row in every}
    if missing := [name for name in ROWS if name not in found]:
        raise SystemExit(f"main_table.md has no row {missing[0]}: run `make table` first")
    rows = [found[name] for name in ROWS]
    # The heading of the differences includes the reference method.
    names = ["difference" if cell.startswith("difference") else cell for cell in head]
    places = [names.index(name) for name in SHOWN]
    widths = ("---", "---", *["---:"] * (len(SHOWN) - 2))
    lines = [[head[i] for i in places], widths, *([row[i] for i in places] for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    table += "".join(f"\n\n{line}" for line in unfinished(page))
    readme = (ROOT / "README.md").read_text()
    before, has_mark, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not has_mark or not ended:
        raise SystemExit(f"README.md lacks the lines {BEGIN} and {END}")
    write_text(ROOT / "README.md", f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
