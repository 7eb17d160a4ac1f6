"""Settings selected by leave-one-out against the former fixed ones, on synthetic datasets.

    for variant in plain clutter duet longtail; do
        python benchmarks/stores.py --worlds 1 --variant $variant --backbones small
    done
    python benchmarks/former_settings.py work/stores/world1_small work/stores/world1-clutter \
        work/stores/world1-duet work/stores/world1-longtail

writes ``benchmarks/results/former_settings.md``. The fixed settings are those of the recipe before
settings were selected; they had been tuned on synthetic datasets with backbone ``small``. The
datasets are for tuning, and no other table uses them.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.methods import METHODS, method_class
from cign.methods.base import Setup
from cign.methods.cign_analytic import CignAnalytic
from cign.methods.clip_records import ClipRecords
from cign.methods.modality_ridge import ModalityRidge
from cign.metrics.incremental import summarise
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData, fitting_backbone
from cign.utils.files import read_json, write_json, write_text
from cign.vocabulary import MODALITIES

OUT = Path(__file__).parent / "results" / "former_settings.md"
NUM_TASKS = (1, 4)
VISUAL: dict[str, Any] = {
    "normalisation": ["layer"],
    "contrast": [0.5],
    "saliency": [2.0],
    "token_share": [0.2],
    "ridge": [20.0],
    "assignment_temperature": [0.3],
    "temperature": [0.1],
    "count_power": [0.5],
}
AUDIO = {"contrast": (0.2,), "saliency": (0.0,)}  # the others were those of the images
SETTINGS = {"selected": "cign_analytic", "fixed": "former_settings:FormerSettings"}


class FormerSettings(CignAnalytic):
    """`cign_analytic` with the former settings of both modalities."""

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__(setup, options)
        own = dataclasses.replace(options, **AUDIO)
        self.audio = ModalityRidge(setup.shape.audio_dim, 0, own, own.settings)
        self.records = ClipRecords(own.settings.shape)


def last(store: Store, settings: str, num_tasks: int) -> dict[str, float]:
    """Last accuracy, or mean average precision, of each modality in percent."""
    method = SETTINGS.get(settings, settings)
    reference = METHODS.reference(method_class(method))
    config = RunConfig.of(
        reference,
        options=VISUAL if settings == "fixed" else {},
        tasks=split_into_tasks(store.class_names, num_tasks, 0).groups,
        backbone=fitting_backbone(store, reference),
        device="cpu",
    )
    loop = build_loop(config, TrainingData.open(config, store))
    loop.run()
    found = summarise(loop.predictions)
    return {modality: float(found[modality]["last"]) for modality in MODALITIES}


def row(work: Path, place: Path, settings: str, num_tasks: int) -> dict[str, float]:
    """The same, kept in a file."""
    path = work / f"{place.name}-{settings}-{num_tasks}.json"
    if not path.is_file():
        write_json(path, last(Store.open(place), settings, num_tasks))
        print(path.stem, read_json(path, "row"), flush=True)
    return read_json(path, "row")


def table(work: Path, places: list[Path]) -> list[str]:
    """Rows by store, number of tasks and settings."""
    heads = ["store", "backbone", "tasks", "settings", "audio", "visual", "both", "minus fixed"]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | ---: | --- |" + " ---: |" * 4]
    for place in places:
        backbone = Store.open(place).tokens(None).info["backbone"]
        for num_tasks in NUM_TASKS:
            fixed = row(work, place, "fixed", num_tasks)
            for name in ("fixed", "selected", "analytic"):
                found = row(work, place, name, num_tasks)
                shown = [f"{found[modality]:.1f}" for modality in MODALITIES]
                gap = found["audio_visual"] - fixed["audio_visual"]
                shown.append("" if name == "fixed" else f"{gap:+.1f}")
                cells = [place.name, f"`{backbone}`", str(num_tasks), name, *shown]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/former_settings"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Selected settings and the former fixed ones",
        "",
        f"`python benchmarks/former_settings.py {' '.join(map(str, options.stores))}`",
        "",
        "Last accuracy in percent on the test clips of synthetic datasets for tuning (duets: mean "
        "average precision), class order 0. `fixed` are the settings of `cign_analytic` before "
        "they were selected; they were tuned on such datasets. `selected` is its recipe; "
        "`analytic` is plain ridge regression, whose settings are selected in the same way.",
        "",
        *table(options.work, options.stores),
        "",
    ]
    write_text(options.out, "\n".join(lines))
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
