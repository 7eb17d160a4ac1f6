"""Detection of unknown classes by `cign_analytic`, for its own score and others.

Learns each store in four tasks and evaluates its test clips after each. After step k, clips of the
classes not yet learned are unknown, as are clips of split `unknown` if the store has them.
Thresholds are set on the validation clips of the model. The oracle has access to all training clips
of the learned classes: its score is the distance of a clip's layer-normalised mean tokens to those
of the nearest training clip.

    python benchmarks/unknown.py STORE... [--tasks 4] [--out benchmarks/results/unknown.md]

Intervals of differences are the wider of Student's t over stores and a bootstrap.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from unknown_scores import NAMES, parts_of_method, standardised

from cign.bench.intervals import paired_intervals
from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.learner import Learner
from cign.metrics.open_set import answered_right, auroc, is_known, open_set
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import SCORES, default_score, read_evidence, rule_on
from cign.runs.build import build_loop
from cign.runs.training_data import TrainingData
from cign.saved_model.validation_clips import choose_kept, validation_clips
from cign.training.loop import Loop
from cign.utils.files import write_text
from cign.vocabulary import MODALITIES

BACKBONE = "small"
ORACLE, PLAIN = "oracle", "max_probability"
MODALITY = "audio_visual"
METRICS = ("auroc", "fpr95", "oscr")
SHARES = ("known_lost", "unknown_told")
NUM_DRAWS = 400  # draws of a store's clips
# Requirements on the chosen score, in points of AUROC.
ENOUGH, BELOW_ORACLE, ABOVE_PLAIN = 85.0, 3.0, 5.0


@dataclass
class Step:
    """Results after a step.

    Attributes:
        known: Mask of the test clips with learned classes, shape [N].
        unknown: Mask of the test clips without learned classes, shape [N].
        right: Masks of the correctly classified clips by modality, shape [N].
        values: Unknown scores by modality and score, shape [N].
        thresholds: Thresholds by modality and score; the oracle has none.
    """

    known: np.ndarray
    unknown: np.ndarray
    right: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)

    def numbers(self, modality: str, score: str) -> dict[str, float]:
        """Metrics and shares above the threshold, in percent."""
        values = self.values[modality][score]
        known, unknown = values[self.known], values[self.unknown]
        found = open_set(known, self.right[modality][self.known], unknown)
        if (threshold := self.thresholds[modality].get(score)) is not None:
            found["known_lost"] = 100.0 * float(np.mean(known > threshold))
            found["unknown_told"] = 100.0 * float(np.mean(unknown > threshold))
        return found

    def auroc_of(self, score: str, rows: np.ndarray) -> float:
        """Audio-visual AUROC on some of the clips, percent; NaN without both kinds."""
        values = self.values[MODALITY][score][rows]
        found = auroc(values[self.known[rows]], values[self.unknown[rows]])
        return np.nan if found is None else 100.0 * found


@dataclass
class World:
    """A learned store with the results after each step that has unknown clips."""

    store: Store
    chosen: str
    steps: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.store.folder.name

    @property
    def scores(self) -> list[str]:
        return [
            name for name in (*SCORES, *NAMES, ORACLE) if name in self.steps[0].values[MODALITY]
        ]

    def mean(self, score: str, number: str, modality: str = MODALITY, last: bool = False) -> float:
        """Mean of a metric over the steps, or its value after the last; NaN if undefined."""
        steps = self.steps[-1:] if last else self.steps
        return float(np.mean([step.numbers(modality, score).get(number, np.nan) for step in steps]))

    def drawn(self, scores: list[str]) -> np.ndarray:
        """Mean AUROC over the steps on draws of the test clips, shape [scores, draws]."""
        rng = np.random.default_rng(0)
        num_clips = len(self.steps[0].known)
        result = np.empty((len(scores), NUM_DRAWS))
        for draw in range(NUM_DRAWS):
            rows = rng.integers(num_clips, size=num_clips)
            for place, score in enumerate(scores):
                found = [step.auroc_of(score, rows) for step in self.steps]
                result[place, draw] = np.mean(found)
        return result


def mean_tokens(store: Store, indices: np.ndarray) -> torch.Tensor:
    """Layer-normalised mean token of each modality, concatenated, [N, D_a + D_v]."""
    cache = store.tokens(BACKBONE)
    parts = [torch.from_numpy(f(indices)).float().mean(1) for f in (cache.audio, cache.visual)]
    return torch.cat([torch.nn.functional.layer_norm(x, x.shape[1:]) for x in parts], dim=1)


def measure(loop: Loop, store: Store, test: np.ndarray, task: int) -> Step | None:
    """Compute every score of the test clips after a task; None if no test clip is unknown."""
    classes = loop.clips.tasks.class_order[: loop.clips.tasks.num_seen(task)]
    labels = [store.table.clips[i].labels for i in test]
    known, unknown = is_known(labels, classes)
    if not len(unknown):
        return None
    rows = np.arange(len(test))
    step = Step(known=np.isin(rows, known), unknown=np.isin(rows, unknown))
    loop.method.eval()
    reader = EvidenceReader(loop.method)
    of_clips = [clip.labels for clip in store.table.clips]
    chosen = choose_kept(
        of_clips, validation_clips(loop.source, of_clips, store.indices("val"), classes), Counter()
    )
    validation = read_evidence(reader, loop.source, chosen)
    tested = read_evidence(reader, loop.source, test)
    trained = loop.train[[set(classes).issuperset(of_clips[i]) for i in loop.train]]
    apart = torch.cdist(mean_tokens(store, test), mean_tokens(store, trained)).amin(1).numpy()
    for modality in MODALITIES:
        answers = np.concatenate([one.probabilities[modality].numpy() for one in tested])
        step.right[modality] = answered_right(answers, labels, classes)
        step.values[modality], step.thresholds[modality] = {ORACLE: apart}, {}
        for name, part in parts_of_method(loop.method).items():
            found = standardised(part, validation, tested, modality)
            step.values[modality][name], step.thresholds[modality][name] = found
        for name in SCORES:
            rule = rule_on(validation, name, multi_label=loop.method.setup.multi_label)
            values = [rule.values(one, modality) for one in tested]
            step.values[modality][name] = np.concatenate(values)
            step.thresholds[modality][name] = rule.thresholds[modality]
    return step


def run(folder: Path, num_tasks: int) -> World:
    """Learn a store, and evaluate it after every task."""
    store = Store.open(folder)
    tasks = split_into_tasks(store.class_names, num_tasks).groups
    config = Learner("cign_analytic", backbone=BACKBONE).config
    config = dataclasses.replace(config, tasks=tasks)
    loop = build_loop(config, TrainingData.open(config, store))
    test, loop.test = loop.test, loop.test[:1]  # evaluated in `measure`, not by the loop
    loop.predictions = dataclasses.replace(
        loop.predictions,
        clip_ids=loop.predictions.clip_ids[:1],
        labels=loop.predictions.labels[:1],
    )
    world = World(store=store, chosen=default_score(EvidenceReader(loop.method)))

    def after_task() -> None:
        if (step := measure(loop, store, test, loop.place.task - 1)) is not None:
            world.steps.append(step)

    loop.after_task = after_task
    loop.run()
    if not world.steps:
        raise SystemExit(f"{folder}: no step has a test clip of an unknown class")
    return world


def described(store: Store) -> str:
    """Description of a store by the options that it was made with."""
    made = (store.info.get("synth") or {}).get("config")
    if made is None:
        return f"{store.folder.name}: {store.num_clips} clips."
    options = {"classes": "num_classes", "train": "num_train", "val": "num_val", "test": "num_test"}
    counts = " ".join(f"--{name} {made[key]}" for name, key in options.items())
    where = f"--worlds {made['world']} --variant {made['variant']}"
    return f"{store.folder.name}: `python benchmarks/stores.py {where} {counts}`."


def as_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Markdown table; all columns but the first are right-aligned."""
    ends = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, ends, *rows)] + [""]


def shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def scores_table(worlds: list[World]) -> list[str]:
    """Every score: means over stores and steps, and values after the last step."""
    last = [f"{name}, last step" for name in ("AUROC", "FPR95", "OSCR")]
    head = ["score", "AUROC", "FPR95", "OSCR", *last, "known rejected", "unknown detected"]
    columns = [(name, False) for name in METRICS] + [(name, True) for name in METRICS]
    columns += [(name, False) for name in SHARES]
    rows = [
        [score, *(shown(np.mean([w.mean(score, n, last=z) for w in worlds])) for n, z in columns)]
        for score in worlds[0].scores
    ]
    return as_table(head, rows)


def by_world(worlds: list[World], number: str) -> list[str]:
    found = {score: [w.mean(score, number) for w in worlds] for score in worlds[0].scores}
    rows = [[score, *map(shown, (*some, float(np.mean(some))))] for score, some in found.items()]
    return as_table(["score", *(world.name for world in worlds), "mean"], rows)


def differences(worlds: list[World]) -> list[str]:
    """AUROC of each score minus that of the highest probability, and of the chosen minus oracle."""
    chosen, scores = worlds[0].chosen, worlds[0].scores
    pairs = [(score, PLAIN) for score in scores if score != PLAIN] + [(chosen, ORACLE)]
    a, b = ([scores.index(pair[side]) for pair in pairs] for side in (0, 1))
    observed = np.array([[world.mean(score, "auroc") for score in scores] for world in worlds])
    drawn = [world.drawn(scores) for world in worlds]
    found = paired_intervals(observed[:, a] - observed[:, b], [one[a] - one[b] for one in drawn])
    means = (observed[:, a] - observed[:, b]).mean(axis=0)
    rows = [
        [f"{one} minus {other}", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}", kind]
        for (one, other), mean, low, high, kind in zip(
            pairs, means, found.low, found.high, found.kinds, strict=True
        )
    ]
    return as_table(["difference of AUROC, points", "mean", "95 %", "interval"], rows)


