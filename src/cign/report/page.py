"""Assemble the report: compute the values that the template lays out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.metrics.classes import num_tested, percent_interval
from cign.metrics.incremental import DEFINITIONS, is_multi_label
from cign.report.charts import Series, line_chart
from cign.report.clips import Stores, wrong_clips_of
from cign.report.html import fill
from cign.report.numbers import MODALITY_NAMES, formulas, measured, number_tables
from cign.report.panels import (
    cost_charts,
    embedding_maps,
    open_set_table,
    overview,
    run_diagrams,
    with_maps,
)
from cign.report.runs import Run, load_runs, stored, stream_of
from cign.report.sections import (
    classes_of,
    facts_of,
    mistakes_of,
    provenance,
    untested_of,
)
from cign.report.svg import swatch
from cign.report.text import DASH, flatten, number
from cign.runs.arrival import OPTIONS_OF
from cign.utils.files import write_text
from cign.vocabulary import MODALITIES

REFERENCES = {
    "finetune": "lower reference: no protection against forgetting",
    "joint": "reference: trains on all clips in every task",
}
MAIN = "audio_visual"
HEADLINE = ("last", "average", "forgetting")
LABELS = {
    "last": "last accuracy",
    "average": "average incremental accuracy",
    "task_mean": "task-mean accuracy",
    "forgetting": "forgetting",
    "forgetting_av_cil": "forgetting, AV-CIL's",
    "bwt": "backward transfer (BWT)",
    "intransigence": "intransigence (mean over tasks)",
}
# With more runs than this, formulas are listed once at the end instead of beside every number.
_MAX_INLINE = 6
# With more runs than this, the sections about single runs are shortened to keep the page small.
_MAX_FULL = 24


def write_report(
    runs: Sequence[Path],
    out: Path,
    names: Sequence[str] | None = None,
    *,
    with_frames: bool = True,
) -> None:
    """Write one self-contained HTML file about one or several runs on the same clips.

    The output is deterministic: the same run folders and the same store give the same bytes. The
    page makes no requests when opened.

    Args:
        runs: Run folders, or folders that hold run folders.
        out: Path of the file to write.
        names: Display names of the runs, one for each; by default their methods.
        with_frames: Whether to embed frames of misclassified clips, if the store that the runs
            were tested on still exists.

    Raises:
        InputError: If a run is unusable, its predictions are missing, or the lists of clips differ.
    """
    write_text(out, render(load_runs(runs, names), Stores(with_frames)))


def render(runs: Sequence[Run], stores: Stores | None = None) -> str:
    """Render the page.

    Args:
        runs: At least one.
        stores: Source of frames of misclassified clips; None shows no frames.
    """
    return fill("report.html.j2", **_page(runs, stores or Stores(wanted=False)))


def _page(runs: Sequence[Run], stores: Stores) -> dict[str, Any]:
    first = runs[0]
    limits = {run.metrics.get("limit") for run in runs} - {None}
    limit = limits.pop() if len(limits) == 1 else None
    multi_label = any(is_multi_label(run.predictions) for run in runs)
    num_test = max(num_tested(run.predictions) for run in runs)
    configs = [_config(run) for run in runs]
    looks = _looks(runs)
    shown = with_maps(runs, [(run.method, _memory(run)) for run in runs])
    numbers = [measured(stored(run, runs), i in shown) for i, run in enumerate(runs)]
    return {
        "title": first.name if len(runs) == 1 else f"{len(runs)} runs on the same clips",
        "modalities": MODALITY_NAMES,
        "one_task_modalities": dict(sorted(MODALITY_NAMES.items(), key=lambda x: x[0] != MAIN)),
        "headline": {name: (LABELS[name], DEFINITIONS[name]) for name in HEADLINE},
        "definitions": DEFINITIONS,
        "multi_label": multi_label,
        "one_task": all(is_one_task(run) for run in runs),
        "measure": "mean average precision" if multi_label else "accuracy",
        "limit": limit,
        "store": first.metrics["store"],
        "list_hash": first.list_hash,
        "num_classes": sorted({len(run.predictions.class_names) for run in runs}),
        "num_tasks": sorted({len(run.task_sizes) for run in runs}),
        "streams": sorted({stream_of(run) for run in runs}),
        "num_test": num_test,
        "standard_error": None if multi_label or not num_test else 50 / math.sqrt(num_test),
        "rows": [_row(run, look) for run, look in zip(runs, looks, strict=True)],
        "best": _best(runs) if len(runs) > 1 else {},
        "charts": {modality: _chart(runs, modality, limit) for modality in MODALITIES},
        "overview": overview(numbers) if len(runs) > 1 else None,
        "cost_charts": cost_charts(runs, looks, [is_reference(run) for run in runs]),
        "maps": embedding_maps(runs, shown, numbers),
        "is_compact": len(runs) > _MAX_FULL,
        "formulas": formulas(numbers) if len(runs) > _MAX_INLINE else [],
        "runs": [
            _section(run, config, found, len(runs) > _MAX_FULL)
            | {
                "id": f"run-{i + 1}",
                "wrong": wrong_clips_of(run, len(runs), stores),
            }
            for i, (run, config, found) in enumerate(zip(runs, configs, numbers, strict=True))
        ],
        "differences": _differences(configs),
    }


def _config(run: Run) -> dict[str, str]:
    """The configuration, without what the page shows elsewhere and options of other streams."""
    config, stream = run.metrics.get("config", {}), stream_of(run)
    others = {name for one, names in OPTIONS_OF.items() if one != stream for name in names}
    left_out = {"tasks", "method", *others}
    return flatten({key: config[key] for key in config if key not in left_out})


def _looks(runs: Sequence[Run]) -> list[int | str]:
    """The look of each run: fixed for references, by position for the others."""
    methods = iter(range(len(runs)))
    return [run.method if is_reference(run) else next(methods) for run in runs]


def is_reference(run: Run) -> bool:
    """Whether a run is a reference; finetune with a memory is an ordinary method."""
    return run.method == "joint" or (run.method == "finetune" and _memory(run) == "none")


def is_one_task(run: Run) -> bool:
    """Whether a run learned all its classes together, so that nothing can be forgotten."""
    return len(run.task_sizes) == 1


def _row(run: Run, look: int | str) -> dict[str, Any]:
    """A row of the headline and cost tables."""
    memory = _memory(run)
    return {
        "name": run.name,
        "is_reference": is_reference(run),
        "remark": REFERENCES[run.method] if is_reference(run) else None,
        "state": _state(run),
        "swatch": swatch(look),
        "memory": memory,
        "memory_value": _leading_number(memory),
        "numbers": {r: {name: run.summary[r][name] for name in HEADLINE} for r in MODALITIES},
        "intervals": {r: _interval(run, r) for r in MODALITIES},
        "costs": run.metrics.get("costs", {}),
    }


def _interval(run: Run, modality: str) -> str:
    """The 95 % interval of last accuracy; a dash for mean average precision."""
    found = None
    if not is_multi_label(run.predictions):
        found = percent_interval(run.summary[modality]["last"], num_tested(run.predictions))
    return DASH if found is None else f"{number(found[0])} to {number(found[1])}"


def _memory(run: Run) -> str:
    """The exemplar budget of the run; "none" for a method without exemplars."""
    if run.method == "joint":
        return "all clips"
    budget = run.metrics.get("memory", run.metrics.get("config", {}).get("memory"))
    return "none" if budget in (None, 0, "0") else str(budget)


def _state(run: Run) -> str | None:
    """The state of an unfinished run in words; None if it is finished."""
    if run.state == "finished":
        return None
    done = f"after {run.predictions.num_tasks_done} of {len(run.task_sizes)} tasks"
    return f"in progress, {done}" if run.state == "running" else f"interrupted {done}"


def _leading_number(text: str) -> float:
    """The number a memory such as "120", "20/class" or "64MB" starts with, for sorting."""
    if text == "all clips":
        return math.inf
    digits = ""
    for letter in text:
        if not (letter.isdigit() or letter == "."):
            break
        digits += letter
    return float(digits or 0)


def _best(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    """The best value of finished runs in each headline column, excluding references."""
    best = {}
    for modality in MODALITIES:
        for name in HEADLINE:
            values = [
                run.summary[modality][name]
                for run in runs
                if run.state == "finished"
                and not is_reference(run)
                and run.summary[modality][name] is not None
            ]
            if len(values) > 1:
                best[modality, name] = min(values) if name == "forgetting" else max(values)
    return best


def _chart(runs: Sequence[Run], modality: str, limit: float | None) -> Any:
    """A_k against the number of classes learned, which is comparable across numbers of tasks."""
    series = []
    for run, look in zip(runs, _looks(runs), strict=True):
        seen = run.summary[modality]["seen"]
        classes = [run.predictions.num_seen(k) for k in range(len(seen))]
        titles = tuple(
            f"{run.name}: {number(value)} % after task {k + 1} ({classes[k]} classes)"
            for k, value in enumerate(seen)
        )
        points = tuple(zip(map(float, classes), seen, strict=True))
        series.append(Series(points=points, titles=titles, look=look))
    title = f"{MODALITY_NAMES[modality]} accuracy over the classes learned so far, after each task"
    return line_chart(series, title=title, x_label="classes learned", limit=limit)


def _section(
    run: Run, config: Mapping[str, str], numbers: Mapping[str, Any], is_compact: bool
) -> dict[str, Any]:
    """All values of the section about one run."""
    is_begun = run.predictions.num_tasks_done > 0
    labels = LABELS | {"last": "accuracy"} if is_one_task(run) else LABELS
    return {
        "name": run.name,
        "state": _state(run),
        "one_task": is_one_task(run),
        "num_test": num_tested(run.predictions),
        "untested": untested_of(run) if is_begun else None,
        "summary": run.summary,
        "numbers": number_tables(run, numbers, labels) if is_begun else [],
        "num_done": run.predictions.num_tasks_done,
        "tasks": run.metrics["tasks"],
        "classes": classes_of(run) if is_begun else [],
        "diagrams": run_diagrams(run, is_compact) if is_begun else None,
        "mistakes": mistakes_of(run),
        "open_set": open_set_table(run, is_compact) if is_begun else None,
        "provenance": provenance(run),
        "facts": facts_of(run),
        "config": config,
    }


def _differences(configs: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The options that all runs have and that differ between runs: option -> value per run."""
    keys = sorted(set.intersection(*(set(config) for config in configs)))
    rows = {key: [config[key] for config in configs] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}
