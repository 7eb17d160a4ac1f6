"""Tables in LaTeX and charts as SVG files, for papers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

# Of characters that LaTeX reads as commands.
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
}

# The style sheet of reports in black on white; variables are not known to programs that draw SVG.
_STYLE = """
text { font-family: sans-serif; }
.grid { stroke: #d9d9d9; fill: none; } .zero { stroke: #111111; fill: none; }
.tick { fill: #444444; font-size: 13px; } .name { fill: #111111; font-size: 13px; }
.line { fill: none; stroke: #0b5fa5; stroke-width: 2; stroke-linejoin: round; }
.dot { fill: #0b5fa5; stroke: #ffffff; stroke-width: 1; }
"""


def escaped(text: str) -> str:
    """Text with which LaTeX prints the same characters."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    num_names: int = 1,
    bold: Sequence[tuple[int, int]] = (),
) -> str:
    """A table for the package booktabs.

    Args:
        head: Names of the columns.
        rows: Cells as text, one sequence per row.
        caption: Caption; none if empty.
        num_names: Number of columns of names, at the left; all others are aligned at the right.
        bold: Row and column of cells to print in bold.
    """
    columns = "l" * num_names + "r" * (len(head) - num_names)
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines.append(" & ".join(map(escaped, head)) + r" \\")
    lines.append(r"\midrule")
    for i, row in enumerate(rows):
        cells = [
            rf"\textbf{{{escaped(cell)}}}" if (i, j) in bold else escaped(cell)
            for j, cell in enumerate(row)
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if caption:
        lines.append(rf"\caption{{{escaped(caption)}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def svg_file(chart: Markup) -> str:
    """A chart as the content of an SVG file, with its style and without a style sheet."""
    box = re.search(r'viewBox="([^"]*)"', chart)
    assert box is not None, "charts are made by cign.report.svg.drawing"
    _, _, width, height = box.group(1).split()
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    body = str(chart).replace("<svg ", start, 1)
    head, _, rest = body.partition(">")
    return f"{head}><style>{_STYLE}</style>{rest}\n"
