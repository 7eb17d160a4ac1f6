"""The results of the tuning: trials as rows, the page, and the chosen options in recipes."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tuning_search import Search, key
from tuning_trials import Trials, options_of

from cign.layers.fusion import Fusion
from cign.methods import method_class
from cign.tuning.bases import shared
from cign.utils.code_version import PACKAGE, count_versions, statement
from cign.utils.files import write_text
from cign.utils.options import read_recipe

RESULTS = Path(__file__).parent / "results"
RECIPES = PACKAGE / "recipes"
ENCODER_RATE = 3e-5
"""Learning rate of trained encoders, whatever that of the heads (slow_encoders_tuning.md)."""
Row = dict[str, Any]
TEXTS = ("method", "memory", "fusion", "options", "not tried")
COLUMNS = (
    *("method", "memory", "trials", "audio", "visual", "own", "best"),
    *("fusion", "options", "not tried", "s"),
)


class _Dumper(yaml.SafeDumper):
    """Writes lists in one line, as the recipes have them."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True)
)


def rows_of(trials: Trials) -> list[Row]:
    """The trials of a search that are made, and which was chosen; none if it is not finished."""
    search = replace(trials, deadline=0.0).search()
    try:
        best = search.run()
    except TimeoutError:
        return []
    return [
        _row(trials, search, number, text, key(best))
        for number, text in enumerate(search.scores, 1)
    ]


def best_fusion(result: dict[str, Any]) -> tuple[Fusion, float]:
    """The most accurate fusion of a trial, the first of equal ones, and its accuracy."""
    accuracies = result["fusions"]
    at = accuracies.index(max(accuracies))
    return Fusion(**shared()["fusions"][at]), accuracies[at]


def _row(trials: Trials, search: Search, number: int, text: str, best: str) -> Row:
    point = yaml.safe_load(text)
    result = trials.result(point)
    fusion, accuracy = best_fusion(result)
    start = search.space.start
    changed = {name: value for name, value in point.items() if value != start[name]}
    return {
        "method": trials.method,
        "memory": trials.memory,
        "trial": number,
        "audio": round(result["last"]["audio"], 2),
        "visual": round(result["last"]["visual"], 2),
        "own": round(result["last"]["audio_visual"], 2),
        "audio_visual": round(accuracy, 2),
        "fusion": words(fusion),
        "cpu_seconds": result["cpu_seconds"],
        "options": "as the start" if not changed else _text(changed),
        "chosen": "yes" if text == best else "",
        "not_tried": ", ".join(search.open_steps(point)) if text == best else "",
    }


def words(fusion: Fusion) -> str:
    """A fusion in words."""
    return f"mean at {fusion.temperature:g}" if fusion.kind == "mean" else fusion.kind


def _text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.removeprefix('training.')} {value}" for name, value in values.items())


def chosen_options(trials: Trials) -> dict[str, Any]:
    """All options of the chosen trial, with its fusion and the rate of trained encoders."""
    point = trials.search().run()
    options = options_of(trials.method, point)
    fusion, _ = best_fusion(trials.result(point))
    options["fusion"] = {"kind": fusion.kind, "temperature": fusion.temperature}
    if "training" in options:
        rate = options["training"]["learning_rate"]
        options["training"]["encoder_rate"] = float(f"{ENCODER_RATE / rate:.3g}")
    return options


