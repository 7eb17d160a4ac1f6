"""Tune every method's recipe with the same number of trials, on a dataset that no table uses.

The score of a trial is the last audio-visual accuracy on synthetic dataset 1 (4 tasks, class order
0), averaged over its memories. Memories and trials of a method are in its recipe under `tuning`;
what all trials share is in `tuning.yaml`. ``--write`` writes the best trial to the recipe.

    python benchmarks/tune.py work/stores/world1 [--methods a,b] [--write]
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import yaml

from cign.bench import BenchConfig, run_bench
from cign.methods import METHODS, default_recipe, method_class
from cign.utils.code_version import PACKAGE
from cign.utils.files import write_text
from cign.utils.options import read_recipe

COMMON = Path(__file__).with_name("tuning.yaml")
RESULTS = Path(__file__).with_name("results")
RECIPES = PACKAGE / "recipes"
COLUMNS = ("audio", "visual", "audio_visual")


def merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Merge two mappings recursively; ``high`` takes precedence."""
    result = dict(low)
    for key, value in high.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def tuned_methods() -> list[str]:
    """Names of the methods whose recipe lists trials."""
    return [name for name in METHODS if default_recipe(name).tuning]


def trial_options(method: str, trial: dict[str, Any]) -> dict[str, Any]:
    """All options that a trial sets; the others keep the method's defaults."""
    common, trial = yaml.safe_load(COMMON.read_text()), dict(trial)
    base = common["bases"][trial.pop("base", "none")]
    has_training = "training" in {f.name for f in dataclasses.fields(method_class(method).Options)}
    training = {"training": common["training"]} if has_training else {}
    return merged(merged(training, base), trial)


def run_trials(method: str, store: Path, folder: Path) -> list[dict[str, Any]]:
    """Run the remaining trials of a method; returns the results of all its trials."""
    entry = default_recipe(method).tuning
    recipes = folder / "recipes"
    recipes.mkdir(parents=True, exist_ok=True)
    names = []
    for number, trial in enumerate(entry["trials"], 1):
        names.append(f"{method}-{number}")
        options = trial_options(method, trial)
        text = yaml.safe_dump({"method": method, "options": options}, sort_keys=False)
        write_text(recipes / f"{names[-1]}.yaml", text)
    config = BenchConfig(
        stores=(store,),
        methods=tuple(names),
        tasks=(4,),
        memories=tuple(entry["memory"]),
        recipes=recipes,
        settings={"bf16": True},
    )
    result = run_bench(config, folder, keep_models=False)
    figures = []
    for number, (name, trial) in enumerate(zip(names, entry["trials"], strict=True), 1):
        rows = [r for r in result.table["rows"] if r["method"] == name and r["store"] == "all"]
        if len(rows) < len(entry["memory"]):
            continue  # a failed trial has no result
        mean = {
            column: sum(row["numbers"][f"last_{column}"]["value"] for row in rows) / len(rows)
            for column in COLUMNS
        }
        seconds = sum(row["seconds"] for row in rows)
        figures.append(
            {
                "method": method,
                "trial": number,
                "memory": "+".join(entry["memory"]),
                **{column: round(value, 2) for column, value in mean.items()},
                "seconds": round(seconds, 1),
                "options": yaml.safe_dump(trial, default_flow_style=True, width=999).strip(),
            }
        )
    best = max(figures, key=lambda figure: (figure["audio_visual"], -figure["trial"]))
    for figure in figures:
        figure["chosen"] = "yes" if figure is best else ""
    return figures


def write_recipe(path: Path, trial: int) -> None:
    """Write a trial's options to a method's recipe; other options keep their sources.

    Args:
        path: The recipe, which lists the trials.
        trial: Number of the trial, from 1.
    """
    recipe = read_recipe(path)
    method, trials = recipe.method, recipe.tuning["trials"]
    options = trial_options(method, trials[trial - 1])
    written = path.read_text()
    head = [line for line in written.splitlines() if line.startswith("#")]
    tuning = written[written.index("\ntuning:\n") + 1 :]  # unchanged, with its comments
    same_trunk = options.get("trunk") == recipe.options.get("trunk")
    unchanged = {
        name: value
        for name, value in recipe.options.items()
        if name not in ("training", *options) and (same_trunk or name not in ("depth", "num_heads"))
    }
    source = f"trial {trial} of {len(trials)} (benchmarks/results/tuning.md)"
    text = yaml.safe_dump(
        {
            "method": method,
            "options": {**options, **unchanged},
            "sources": {
                **dict.fromkeys(options, source),
                **{k: v for k, v in recipe.sources.items() if k.split(".")[0] in unchanged},
            },
        },
        sort_keys=False,
        width=99,
    )
    write_text(path, "\n".join(head) + "\n" + text + tuning)


def write_results(figures: list[dict[str, Any]]) -> None:
    """Write all trials as CSV and Markdown; rows of methods not run this time are retained."""
    path = RESULTS / "tuning.csv"
    done = {figure["method"] for figure in figures}
    if path.exists():
        with path.open(newline="") as file:
            figures = [row for row in csv.DictReader(file) if row["method"] not in done] + figures
    figures = sorted(figures, key=lambda figure: (figure["method"], int(figure["trial"])))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(figures[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures)
    write_text(path, text.getvalue())
    lines = [
        "# Tuning",
        "",
        "Last accuracy on synthetic dataset 1 in percent (24 classes, 4 tasks, order 0, 2,400 test",
        "clips: standard error about 0.7). `python benchmarks/tune.py work/stores/world1 --write`;",
        "the trials are those of the recipes. The chosen trial has the best audio-visual",
        "accuracy, averaged over the memories. Seconds: of a run, with two processes in parallel.",
        "",
        "| method | trial | memory | audio | visual | audio-visual | s | options | chosen |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    names = ("method", "trial", "memory", *COLUMNS, "seconds", "options", "chosen")
    for figure in figures:
        lines.append("| " + " | ".join(str(figure[name]) for name in names) + " |")
    write_text(RESULTS / "tuning.md", "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--methods", help="separated by commas; default: all")
    parser.add_argument("--to", type=Path, default=Path("work/tuning"))
    parser.add_argument("--write", action="store_true", help="write the best trials to the recipes")
    arguments = parser.parse_args()
    names = arguments.methods.split(",") if arguments.methods else tuned_methods()
    for method in names:
        figures = run_trials(method, arguments.store, arguments.to / method)
        write_results(figures)
        best = next(figure for figure in figures if figure["chosen"])
        print(f"{method}: trial {best['trial']}, {best['audio_visual']} %", flush=True)
        if arguments.write:
            write_recipe(RECIPES / f"{method}.yaml", best["trial"])


if __name__ == "__main__":
    main()
