"""The page of a comparison, and its tables as CSV and in LaTeX."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence

from compare_jobs import Table
from compare_numbers import Difference, Line, Runs, corrected

from cign.bench.intervals import STUDENT_T
from cign.report.paper import latex_table
from cign.report.text import number
from cign.utils.code_version import count_versions, statement, warning
from cign.vocabulary import MODALITIES

NAMES = {
    "lite0+sfx": "EfficientNet-Lite0 and aiSFX (`lite0+sfx`)",
    "small": "The small pair (`small`)",
    "random": "The small pair with random weights (`small-random`): the floor",
}


def missing(runs: Runs) -> list[str]:
    """What is not finished: one sentence per table, with the number of runs of each method."""
    counts: dict[Table, dict[str, int]] = {}
    for job in runs.comparison.jobs():
        if job.name not in runs.kept:
            label = job.row.name + (f" ({job.row.memory})" * (job.row.memory != "0"))
            of_table = counts.setdefault(job.table, {})
            of_table[label] = of_table.get(label, 0) + 1
    return [
        f"- {heading(table)}: "
        + ", ".join(f"{label} {count}" for label, count in sorted(some.items()))
        for table, some in counts.items()
    ]


def heading(table: Table) -> str:
    """The title of a table."""
    few = "" if table.shots is None else f", {table.shots} clips per class"
    tasks = "" if table.num_tasks == 4 else f", {table.num_tasks} tasks"
    stream = "" if table.stream == "tasks" else f", stream {table.stream}"
    return f"{table.dataset}{few.replace('1 clips', '1 clip')}{tasks}{stream} ({table.backbone})"


def table_lines(lines: Sequence[Line], against: Sequence[str]) -> list[str]:
    """A table in Markdown."""
    columns = ["method", "memory", "audio", "visual", "audio-visual"]
    columns += [f"difference from {name} [95 %]" for name in against]
    columns += ["forgetting", "stored (MB)", "orders", "s"]
    result = [f"| {' | '.join(columns)} |", f"| --- | --- {'| ---: ' * (len(columns) - 2)}|"]
    for line in lines:
        audio, visual, both = line.last.mean(axis=0)
        cells = [line.row.name, line.row.memory, number(audio), number(visual)]
        spread = f" ± {number(line.last[:, -1].std(ddof=1))}" if len(line.last) > 1 else ""
        cells.append(f"{number(both)}{spread}")
        cells += [
            in_words(line.differences.get(name), 2) + " \\*" * (name in line.holds)
            for name in against
        ]
        cells += [number(line.forgetting), number(line.stored_mb), str(len(line.orders))]
        cells.append(number(line.cpu_seconds))
        result.append(f"| {' | '.join(cells)} |")
    return result


def in_words(difference: Difference | None, modality: int) -> str:
    """A difference with its interval; empty where there is none."""
    if difference is None:
        return ""
    value, low, high = (
        number(float(values[modality]), True)
        for values in (difference.value, difference.low, difference.high)
    )
    return f"{value} [{low}, {high}]{' t' * (difference.kinds[modality] == STUDENT_T)}"


def as_latex(found: Mapping[Table, Sequence[Line]], against: Sequence[str]) -> str:
    """All tables in LaTeX."""
    texts = []
    for table, lines in found.items():
        rows = []
        for line in lines:
            audio, visual, both = line.last.mean(axis=0)
            spread = f" ± {number(line.last[:, -1].std(ddof=1))}" if len(line.last) > 1 else ""
            rows.append(
                [
                    *(line.row.name, line.row.memory, number(audio), number(visual)),
                    f"{number(both)}{spread}",
                    *(in_words(line.differences.get(name), 2) for name in against),
                ]
            )
        head = ["method", "memory", "audio", "visual", "audio-visual"]
        head += [f"difference from {name}" for name in against]
        texts.append(latex_table(head, rows, caption=heading(table), num_names=2))
    return "\n".join(texts)


def as_csv(found: Mapping[Table, Sequence[Line]], against: Sequence[str]) -> str:
    """All numbers and differences of all modalities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["backbone", "dataset", "shots", "tasks", "stream", "method", "memory", "orders"]
    head += [f"last_{modality}{end}" for modality in MODALITIES for end in ("", "_std")]
    ends = ("", "_low", "_high", "_interval")
    head += [f"{m}_minus_{name}{end}" for name in against for m in MODALITIES for end in ends]
    writer.writerow(head)
    for table, lines in found.items():
        for line in lines:
            cells: list[object] = [table.backbone, table.dataset, table.shots or ""]
            cells += [table.num_tasks, table.stream]
            cells += [line.row.name, line.row.memory, len(line.orders)]
            for own in line.last.T:
                cells += [f"{own.mean():.4f}", f"{own.std(ddof=1):.4f}" if len(own) > 1 else ""]
            for name in against:
                cells += _cells(line.differences.get(name))
            writer.writerow(cells)
    return text.getvalue()


def _cells(difference: Difference | None) -> list[str]:
    if difference is None:
        return [""] * 4 * len(MODALITIES)
    cells = []
    for i in range(len(MODALITIES)):
        ends = (difference.value[i], difference.low[i], difference.high[i])
        cells += [*(f"{value:.4f}" for value in ends), difference.kinds[i]]
    return cells


def processors(runs: Runs) -> str:
    """On which processors runs were made; times of different ones are not comparable."""
    counts = Counter(kept.record.get("processor", "not recorded") for kept in runs.kept.values())
    each = (f"{n} run{'s' if n > 1 else ''}: {name}" for name, n in sorted(counts.items()))
    return f"Processors: {'; '.join(each)}."


def page(runs: Runs) -> dict[str, str]:
    """The finished runs of a comparison as ``md``, ``csv`` and ``tex``."""
    comparison = runs.comparison
    of_table = {
        table: corrected(
            [
                line
                for row in comparison.section_of(table).rows_of(table)
                if (line := runs.line(table, row)) is not None
            ]
        )
        for table in comparison.tables
    }
    found = {table: lines for table, lines in of_table.items() if lines}
    num_intervals = sum(len(line.differences) for lines in found.values() for line in lines)
    code = count_versions([kept.record["code"]] for kept in runs.kept.values())
    jobs = comparison.jobs()
    done = sum(job.name in runs.kept for job in jobs)
    parts = [f"# {comparison.title}", comparison.introduction.strip()]
    parts.append(f"**{done} of {len(jobs)} runs are done.**")
    if done:
        parts.append(f"{statement(code)} {warning(code)}".strip())
        parts.append(processors(runs))
    if num_intervals:
        parts.append(
            f"This page has {num_intervals} intervals, each at 95 %: of twenty true differences of "
            "zero, one interval is expected to exclude zero. Those marked \\* exclude zero also "
            "after Holm's correction for the number of differences in their table."
        )
    section = ""
    for table, lines in found.items():
        title = NAMES[table.backbone] + (", few clips" if table.shots else "")
        if title != section:
            section = title
            parts.append(f"## {title}")
        parts += [f"### {heading(table)}", "\n".join(table_lines(lines, comparison.against))]
    lacking = missing(runs)
    if lacking:
        parts += ["## Missing", "Runs that are not done, by method:", "\n".join(lacking)]
    return {
        "md": "\n\n".join(parts) + "\n",
        "csv": as_csv(found, comparison.against),
        "tex": as_latex(found, comparison.against),
    }
