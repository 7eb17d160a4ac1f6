"""The table as text: CSV for scripts, Markdown for documents."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cign.bench.config import ALL_STORES
from cign.bench.resampling import NUMBERS
from cign.bench.summary import COSTS
from cign.report.text import number
from cign.utils.code_version import statement, warning
from cign.vocabulary import MODALITIES

Row = Mapping[str, Any]
Table = Mapping[str, Any]

_KEYS = ("method", "tasks", "memory", "regime", "store", "metric")
CSV_COLUMNS = (
    *_KEYS,
    *(name + end for name in NUMBERS for end in ("", "_std", "_low", "_high")),
    *COSTS,
    "runs",
    "note",
)


def as_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV; percent with four decimals, empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        numbers = row["numbers"]
        cells = [numbers[name][end] for name in NUMBERS for end in ("value", "std", "low", "high")]
        costs = [round(row[name], 0 if name in COSTS[:2] else 2) for name in COSTS]
        costs[:2] = [int(value) for value in costs[:2]]
        ends = [row["runs"], row["note"]]
        writer.writerow([*(row[key] for key in _KEYS), *cells, *costs, *ends])
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """The main comparison for each number of tasks, with remarks and definitions, as Markdown."""
    rows = [row for row in table["rows"] if row["store"] == ALL_STORES]
    parts = [_opening(table)]
    for tasks in sorted({row["tasks"] for row in rows}):
        some = [row for row in rows if row["tasks"] == tasks]
        parts.append(f"## {tasks} task{'s' if tasks > 1 else ''}\n\n{_main(some, table)}")
    remarks = [
        f"- {row['method']}, {row['tasks']} tasks, memory {row['memory']}: {row['note']}"
        for row in rows
        if row["note"]
    ]
    for title, lines in (
        ("Remarks", remarks),
        (
            "Skipped",
            [
                f"- {x['method']}, memory {x['memory']}: {x['reason']}"
                for x in _of(table, "skipped")
            ],
        ),
        ("Failed", [f"- {x['run']}: {x['error']}" for x in _of(table, "failed")]),
    ):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(lines))
    parts.append(_definitions(table))
    return "\n\n".join(parts) + "\n"


def _of(table: Table, name: str) -> Sequence[Mapping[str, Any]]:
    listed: Sequence[Mapping[str, Any]] = table[name]
    return listed


def _opening(table: Table) -> str:
    stores = ", ".join(table["stores"])
    done, planned = table["runs_done"], table["runs_planned"]
    state = "" if done == planned else f" **{done} of {planned} runs are done.**"
    about = "Percent; means over stores, class orders and seeds."
    stream = table["config"].get("stream", "tasks")
    if stream != "tasks":
        about += f" Stream of the training clips: {stream}."
    lines = [f"# Comparison on {stores}", f"{about}{state}"]
    if table["code"]:
        caution = warning(table["code"])
        lines.append(statement(table["code"]) + (f" **{caution}**" if caution else ""))
    return "\n\n".join(lines)


def _main(rows: Sequence[Row], table: Table) -> str:
    """Audio-visual numbers with the difference; then the other modalities and the costs."""
    against = table["against"]
    head = ["method", "memory", "audio-visual"]
    head += [f"difference from {against} [95 %]"] if against else []
    head += ["audio", "visual", "average", "forgetting", "stored", "seconds", "runs"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for row in rows:
        numbers = row["numbers"]
        cells = [row["method"], row["memory"], with_spread(numbers["last_audio_visual"])]
        cells += [difference(numbers["last_audio_visual"])] if against else []
        cells += [number(numbers[f"last_{modality}"]["value"]) for modality in MODALITIES[:2]]
        cells += [
            number(numbers[f"{name}_audio_visual"]["value"]) for name in ("average", "forgetting")
        ]
        stored = f"{row['bytes_kept'] / 1e6:.1f} MB"
        lines.append([*cells, stored, f"{row['seconds']:.0f}", str(row["runs"])])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _definitions(table: Table) -> str:
    lines = [f"- **{name}**: {text}" for name, text in table["definitions"].items()]
    return "## How to read it\n\n" + "\n".join(lines)


def with_spread(entry: Mapping[str, Any]) -> str:
    """A value with its standard deviation, if it has one."""
    value = number(entry["value"])
    return value if entry["std"] is None else f"{value} ± {number(entry['std'])}"


def differences(rows: Iterable[Row], lead: Mapping[str, str]) -> list[str]:
    """Paired differences of the final accuracies of all modalities, as Markdown lines.

    Args:
        rows: Rows of the table; those without a difference are omitted.
        lead: Leading columns: keys of a row by column heading.
    """
    lines = [
        f"| {' | '.join(lead)} | audio | visual | audio-visual |",
        f"|{' --- |' * len(lead)} ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [difference(row["numbers"][f"last_{modality}"]) for modality in MODALITIES]
        if any(cells):
            lines.append(f"| {' | '.join([*(str(row[name]) for name in lead.values()), *cells])} |")
    return lines


def difference(entry: Mapping[str, Any]) -> str:
    """A paired difference with its interval; empty where nothing is compared."""
    if entry["difference"] is None:
        return ""
    ends = f"[{number(entry['low'], True)}, {number(entry['high'], True)}]"
    star = "" if entry["interval"] == "bootstrap" else " t"
    return f"{number(entry['difference'], True)} {ends}{star}"
