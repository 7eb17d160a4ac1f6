"""Wrong labels that `cign audit` finds, compared with other scores.

    CIGN_REAL=FOLDER python benchmarks/audit.py work/stores/world1 work/stores/world1_small

writes ``benchmarks/results/audit.md``. In each of ten plantings, 5 % of the labels of a data set's
training and validation clips, drawn at random, are replaced by another class, also at random; a
model learns all of these clips in one task, and every score ranks them. Test clips are never
learned, and those of real recordings are not even prepared. Results are saved in ``--work``
planting by planting: with ``--minutes`` the script stops early, and continues when repeated.

The first planting of a data set selects settings among all those of the recipe. The others select
among the settings that it selected, which saves most of the time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare_stores import prepare, write_list
from folds import SPLITS
from numpy.typing import NDArray

from cign.bench.intervals import student_t_interval
from cign.data.store import Store
from cign.inference.leave_one_out import LearnedPredictions, predict_left_out
from cign.inference.sources import LearnedClips
from cign.labelling.auditing import audit_labels, relative_to_usual, support_of
from cign.learner import Learner
from cign.methods.capabilities import selected_settings
from cign.training.scoring import score_clips
from cign.utils.files import read_json, write_json, write_text
from cign.vocabulary import UNIMODAL

OUT = Path(__file__).parent / "results" / "audit.md"
REAL = ("real24", "real24_clutter")
NUM_PLANTINGS = 10
SHARE = 0.05
NUM_NEIGHBOURS = 10
OWN, SELF_CONFIDENCE = "`cign audit`", "self-confidence, leave-one-out"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def planted(store: Store, seed: int, share: float = SHARE) -> tuple[Store, set[str]]:
    """Replace labels of clips with one label, and make all clips training clips.

    Args:
        store: The store; its test clips and unknown clips are put aside.
        seed: Of the draw.
        share: Fraction of clips with a wrong label.

    Returns:
        A view of the store, and the ids of the clips with a wrong label.
    """
    rng, clips = np.random.default_rng([seed, 0xA0D17]), list(store.table.clips)
    used = [i for i, clip in enumerate(clips) if clip.split in SPLITS]
    wrong = set(rng.choice(used, round(share * len(used)), replace=False).tolist())
    for i, clip in enumerate(clips):
        labels = clip.labels
        if i in wrong:
            labels = (str(rng.choice([n for n in store.class_names if n not in labels])),)
        split = "train" if clip.split in SPLITS else "unknown"
        clips[i] = dataclasses.replace(clip, labels=labels, split=split)
    table = dataclasses.replace(store.table, clips=tuple(clips))
    return dataclasses.replace(store, table=table), {clips[i].id for i in wrong}


def neighbour_disagreement(
    learned: LearnedClips, rows: NDArray[np.int64], labels: NDArray[np.int64]
) -> Floats:
    """Share of the nearest clips with another label, weighted by cosine similarity; [n].

    The features of a clip are the mean tokens of both modalities, each of length 1.
    """
    parts = []
    for tokens in learned.source.read(rows):
        mean = tokens.double().mean(dim=1).numpy()
        parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    similarity = np.concatenate(parts, axis=1) @ np.concatenate(parts, axis=1).T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :NUM_NEIGHBOURS]
    weights = np.take_along_axis(similarity, nearest, axis=1)
    differs = labels[nearest] != labels[:, None]
    return np.asarray((weights * differs).sum(axis=1) / weights.sum(axis=1))


def scores_of(
    learner: Learner, learned: LearnedClips, left_out: LearnedPredictions
) -> dict[str, Floats]:
    """Each score of the learned clips, higher for more doubtful labels; [n]."""
    assert learner.model is not None
    rows, targets = left_out.left_out.indices, left_out.targets
    labels = targets.argmax(axis=1)
    every = np.arange(len(rows))
    audit = audit_labels(left_out, learner.model.classes, multi_label=False)
    own = np.zeros(len(rows))
    own[[one.clip for one in audit.doubts]] = -np.arange(len(audit.doubts), dtype=np.float64)
    both = left_out.probabilities()["audio_visual"]
    without = np.where(targets, -np.inf, both)
    seen = score_clips(learner.model.method, learned.source, rows)
    seen_support = support_of(
        {name: values.astype(np.float64) for name, values in seen.items()},
        *learned.source.availability(rows),
        multi_label=False,
    )
    return {
        OWN: own,
        SELF_CONFIDENCE: -both[every, labels],
        "normalised margin, leave-one-out": without.max(axis=1) - both[every, labels],
        "without leaving out": -relative_to_usual(seen_support, targets)[every, labels],
        "support alone": -_support(left_out)[every, labels],
        "nearest neighbours": neighbour_disagreement(learned, rows, labels),
    }


def _support(left_out: LearnedPredictions) -> Floats:
    present = left_out.source.availability(left_out.left_out.indices)
    return support_of(left_out.probabilities(), *present, multi_label=False)


def precision_at(scores: Floats, is_wrong: Flags) -> float:
    """Fraction of wrong labels among as many of the highest scores."""
    first = np.argsort(-scores, kind="stable")[: int(is_wrong.sum())]
    return float(is_wrong[first].mean())


def result_of(store: Store, seed: int, options: dict[str, Any] | None) -> dict[str, Any]:
    """The precision of each score in one planting, and of the rule for suspicious clips."""
    view, wrong = planted(store, seed)
    learner = Learner("cign_analytic", options=options).learn(view, tasks=1, progress=False)
    assert learner.model is not None
    learned = LearnedClips.open(learner.model, view)
    left_out = predict_left_out(learner.model, learned)
    is_wrong = np.array([clip.id in wrong for clip in left_out.clips])
    audit = audit_labels(left_out, learner.model.classes, multi_label=False)
    found = np.array([is_wrong[one.clip] for one in audit.suspicious])
    return {
        "num_clips": len(is_wrong),
        "num_wrong": int(is_wrong.sum()),
        "scores": {
            name: precision_at(values, is_wrong)
            for name, values in scores_of(learner, learned, left_out).items()
        },
        "rule": {
            "suspicious": len(found),
            "precision": float(found.mean()) if len(found) else 1.0,
            "recall": float(found.sum() / is_wrong.sum()),
        },
        "settings": selected_settings(learner.model.method),
    }


def options_from(settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Options with the selected settings of both modalities as the only candidates."""
    found: dict[str, list[Any]] = {}
    for modality in UNIMODAL:
        for name, value in settings[modality].items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return found


