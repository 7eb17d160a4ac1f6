"""`cign metrics RUN...`: compute all metrics of runs from their stored predictions."""

from __future__ import annotations

import json
from typing import Any

from cign.cli.arguments import CommandParser, add_runs
from cign.cli.commands.train import MODALITY_NAMES
from cign.utils.terminal import note, say, show_table

SUMMARY = "Compute all metrics of runs from their predictions and embeddings, with formulas."
EXAMPLE = "cign metrics work/run"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_runs(parser, "RUN", "run folder, or a folder of runs; all on one store")
    parser.add_argument(
        "--groups",
        metavar="NAMES",
        help="compute only these groups of metrics, separated by commas: names as in "
        "docs/metrics.md, or package.module:Class for one of your own (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Compute the metrics and show them in groups, with the formulas below."""
    from cign.metrics.catalogue import RUN, measure, metric_groups
    from cign.metrics.classes import num_tested
    from cign.report.runs import lacking, load_runs, stored
    from cign.report.text import DASH, value_of
    from cign.vocabulary import MODALITIES

    groups = metric_groups(None if options.groups is None else options.groups.split(","))
    runs = load_runs(options.runs)
    if options.json:
        say(json.dumps([_values(one, runs, groups) for one in runs], indent=2, ensure_ascii=False))
        return
    shown: dict[str, dict[str, str]] = {}
    for one in runs:
        done = f"{one.predictions.num_tasks_done} of {len(one.task_sizes)} tasks"
        say(f"{one.name} ({one.folder}): {one.state}, {done}, list hash {one.list_hash[:16]}")
        for name, found in measure(stored(one, runs), groups).items():
            group = groups[name]
            columns = [column for column in (*MODALITIES, RUN) if column in found]
            names = [key for key in group.definitions if any(key in found[c] for c in columns)]
            if not names:
                continue
            shown.setdefault(name, {}).update({key: group.definitions[key] for key in names})
            places = {key: group.decimals.get(key, 1) for key in names}
            say(f"\n{group.title}")
            show_table(
                ("number", *(MODALITY_NAMES.get(column, column) for column in columns)),
                (
                    (key, *(value_of(found[column].get(key), places[key]) for column in columns))
                    for key in names
                ),
            )
        if one.predictions.num_tasks_done and not num_tested(one.predictions):
            note(f"{one.name}: no test clips: accuracies and recalls are not defined")
        for sentence in lacking(one).values():
            note(f"{one.name}: {sentence}")
        say()
    say(f"Formulas; accuracies, recalls and errors in percent, {DASH} if not defined")
    for name, formulas in shown.items():
        say(f"\n{groups[name].title}")
        for key, text in formulas.items():
            say(f"  {key} = {text}", fit=True)


def _values(one: Any, runs: Any, groups: Any) -> dict[str, Any]:
    """A run's metrics as plain values, with the underlying tables."""
    from cign.metrics import breakdown, calibration
    from cign.metrics.catalogue import measure
    from cign.metrics.incremental import accuracy_matrix, class_recall, task_forgetting
    from cign.metrics.open_set import summarise_open_set
    from cign.report.runs import lacking, stored
    from cign.vocabulary import MODALITIES

    predictions = one.predictions
    is_begun = predictions.num_tasks_done > 0
    recalls = {r: class_recall(predictions, r) for r in MODALITIES} if is_begun else {}
    drops = {
        r: task_forgetting(accuracy_matrix(predictions, r))
        for r in (MODALITIES if is_begun else ())
    }
    confused = breakdown.confusion(predictions, "audio_visual")
    return {
        "run": str(one.folder),
        "method": one.method,
        "status": one.state,
        "num_tasks_done": predictions.num_tasks_done,
        "list_hash": one.list_hash,
        "seeds": one.metrics.get("seeds", {}),
        "versions": one.metrics.get("versions", {}),
        "numbers": measure(stored(one, runs), groups),
        "lacking": lacking(one),
        "tables": {
            "classes": list(predictions.class_names),
            "class_recall": {r: _percents(values) for r, values in recalls.items()},
            "task_forgetting": {r: _percents(values) for r, values in drops.items()},
            "open_set_after_each_task": summarise_open_set(predictions) if one.has_scores else None,
            "confusion_audio_visual": None if confused is None else confused.tolist(),
            "reliability": calibration.tables(predictions) if one.has_scores else None,
        },
        "definitions": {name: dict(group.definitions) for name, group in groups.items()}
        | {"task_forgetting": breakdown.TASK_FORGETTING},
    }


def _percents(values: Any) -> list[float | None]:
    """Fractions as percentages, None for NaN, which JSON lacks."""
    return [None if value != value else 100.0 * float(value) for value in values]