def verdict(worlds: list[World]) -> list[str]:
    """Whether the chosen score meets the requirements, for each store and on average."""
    chosen, rows = worlds[0].chosen, []
    three = (chosen, ORACLE, PLAIN)
    values = {world.name: [world.mean(score, "auroc") for score in three] for world in worlds}
    if len(worlds) > 1:
        values["mean"] = np.mean(list(values.values()), axis=0).tolist()
    for name, (ours, oracle, plain) in values.items():
        needed = min(ENOUGH, oracle - BELOW_ORACLE)
        first = f"{'yes' if ours >= needed else 'no'} ({ours:.1f}, required {needed:.1f})"
        second = f"not required: the oracle is {oracle - plain:+.1f} above"
        if oracle >= plain + ABOVE_PLAIN:
            held = "yes" if ours >= plain + ABOVE_PLAIN else "no"
            second = f"{held} ({ours - plain:+.1f}, required {ABOVE_PLAIN:+.1f})"
        rows.append([name, first, second])
    first = f"{chosen} at least min({ENOUGH:g}, oracle - {BELOW_ORACLE:g})"
    return as_table(["store", first, f"{ABOVE_PLAIN:g} above {PLAIN} if the oracle is"], rows)


def report(worlds: list[World], num_tasks: int) -> str:
    """The page: stores, all scores, requirements, differences, and results by store."""
    steps = "; ".join(f"{world.name} {len(world.steps)}" for world in worlds)
    single = [
        [
            name,
            *(shown(np.mean([w.mean(name, "auroc", r) for w in worlds])) for r in MODALITIES[:2]),
        ]
        for name in dict.fromkeys((worlds[0].chosen, PLAIN))
    ]
    lines = [*(f"- {described(world.store)}" for world in worlds), ""]
    lines += [
        f"Audio-visual predictions in {num_tasks} tasks, percent; means over stores and over the "
        f"steps with unknown clips ({steps}), and values after the last of them. known rejected: "
        "test clips of known classes above the threshold, which accepts 95 % of the validation "
        "clips; unknown detected: clips of unknown classes above it. Definitions of the scores: "
        f"docs/predict.md. The model uses {worlds[0].chosen}.",
        "",
        *scores_table(worlds),
        "## Requirements",
        "",
        *verdict(worlds),
        "## Differences",
        "",
        *differences(worlds),
    ]
    if len(worlds) > 1:
        lines += ["## AUROC by store", "", *by_world(worlds, "auroc")]
        lines += ["## OSCR by store", "", *by_world(worlds, "oscr")]
    lines += ["## AUROC of single modalities", ""]
    lines += as_table(["score", "audio", "visual"], single)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    worlds = [run(folder, arguments.tasks) for folder in arguments.stores]
    text = report(worlds, arguments.tasks)
    print(text)
    if arguments.out:
        given = " ".join([*map(str, arguments.stores), f"--tasks {arguments.tasks}"])
        head = f"# Unknown scores of cign_analytic\n\n`python benchmarks/unknown.py {given}`"
        write_text(arguments.out, f"{head}\n\n{text}")


if __name__ == "__main__":
    main()
