"""Texts and tables about one run: classes, confusions, provenance."""

from __future__ import annotations

from typing import Any

from cign.metrics.classes import (
    ClassRecall,
    Confusion,
    class_recalls,
    num_tested,
    untested_classes,
    worst_confusions,
)
from cign.report.diagrams import interval_bar
from cign.report.runs import Run
from cign.report.text import DASH, flatten, number
from cign.utils.code_version import described
from cign.utils.wording import listed
from cign.vocabulary import MODALITIES

_SEEDS = {"run": "seed", "order": "class order"}


def classes_of(run: Run) -> list[list[dict[str, Any]]]:
    """Per task, each class with its number of test clips and its recalls after the last task."""
    recalls = {r: class_recalls(run.predictions, r) for r in MODALITIES}
    confusions = _most_frequent(run)
    result, c = [], 0
    for task_size in run.task_sizes[: run.predictions.num_tasks_done]:
        result.append(
            [
                {
                    "name": run.predictions.class_names[i],
                    "num_test": recalls["audio_visual"][i].num_clips,
                    "recall": {r: recalls[r][i].recall for r in MODALITIES},
                    "interval": _interval(recalls["audio_visual"][i]),
                    "short_interval": _short(recalls["audio_visual"][i]),
                    "bar": interval_bar(recalls["audio_visual"][i]),
                    "confusion": confusions.get(run.predictions.class_names[i]),
                }
                for i in range(c, c + task_size)
            ]
        )
        c += task_size
    return result


def _interval(one: ClassRecall) -> str:
    """Both ends in percent; empty without an interval."""
    return "" if one.low is None else f"{number(one.low)} to {number(one.high)}"


def _short(one: ClassRecall) -> str:
    """The interval in whole percent, for narrow columns."""
    return "" if one.low is None else f"{one.low:.0f}{DASH}{one.high:.0f}"


def _most_frequent(run: Run) -> dict[str, Confusion]:
    """The most frequent confusion of each class."""
    result: dict[str, Confusion] = {}
    for one in worst_confusions(run.predictions, most=len(run.predictions.class_names) ** 2):
        result.setdefault(one.true, one)
    return result


def mistakes_of(run: Run) -> list[Confusion]:
    """The most frequent audio-visual confusions after the last task."""
    return worst_confusions(run.predictions)


def untested_of(run: Run) -> str | None:
    """A sentence about classes without test clips; None if every class has some."""
    names = untested_classes(run.predictions)
    if not names:
        return None
    if num_tested(run.predictions) == 0:
        return (
            "No test clips: accuracy, recall and confusions are not measured. Add test clips "
            "(split test) and use `cign evaluate`."
        )
    what = "this class" if len(names) == 1 else f"these {len(names)} classes"
    return f"No test clips of {what}, whose recall is not measured: {listed(names)}."


def facts_of(run: Run) -> dict[str, str]:
    """Seeds, clip list, versions and machine as flat key-value pairs."""
    groups = {key: run.metrics.get(key, {}) for key in ("seeds", "store", "versions", "machine")}
    return {"folder": run.folder.name, "list hash": run.list_hash} | {
        key.replace(".", " · "): value
        for key, value in flatten(groups).items()
        if key != "store.list_hash"
    }


def provenance(run: Run) -> str:
    """Seed, class order, clip list, versions and commit in one line."""
    seeds, versions = run.metrics.get("seeds", {}), run.metrics.get("versions", {})
    parts = [f"{what} {seeds[key]}" for key, what in _SEEDS.items() if key in seeds]
    lists = " + ".join(part[:12] for part in run.list_hash.split(" + "))
    parts.append(f"list {lists}")
    parts += [f"{name} {versions[name]}" for name in ("cign", "torch") if name in versions]
    parts += [described(version) for version in run.metrics.get("code", []) if version["commit"]]
    return ", ".join(parts)