def results_of(
    name: str, store: Store, work: Path, is_late: Callable[[], bool]
) -> list[dict[str, Any]]:
    """The results of all plantings of a data set, or of those before it is late."""
    results: list[dict[str, Any]] = []
    for seed in range(NUM_PLANTINGS):
        file = work / "results" / f"{name}-{seed}.json"
        if not file.is_file():
            if is_late():
                break
            options = options_from(results[0]["settings"]) if results else None
            write_json(file, result_of(store, seed, options))
            print(f"{name}: planting {seed + 1} of {NUM_PLANTINGS}", flush=True)
        results.append(read_json(file, "result of a planting"))
    return results


def interval(values: list[float]) -> str:
    """Mean and 95 % interval of the mean (Student's t)."""
    low, high = student_t_interval(np.array(values)[:, None])
    return f"{np.mean(values):.3f} [{low[0]:.3f}, {min(high[0], 1.0):.3f}]"


def page(results: dict[str, list[dict[str, Any]]], command: str) -> list[str]:
    """Lines of Markdown."""
    names = list(results)
    lines = [
        "# Wrong labels that `cign audit` finds",
        "",
        f"`{command}`",
        "",
        f"{NUM_PLANTINGS} plantings: {100 * SHARE:g} % of the labels of training and validation "
        "clips replaced by another class at random; `cign_analytic`, one task. Precision at the "
        "number of wrong labels: the fraction of wrong labels among as many of the most doubtful "
        "clips. Mean and 95 % interval (Student's t) over plantings. Test clips are not used.",
        "",
        f"| score | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(names)}",
    ]
    for score in results[names[0]][0]["scores"]:
        cells = [interval([one["scores"][score] for one in results[name]]) for name in names]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    differences = [
        [one["scores"][OWN] - one["scores"][SELF_CONFIDENCE] for one in results[name]]
        for name in names
    ]
    cells = [interval(values) for values in differences]
    lines.append(f"| {OWN} minus self-confidence, paired | {' | '.join(cells)} |")
    lines += [
        "",
        "Self-confidence and normalised margin are those of Northcutt et al. (JAIR 2021), from "
        "the audio-visual leave-one-out probabilities. Without leaving out: the score of "
        "`cign audit` by the model that learned the clips. Support alone: its support, not divided "
        "by the usual one of the class. Nearest neighbours: the "
        f"{NUM_NEIGHBOURS} nearest clips by mean tokens.",
        "",
        "Labels called suspicious by the rule: less than 1 / number of classes of the usual "
        "support.",
        "",
        "| data | clips | wrong | suspicious | precision | recall |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in names:
        rules = [one["rule"] for one in results[name]]
        lines.append(
            f"| {name} | {results[name][0]['num_clips']} | {results[name][0]['num_wrong']} | "
            f"{np.mean([one['suspicious'] for one in rules]):.1f} | "
            f"{interval([one['precision'] for one in rules])} | "
            f"{interval([one['recall'] for one in rules])} |"
        )
    return lines


def main() -> None:
    """Run the plantings that are missing; write the page once all are there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", type=Path, nargs="*", help="prepared stores of other data sets")
    parser.add_argument("--real", type=Path, default=os.environ.get("CIGN_REAL"))
    parser.add_argument("--work", type=Path, default=Path("work/audit"))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    begin, places = time.monotonic(), {}
    if options.real is not None:
        for name in REAL:
            media, place = Path(options.real) / name, options.work / name
            if not (place / "store.json").is_file():
                write_list(media, options.work / f"{name}.csv")
                prepare(options.work / f"{name}.csv", place, media, "lite0+sfx")
            places[name] = place
    places |= {place.name: place for place in options.stores}
    results = {
        name: results_of(
            name,
            Store.open(place),
            options.work,
            lambda: time.monotonic() - begin > 60 * options.minutes,
        )
        for name, place in places.items()
    }
    if any(len(one) < NUM_PLANTINGS for one in results.values()):
        raise SystemExit("not all plantings are done: repeat the command to continue")
    command = "CIGN_REAL=FOLDER python benchmarks/audit.py " + " ".join(
        f"work/stores/{place.name}" for place in options.stores
    )
    text = "\n".join(page(results, command)) + "\n"
    print(text)
    write_text(options.out, text)


if __name__ == "__main__":
    main()
