"""Tables of all metrics of a run, formatted, with their formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cign.metrics.catalogue import METRICS, RUN, Numbers, Stored, measure, metric_groups
from cign.metrics.open_set import DEFINITIONS as OPEN_SET
from cign.report.runs import Run, lacking
from cign.report.text import value_of
from cign.vocabulary import MODALITIES

MODALITY_NAMES = {"audio": "Audio", "visual": "Visual", "audio_visual": "Audio-visual"}
MAX_MAPS = 16  # embedding maps on a page


def measured(stored: Stored, with_embeddings: bool) -> dict[str, Numbers]:
    """All metrics of a run; those of embeddings are slow and computed only if they are shown."""
    groups = metric_groups()
    names = [name for name in groups if with_embeddings or name != "embeddings"]
    return {name: {} for name in groups} | measure(stored, names)


def number_tables(
    run: Run, numbers: Mapping[str, Numbers], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Every group of metrics as rows of formatted values."""
    sentences = lacking(run)
    result = []
    for name, found in numbers.items():
        group = METRICS[name]
        rows = []
        for key, formula in group.definitions.items():
            if not any(key in values for values in found.values()):
                continue
            if len(run.task_sizes) == 1:
                if _needs_tasks(name, key):
                    continue
                formula = _OF_ONE_TASK.get(name, {}).get(key, formula)
            shown = (RUN,) if RUN in found else MODALITIES
            texts = [value_of(found[one].get(key), group.decimals.get(key, 1)) for one in shown]
            label = labels.get(key, key.replace("_", " "))
            rows.append({"label": label, "texts": texts, "formula": formula})
        if not rows and len(run.task_sizes) == 1 and any(found.values()):
            continue
        remark = sentences.get(name)
        if name == "embeddings" and not found and remark is None:
            remark = f"Not computed: a page shows embedding metrics of at most {MAX_MAPS} runs."
        if not rows and remark is None:
            continue  # metrics of another kind of run, for example of another stream
        result.append({"title": group.title, "rows": rows, "remark": remark})
    return result


# Formulas for a single task, without steps.
_OF_ONE_TASK: dict[str, Mapping[str, str]] = {
    "incremental": {
        "last": "share of correctly classified test clips; with several labels per clip, the mean "
        "over the classes of average precision"
    },
    "open_set": OPEN_SET,
}


def _needs_tasks(group: str, name: str) -> bool:
    """Whether a metric compares tasks or their classes, and is undefined for a single task."""
    if group == "incremental":
        return name != "last"
    endings = {"embeddings": ("_old", "_new"), "open_set": ("_last",)}
    return group == "old_and_new" or name.endswith(endings.get(group, ()))


def formulas(numbers: Sequence[Mapping[str, Numbers]]) -> list[dict[str, Any]]:
    """The formulas of all metrics that at least one run has."""
    result = []
    for name, group in metric_groups().items():
        found = {key for one in numbers for values in one[name].values() for key in values}
        shown = {key: text for key, text in group.definitions.items() if key in found}
        if shown:
            result.append({"title": group.title, "formulas": shown})
    return result
