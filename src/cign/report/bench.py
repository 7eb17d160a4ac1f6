"""The report of a bench, generated from its ``table.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.report.charts import Difference, interval_chart
from cign.report.html import fill
from cign.report.numbers import MODALITY_NAMES
from cign.report.page import HEADLINE, LABELS
from cign.report.paper import latex_table, svg_file
from cign.report.text import flatten, number
from cign.utils.code_version import statement, warning
from cign.utils.files import read_json, write_text
from cign.vocabulary import MODALITIES

FORMAT = 1
TABLE = "table.json"
ALL_STORES = "all"
MAIN = "last_audio_visual"
_MAIN_COLUMNS = (
    ("last_audio", "audio"),
    ("last_visual", "visual"),
    ("average_audio_visual", "average"),
    ("forgetting_audio_visual", "forgetting"),
)

Row = Mapping[str, Any]


def is_bench(folder: Path) -> bool:
    """Whether the folder was written by `cign bench`."""
    return (folder / "bench.json").is_file()


def write_bench_report(folder: Path, out: Path) -> None:
    """Write one self-contained HTML file about a bench, or what a paper needs of it.

    Args:
        folder: Folder of the bench.
        out: Path of the file to write: a LaTeX table if it ends in ``.tex``, the chart of the
            differences if it ends in ``.svg``, otherwise HTML.

    Raises:
        InputError: If the bench has no table yet, its table has a different format, or there is
            nothing to draw.
    """
    path = folder / TABLE
    if not path.exists():
        raise InputError(
            "file-missing", f"bench {folder} has no {TABLE} yet: run the same `cign bench` again"
        )
    table = read_json(path, "table of the bench")
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise InputError(
            "wrong-format", f"{path} is not of format {FORMAT}: run the same `cign bench` again"
        )
    suffix = out.suffix.lower()
    if suffix == ".tex":
        write_text(out, _latex(table))
    elif suffix == ".svg":
        write_text(out, _svg(table, folder))
    else:
        write_text(out, fill("bench.html.j2", **_page(table)))


def _latex(table: Mapping[str, Any]) -> str:
    """One LaTeX table for each number of tasks."""
    texts, against = [], table["against"]
    for tasks in sorted({row["tasks"] for row in table["rows"]}):
        shown = [r for r in table["rows"] if r["tasks"] == tasks and r["store"] == ALL_STORES]
        best = _best(shown)
        rows, bold = [], []
        for i, row in enumerate(shown):
            main = row["numbers"][MAIN]
            spread = "" if main["std"] is None else f" ± {number(main['std'])}"
            if best is not None and main["value"] == best:
                bold.append((i, 2))
            rows.append(
                [
                    str(row["method"]),
                    str(row["memory"]),
                    f"{number(main['value'])}{spread}",
                    *([] if against is None else [_difference(main)]),
                    *(number(row["numbers"][name]["value"]) for name, _ in _MAIN_COLUMNS),
                ]
            )
        head = ["method", "memory", "audio-visual"]
        head += [] if against is None else [f"difference from {against}"]
        head += [name for _, name in _MAIN_COLUMNS]
        caption = f"Last accuracy in percent, {tasks} task{'s' if tasks > 1 else ''}."
        if against is not None:
            caption += " Differences have 95 % intervals."
        texts.append(latex_table(head, rows, caption=caption, num_names=2, bold=bold))
    return "\n".join(texts)


def _difference(number_of: Mapping[str, Any]) -> str:
    value, low, high = (number_of[key] for key in ("difference", "low", "high"))
    if value is None:
        return ""
    interval = "" if low is None else f" [{number(low, True)}, {number(high, True)}]"
    return f"{number(value, True)}{interval}"


def _svg(table: Mapping[str, Any], folder: Path) -> str:
    """The differences from the method that all are compared with, for the most tasks."""
    tasks = max(row["tasks"] for row in table["rows"])
    chart = _section(tasks, [r for r in table["rows"] if r["tasks"] == tasks], table)["chart"]
    if chart is None:
        raise InputError(
            "no-clips",
            f"bench {folder} has no differences to draw: it needs a second method, and --against",
        )
    return svg_file(chart)


def _page(table: Mapping[str, Any]) -> dict[str, Any]:
    rows: list[Row] = table["rows"]
    stores = list(table["stores"])
    headline = {f"{name}_{modality}": name for name in HEADLINE for modality in MODALITIES}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return {
        "title": f"{_many(methods, 'method')} on {_many(stores, 'store')}",
        "table": table,
        "sections": [
            _section(number, [row for row in rows if row["tasks"] == number], table)
            for number in sorted({row["tasks"] for row in rows})
        ],
        "stores": stores,
        "rows_of": {
            store: [row for row in rows if row["store"] == store] for store in (ALL_STORES, *stores)
        },
        "all_stores": ALL_STORES,
        "main": MAIN,
        "main_columns": _MAIN_COLUMNS,
        "modalities": MODALITY_NAMES,
        "numbers": {
            modality: [f"{name}_{modality}" for name in HEADLINE] for modality in MODALITIES
        },
        "headline": headline,
        "labels": LABELS,
        "measures": sorted({row["metric"] for row in rows}),
        "config": flatten(table["config"]),
        "code": statement(table["code"]) if table.get("code") else "",
        "caution": warning(table.get("code", ())),
        "versions": flatten({"versions": table["versions"], "machine": table["machine"]}),
    }


def _many(names: Sequence[str], what: str) -> str:
    return f"one {what}" if len(names) == 1 else f"{len(names)} {what}s"


def _section(tasks: int, rows: Sequence[Row], table: Mapping[str, Any]) -> dict[str, Any]:
    """The main comparison for one number of tasks."""
    shown = [row for row in rows if row["store"] == ALL_STORES]
    lines = [
        Difference(name=_name(row, shown), **{key: number[key] for key in ("low", "high")}, value=x)
        for row in shown
        for number in (row["numbers"][MAIN],)
        for x in (number["difference"],)
        if x is not None and number["low"] is not None
    ]
    title = f"difference from {table['against']}, audio-visual, in points"
    return {
        "tasks": tasks,
        "rows": shown,
        "best": _best(shown),
        "chart": interval_chart(lines, title=title, x_label=title) if lines else None,
    }


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The method, followed by the memory if the method has several."""
    several = sum(other["method"] == row["method"] for other in rows) > 1
    return f"{row['method']}, memory {row['memory']}" if several else str(row["method"])


def _best(rows: Sequence[Row]) -> float | None:
    """The highest audio-visual last accuracy, excluding references."""
    values = [
        row["numbers"][MAIN]["value"]
        for row in rows
        if row["method"] not in ("joint", "finetune") and row["numbers"][MAIN]["value"] is not None
    ]
    return max(values) if len(values) > 1 else None
