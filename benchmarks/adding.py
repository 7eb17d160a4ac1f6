"""Time and accuracy of `cign add`: three classes of 20 clips each, added to a model of twelve.

    python benchmarks/adding.py [--work work/adding] [--out benchmarks/results/adding.md]

Renders 15 classes, learns 12 of them in four tasks and adds the others with the command; the time
includes decoding and process start. For comparison, learns all 15 at once from the same clips.
Compares accuracy on new classes, predictions on old classes, and the accuracy lost on old classes.
Takes about two minutes on two cores; files in --work from the same options are reused.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cign.data.store import Store
from cign.learner import Learner
from cign.runs.training_data import token_source
from cign.saved_model.validation_clips import KeptClips, read_kept
from cign.updating.impact import answers
from cign.utils.files import write_text

CIGN = (sys.executable, "-m", "cign")
BACKBONE, METHOD = "small", "cign_analytic"
NUM_OLD, NUM_NEW, NUM_ADDED = 12, 3, 20
NUM_TIMES = 3
# Requirements: seconds of the command, points of accuracy.
MOST_SECONDS, MOST_POINTS = 20.0, 1.0


@dataclass(frozen=True)
class Answered:
    """Class names predicted for the test clips of old and of new classes."""

    old: np.ndarray
    new: np.ndarray


def call(*words: object) -> None:
    subprocess.run([*CIGN, *map(str, words)], check=True, stdout=sys.stderr)


def write_list(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def render(work: Path, options: argparse.Namespace) -> tuple[Path, list[dict[str, str]], list[str]]:
    """Render the clips; returns their folder, the rows of their table, and the ordered classes."""
    clips = work / "clips"
    counts = ("--train", options.train, "--val", 5, "--test", options.test)
    counts += ("--world", options.world)
    if not (clips / "clips.csv").exists():
        call("synth", clips, "--classes", NUM_OLD + NUM_NEW, *counts)
    with (clips / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    return clips, rows, list(dict.fromkeys(row["labels"] for row in rows))


def learned(work: Path, name: str, clips: Path, rows: list[dict[str, str]], tasks: int) -> Path:
    """Train a run on some of the clips."""
    store, run = work / f"{name}-store", work / name
    if (run / "model").exists():
        return run
    listed = write_list(work / f"{name}.csv", rows)
    call("prepare", listed, store, "--media", clips, "--backbone", BACKBONE)
    call("train", store, "--out", run, "--method", METHOD, "--tasks", tasks)
    return run


def added(run: Path, source: Path, out: Path, *options: str) -> float:
    """Wall-clock seconds of the command: the median of three runs."""
    seconds = []
    for _ in range(NUM_TIMES):
        shutil.rmtree(out, ignore_errors=True)
        begun = time.monotonic()
        call("add", run, source, "--out", out, *options)
        seconds.append(time.monotonic() - begun)
    return statistics.median(seconds)


def test_clips(store: Store, classes: list[str]) -> KeptClips:
    chosen = [i for i in store.indices("test") if store.table.clips[i].labels[0] in classes]
    labels = [clip.labels for clip in store.table.clips]
    source, _ = token_source(store, BACKBONE)
    found = read_kept(source, labels, np.array(chosen, dtype=np.int64))
    assert found is not None
    return found


def answered(model: Path, old: KeptClips, new: KeptClips) -> Answered:
    learner = Learner.load(model)
    assert learner.model is not None
    method, names = learner.model.method, np.array(learner.model.classes)
    return Answered(*(names[answers(method, clips)] for clips in (old, new)))


def percent(hits: np.ndarray) -> float:
    return 100.0 * float(np.mean(hits))


def held(is_so: bool) -> str:
    return "yes" if is_so else "no"


def compared(
    name: str, seconds: float, before: Answered, after: Answered, joint: Answered, truth: Answered
) -> list[str]:
    """Table of one addition; accuracies in percent, differences in points."""
    new, new_joint = percent(after.new == truth.new), percent(joint.new == truth.new)
    was = percent(before.old == truth.old)
    lost, lost_joint = (was - percent(one.old == truth.old) for one in (after, joint))
    is_new = np.isin(after.old, np.unique(truth.new))
    rows = [
        ("time of the command, s", f"{seconds:.1f}", "", held(seconds < MOST_SECONDS)),
        (
            "new classes, % correct",
            f"{new:.1f}",
            f"{new_joint:.1f}",
            held(new >= new_joint - MOST_POINTS),
        ),
        ("old classes, % correct before", f"{was:.1f}", f"{was:.1f}", ""),
        (
            "old classes, % correct after",
            f"{percent(after.old == truth.old):.1f}",
            f"{percent(joint.old == truth.old):.1f}",
            "",
        ),
        (
            "accuracy lost on old classes, points",
            f"{lost:.1f}",
            f"{lost_joint:.1f}",
            held(lost <= lost_joint + MOST_POINTS),
        ),
        ("old clips predicted as a new class, %", f"{percent(is_new):.1f}", "", ""),
        (
            "old clips predicted as another old class, %",
            f"{percent(~is_new & (after.old != before.old)):.1f}",
            "",
            "",
        ),
        (
            "predictions equal to those of the model trained on all classes at once, %",
            f"{percent(np.r_[after.old == joint.old, after.new == joint.new]):.1f}",
            "",
            "",
        ),
    ]
    head = f"| {name} | added | all {NUM_OLD + NUM_NEW} at once | met |"
    return [head, "| --- | ---: | ---: | --- |", *(f"| {' | '.join(row)} |" for row in rows), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work/adding"))
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--train", type=int, default=40, help="clips of an old class")
    parser.add_argument("--test", type=int, default=40, help="clips of a class")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.train < NUM_ADDED:
        parser.error(f"--train {options.train} is too small: use at least {NUM_ADDED}")
    work = options.work
    asked = f"{options.world} {options.train} {options.test}"
    if not (work / "asked").exists() or (work / "asked").read_text() != asked:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / "asked").write_text(asked)
    clips, rows, classes = render(work, options)
    old, new = classes[:NUM_OLD], classes[NUM_OLD:]
    taught = [
        row
        for name in new
        for row in [r for r in rows if (r["labels"], r["split"]) == (name, "train")][:NUM_ADDED]
    ]
    for row in taught:
        folder = work / "new" / row["labels"]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(clips / row["path"], folder)
    of_old = [row for row in rows if row["labels"] in old]
    tested = [row for row in rows if row["labels"] in new and row["split"] == "test"]
    twelve = learned(work, "twelve", clips, [r for r in of_old if r["split"] != "test"], 4)
    fifteen = learned(work, "fifteen", clips, of_old + taught + tested, 1)
    seconds = {
        "kept": added(twelve, work / "new", work / "kept"),
        "whole": added(twelve, work / "new", work / "whole", "--no-keep"),
    }
    store = Store.open(work / "fifteen-store")
    sets = [test_clips(store, some) for some in (old, new)]
    truth = Answered(*(np.array([names[0] for names in clips.labels]) for clips in sets))
    models = {name: work / name for name in seconds} | {"before": twelve, "joint": fifteen}
    found = {name: answered(model, *sets) for name, model in models.items()}
    kept = Learner.load(work / "kept").model.kept  # type: ignore[union-attr]
    num_kept = sum(0 if kept is None else kept.counts()[name] for name in new)
    three = (found["before"], found["joint"], truth)
    lines = [
        "# Classes added by `cign add`",
        "",
        f"`python benchmarks/adding.py`: dataset {options.world}, {METHOD}, {NUM_OLD} classes of "
        f"{options.train} clips in four tasks, then {NUM_NEW} of {NUM_ADDED} clips each; "
        f"{len(truth.old)} test clips of the old classes, {len(truth.new)} of the new ones, "
        f"audio-visual predictions. One clip is {100 / len(truth.new):.2f} points of the new "
        f"classes, {100 / len(truth.old):.2f} of the old ones.",
        "",
        f"Default use, a folder of class folders: {num_kept} of the {NUM_NEW * NUM_ADDED} clips "
        "become validation clips and are not learned from; the model trained on all classes at "
        "once learns them too.",
        "",
        *compared("with validation clips", seconds["kept"], three[0], found["kept"], *three[1:]),
        "With `--no-keep` all clips are learned from, as in the model trained on all at once:",
        "",
        *compared("all learned", seconds["whole"], three[0], found["whole"], *three[1:]),
        f"Requirements: under {MOST_SECONDS:g} s with decoding (median of {NUM_TIMES} runs); new "
        f"classes within {MOST_POINTS:g} point of the model trained on all at once; old classes "
        "lose at most that much more than in that model.",
        "",
        f"{len(os.sched_getaffinity(0))} processors, {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        write_text(options.out, text)


if __name__ == "__main__":
    main()