def write_recipe(path: Path, chosen: dict[str, tuple[Row, dict[str, Any]]]) -> None:
    """Write the chosen options to a recipe; options that are not tuned keep their values.

    Args:
        path: The recipe.
        chosen: By memory, the row and the options of the chosen trial; the first is that of the
            recipe, a second one that of runs with exemplars.
    """
    recipe = read_recipe(path)
    written = path.read_text(encoding="utf-8")
    head = [line for line in written.splitlines() if line.startswith("#")]
    tuning = written[written.index("\ntuning:") + 1 :]  # unchanged, with its comments
    (first_row, options), *others = chosen.values()
    trunk = options.get("trunk")
    kept = {
        name: value
        for name, value in recipe.options.items()
        if name not in options
        and (trunk == recipe.options.get("trunk") or name not in ("width", "depth", "num_heads"))
    }
    source = {name: _source(first_row) for name in options}
    if "training" in options:
        source["training.encoder_rate"] = (
            "end to end only; encoders at 3e-5 (benchmarks/results/slow_encoders_tuning.md)"
        )
    value: dict[str, Any] = {"method": recipe.method, "options": {**options, **kept}}
    for row, more in others:
        different = {k: v for k, v in more.items() if options.get(k) != v}
        if different:
            value["with_memory"] = different
            source["with_memory"] = _source(row)
    old = {k: v for k, v in recipe.sources.items() if k.split(".")[0] in kept}
    value["sources"] = {**source, **old}
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=99)
    write_text(path, "\n".join(head) + "\n" + text + tuning)


def _source(row: Row) -> str:
    return f"trial {row['trial']}, memory {row['memory']} (benchmarks/results/tuning.md)"


def recipe_path(name: str) -> Path:
    """The file of a method's recipe: in the package, or beside the module of the method."""
    cls = method_class(name)
    if cls.__module__.startswith("cign."):
        return RECIPES / f"{cls.name}.yaml"
    return Path(str(sys.modules[cls.__module__].__file__)).with_name(f"{cls.name}.yaml")


def write_results(
    rows: list[Row], codes: list[Any], folder: Path, unfinished: Sequence[str] = ()
) -> None:
    """Write all trials as CSV, and the chosen ones as a page; ``unfinished`` names searches."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tuning.csv", text.getvalue())
    write_text(folder / "tuning.md", page(rows, codes, unfinished))


def page(rows: list[Row], codes: list[Any], unfinished: Sequence[str] = ()) -> str:
    """The page of the tuning; ``unfinished`` names searches without a result."""
    budget = shared()["trials"]
    lines = [
        "# Tuning",
        "",
        "`python benchmarks/tune.py STORE --write`",
        "",
        "Last accuracy in percent on synthetic dataset 1, which no table uses (24 classes, "
        "4 tasks, order 0, 2,400 test clips: one standard error is at most 1.0). The search varies "
        f"one option after the other, within {budget} trials for each method and memory; each "
        "trial is scored with all fusions, which takes no training. `own` is the method's own "
        "audio-visual prediction, `best` that of the fusion beside it. All trials are in "
        "`benchmarks/results/tuning.csv`.",
        "",
        "- **options**: those that differ from the start of the search, which is in the recipe.",
        "- **not tried**: options of which the next value was not tried when the trials were used "
        "up; for all others the values below and above the chosen one were worse.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join(':---' if name in TEXTS else '---:' for name in COLUMNS)} |",
    ]
    for row in rows:
        if not row["chosen"]:
            continue
        same = [r for r in rows if (r["method"], r["memory"]) == (row["method"], row["memory"])]
        cells = (
            *(row["method"], row["memory"], len(same), row["audio"], row["visual"], row["own"]),
            *(row["audio_visual"], row["fusion"], row["options"], row["not_tried"]),
            round(sum(r["cpu_seconds"] for r in same)),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    stems = sorted({row["method"] for row in rows if method_class(row["method"]).needs_blocks})
    if stems:
        lines += [
            "",
            f"{' and '.join(f'`{name}`' for name in stems)} take tokens that enter a frozen "
            "transformer, which only the pair `small` has: their accuracies are of these encoders.",
        ]
    if unfinished:
        lines += [
            "",
            f"**Not finished:** {', '.join(unfinished)}. Until then these methods keep the options "
            "of an earlier tuning with six trials each.",
        ]
    lines += ["", statement(count_versions([code] for code in codes))]
    return "\n".join(lines) + "\n"
