"""The complete pipeline on the embedded benchmark: clips, store, tokens, runs, table, report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cign.backbones.registry import load_to_prepare
from cign.cli.commands.prepare import default_backbone
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.errors import InputError
from cign.learner import Learner
from cign.report import write_report
from cign.runs.configuration import RunConfig
from cign.synthetic import SynthConfig, synthesize
from cign.synthetic.config import SHARE_OTHER_PICTURE, SHARE_OTHER_SOUND
from cign.utils.devices import resolve_device
from cign.utils.files import read_json
from cign.utils.progress import Progress, Silent

# No method was tuned on this synthetic dataset, and no published table uses it.
CLIPS = SynthConfig(num_classes=12, num_train=40, num_val=4, num_test=30, world=20, seed=0)
NUM_TASKS = 4
_PERCENT = "\N{NO-BREAK SPACE}%"
_MISLEADING = SHARE_OTHER_SOUND + SHARE_OTHER_PICTURE
# The recipe of the original release takes at least 1,000 steps a task and a wider network.
QUICK_OPTIONS = {
    "training": {
        "num_epochs": 15,
        "min_steps": 0,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "optimizer": "adamw",
        "schedule": "one_cycle",
    },
    "width": 64,
    "depth": 2,
}


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """A row of the demo's table.

    Attributes:
        title: Name in the table.
        folder: Name of its folder.
        method: Name of the method.
        memory: Budget of exemplars.
        options: Options that differ from the method's recipe; None uses the recipe.
    """

    title: str
    folder: str
    method: str
    memory: str = "0"
    options: Mapping[str, Any] | None = field(default=None)


RUNS = (
    DemoRun(title="cign_analytic", folder="cign-analytic", method="cign_analytic"),
    DemoRun(title="finetune", folder="finetune", method="finetune"),
    DemoRun(title="cign (quick)", folder="cign", method="cign", options=QUICK_OPTIONS),
    DemoRun(
        title="cign (quick)",
        folder="cign-memory",
        method="cign",
        memory="120",
        options=QUICK_OPTIONS,
    ),
    DemoRun(title="joint", folder="joint", method="joint"),
)


def caption() -> list[str]:
    """The caption of the table: what was measured, with which settings, and its limits."""
    training: Any = QUICK_OPTIONS["training"]
    return [
        "Accuracy in percent: after the last task / mean over the tasks / forgetting. "
        f"{CLIPS.num_classes * CLIPS.num_test} test clips; {CLIPS.num_classes} classes of "
        f"{CLIPS.num_train} training clips in {NUM_TASKS} tasks. The best possible is "
        f"{100 * CLIPS.limit:g}{_PERCENT}: in {100 * _MISLEADING:g}{_PERCENT} of the clips "
        "one modality shows another class.",
        f"Synthetic dataset (--world) {CLIPS.world}: no method was tuned on it. The settings are "
        "the methods' recipes, tuned on another dataset; cign_analytic selects its own from the "
        f"training clips. Quick: {training['num_epochs']} epochs a task in batches of "
        f"{training['batch_size']} at {training['learning_rate']:g}, width "
        f"{QUICK_OPTIONS['width']}, depth {QUICK_OPTIONS['depth']}, where the recipe, the "
        "release's settings, takes at least 1,000 "
        "steps at 1e-4 in a wider network of depth 3.",
        "One dataset, one class order, one seed: this shows that the pipeline works, not which "
        "method is better. `cign bench` compares methods.",
    ]


def run_demo(
    folder: Path, progress: Progress | None = None, device: str | None = None
) -> list[tuple[DemoRun, dict[str, Any]]]:
    """Run the pipeline in a folder; finished stages are skipped.

    Args:
        folder: Gets ``clips``, ``store``, ``runs`` and ``report.html``.
        progress: Receives the progress of each stage.
        device: Where to compute, as `cign.utils.devices.resolve_device` takes it.

    Returns:
        The runs with the contents of their ``metrics.json``.
    """
    progress = progress or Silent()
    synthesize(folder / "clips", CLIPS, num_workers=os.cpu_count() or 1, progress=progress)
    backbone = load_to_prepare(default_backbone(is_synth=True)).to(resolve_device(device))
    _delete_other(folder, backbone.name)
    prepare(folder / "clips", folder / "store", backbone=backbone, progress=progress)
    store = Store.open(folder / "store")
    results = [
        (run, _learn(run, store, folder / "runs" / run.folder, progress, device)) for run in RUNS
    ]
    progress.stop()
    write_report(
        [folder / "runs" / run.folder for run in RUNS],
        folder / "report.html",
        names=[run.title if run.memory == "0" else f"{run.title}, memory" for run in RUNS],
    )
    return results


def _delete_other(folder: Path, backbone: str) -> None:
    """Delete store and runs of an earlier version of the demo, on tokens of another backbone."""
    try:
        same = set(Store.open(folder / "store").backbones) <= {backbone}
    except InputError:  # none, or an unfinished one
        return
    if not same:
        shutil.rmtree(folder / "store")
        shutil.rmtree(folder / "runs", ignore_errors=True)


def _learn(
    run: DemoRun, store: Store, out: Path, progress: Progress, device: str | None
) -> dict[str, Any]:
    """Train one run, resume it if it was interrupted, or read its metrics if it is finished.

    A run with other settings, for example of an earlier version, is deleted and trained again.
    """
    learner = Learner(run.method, options=run.options, memory=run.memory, device=device)
    begun = (out / "config.yaml").exists()
    if begun and not _is_same(out, learner.config):
        shutil.rmtree(out)
        begun = False
    if begun and (out / "model" / "model.json").exists():
        finished: dict[str, Any] = read_json(out / "metrics.json", "metrics")
        return finished
    progress.note(f"{run.title}, memory {run.memory}")
    learner.learn(store, tasks=NUM_TASKS, out=out, resume=begun, progress=progress)
    return learner.metrics


def _is_same(run: Path, config: RunConfig) -> bool:
    """Whether a run has the given options; one of an earlier version has not."""
    try:
        return RunConfig.load(run).options == config.options
    except InputError:
        return False
