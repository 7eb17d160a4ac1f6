"""Run one study: a question, its benches, a figure and a table.

    python benchmarks/study.py NAME [--now A,B]      one of benchmarks/studies/NAME.yaml
    python benchmarks/study.py --list
    python benchmarks/study.py --times               the times of all studies

Writes ``benchmarks/results/studies/NAME.{md,csv,png}``. An interrupted study resumes when the
command is repeated. The keys of a study file:

    title, question        shown on the page
    x                      tasks, memory or label: the horizontal axis
    shown                  metrics of the table, one panel each (last_audio_visual by default)
    spread                 standard deviation over stores (by default) or orders
    benches                label and options of `cign bench`: stores, methods, tasks, memory,
                           orders, seeds, backbone, test_stores, recipes, only; and
                           against, one method or several, each with a table of differences
    finding                the result, written after the runs
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from study_figure import NAMES, Row, draw

from cign.bench import BenchConfig, run_bench
from cign.bench.config import ALL_STORES
from cign.bench.grid import Part
from cign.bench.plan import run_name
from cign.bench.table import differences as difference_table
from cign.bench.worker import is_done
from cign.errors import InputError
from cign.utils.files import read_json, write_text

HERE = Path(__file__).parent
STUDIES, RESULTS = HERE / "studies", HERE / "results" / "studies"


def config_of(bench: dict[str, Any], against: str | None = None) -> BenchConfig:
    """The configuration of a bench."""
    known = {
        *("label", "stores", "methods", "tasks", "memory", "orders", "seeds", "backbone"),
        *("test_stores", "recipes", "only", "regime", "against"),
    }
    odd = sorted(set(bench) - known)
    if odd:
        raise InputError(
            "unknown-name", f"unknown key {odd[0]!r} in a bench: use {', '.join(sorted(known))}"
        )
    settings = {name: bench[name] for name in ("regime", "backbone") if name in bench}
    settings["bf16"] = True
    return BenchConfig(
        stores=tuple(map(Path, bench["stores"])),
        methods=tuple(bench["methods"]),
        tasks=tuple(bench.get("tasks", [4])),
        memories=tuple(map(str, bench.get("memory", ["0"]))),
        num_orders=tuple(bench.get("orders", [1])),
        num_seeds=bench.get("seeds", 1),
        test_stores=tuple(map(Path, bench.get("test_stores", []))),
        settings=settings,
        recipes=Path(bench["recipes"]) if "recipes" in bench else None,
        against=against,
        only=dict(Part.parse(text) for text in bench.get("only", [])),
    )


def run(name: str, study: dict[str, Any], folder: Path, now: tuple[str, ...]) -> list[Row]:
    """Make the missing runs; returns the rows over all stores, each with its bench's label."""
    rows: list[Row] = []
    for number, bench in enumerate(study["benches"]):
        label = str(bench.get("label", ""))
        place = folder / name / (label.replace(" ", "-") or str(number))
        others = bench.get("against") or [None]
        for against in [others] if isinstance(others, str) else others:
            config = config_of(bench, against)
            chosen = tuple(method for method in now if method in config.methods)
            result = run_bench(config, place, keep_models=False, now=chosen)
            found = [row for row in result.table["rows"] if row["store"] == ALL_STORES]
            if study.get("spread") == "orders":
                found = [{**row, "numbers": over_runs(place / "runs", row)} for row in found]
            rows += [{**row, "label": label, "versus": against} for row in found]
            for failed, why in result.failed.items():
                print(f"failed: {failed}: {why}", flush=True)
    return rows


def over_runs(runs: Path, row: Row) -> dict[str, dict[str, Any]]:
    """The metrics of a row with their standard deviation over its runs, and the value per run."""
    name = run_name(row["method"], "*", row["tasks"], row["memory"], "*", "*")
    each = [read_json(path / "metrics.json", "metrics")["modalities"] for path in runs.glob(name)]
    found = {}
    for number, entry in row["numbers"].items():
        metric, _, modality = number.partition("_")
        values = [modalities[modality][metric] for modalities in each]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[number] = {**entry, "std": spread, "each": values}
    return found


def once(rows: list[Row]) -> list[Row]:
    """The rows without repetitions that differ only in the method compared with."""
    first: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        first.setdefault((row["label"], row["method"], row["tasks"], row["memory"]), row)
    return list(first.values())


def differences(rows: list[Row]) -> list[str]:
    """Tables of paired differences with intervals, one for each reference method."""
    lines = []
    lead = {"what": "label", "method": "method", "tasks": "tasks", "memory": "memory"}
    for against in dict.fromkeys(row["versus"] for row in rows if row["versus"]):
        own = [row for row in rows if row["versus"] == against != row["method"]]
        lines += [
            "",
            f"Difference from {against}, last, points [95 %; t: Student's t over the stores]:",
            "",
            *difference_table(own, lead),
        ]
    return lines


def write(name: str, study: dict[str, Any], rows: list[Row]) -> None:
    """Write the page, the CSV table and the figure."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    numbers = [f"{metric}_{r}" for metric in ("last", "average", "forgetting") for r in NAMES]
    head = ["label", "method", "tasks", "memory", "runs"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"{n}{end}" for n in numbers for end in ("", "_std"))])
    for row in once(rows):
        values = [row["numbers"][n][key] for n in numbers for key in ("value", "std")]
        writer.writerow([*(row[key] for key in head), *("" if v is None else v for v in values)])
    write_text(RESULTS / f"{name}.csv", text.getvalue())
    draw(study, once(rows), RESULTS / f"{name}.png")
    labelled = any(row["label"] for row in rows)
    columns = [*(["what"] if labelled else []), "method", "tasks", "memory"]
    lines = [
        f"# {study['title']}",
        "",
        study["question"].strip(),
        "",
        f"`python benchmarks/study.py {name}`",
        "",
        f"**{study.get('finding', 'Not evaluated yet.').strip()}**",
        "",
        f"![{study['title']}]({name}.png)",
        "",
        "Percent, means over stores and class orders ± standard deviation over "
        f"{study.get('spread', 'stores')}.",
        "",
        f"| {' | '.join(columns)} | audio | visual | audio-visual | average | forgetting | runs |",
        f"| {' | '.join('---' for _ in columns)} | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    shown = [f"last_{modality}" for modality in NAMES]
    shown += ["average_audio_visual", "forgetting_audio_visual"]
    for row in once(rows):
        cells = [row["label"]] if labelled else []
        cells += [row["method"], str(row["tasks"]), row["memory"]]
        cells += [cell(row["numbers"][number]) for number in shown]
        lines.append(f"| {' | '.join([*cells, str(row['runs'])])} |")
    write_text(RESULTS / f"{name}.md", "\n".join([*lines, *differences(rows)]) + "\n")


def cell(number: dict[str, Any]) -> str:
    """A number with its standard deviation."""
    if number["value"] is None:
        return ""
    spread = "" if number["std"] is None else f" ± {number['std']:.1f}"
    return f"{number['value']:.1f}{spread}"


def times(folder: Path, names: list[str]) -> str:
    """Table of the training and evaluation times of each study, as Markdown."""
    lines = [
        "# Times of the studies",
        "",
        "`python benchmarks/study.py --times`",
        "",
        "Minutes on one core, as recorded by the runs, with two processes in parallel.",
        "",
        "| study | runs | minutes |",
        "| --- | ---: | ---: |",
    ]
    total = 0.0
    for name in names:
        found = [path for path in (folder / name).glob("*/runs/*") if is_done(path)]
        costs = [read_json(path / "metrics.json", "metrics")["costs"] for path in found]
        minutes = sum(float(cost["seconds"]) for cost in costs) / 60
        total += minutes
        lines.append(f"| {name} | {len(found)} | {minutes:.0f} |")
    return "\n".join([*lines, f"| total | | {total:.0f} |"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = sorted(path.stem for path in STUDIES.glob("*.yaml"))
    parser.add_argument("name", nargs="?", choices=names)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--to", type=Path, default=Path("work/studies"))
    parser.add_argument("--now", default="", help="run only these methods")
    arguments = parser.parse_args()
    if arguments.times:
        write_text(RESULTS / "times.md", times(arguments.to, names))
        return
    if arguments.list or arguments.name is None:
        for name in names:
            print(f"{name}: {yaml.safe_load((STUDIES / f'{name}.yaml').read_text())['title']}")
        return
    study = yaml.safe_load((STUDIES / f"{arguments.name}.yaml").read_text())
    now = tuple(filter(None, arguments.now.split(",")))
    write(arguments.name, study, run(arguments.name, study, arguments.to, now))


if __name__ == "__main__":
    main()
