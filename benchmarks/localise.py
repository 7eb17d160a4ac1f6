"""Localization accuracy of `cign_analytic`: how often maps point at the object and the moment.

Learns each store in four tasks and computes the assignments of its test clips: one map for every
label whose object is visible (or whose source is audible). A centre map and a random map serve as
baselines. Intervals are those of `cign bench`: 10,000 draws of stores and, within them, of objects,
or Student's t over the stores if that is wider.

    python benchmarks/localise.py STORE... [--out benchmarks/results/maps.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from localisation import Localisation, localise_moments, localise_patches

from cign.bench.intervals import paired_intervals
from cign.bench.resampling import NUM_DRAWS
from cign.data.store import Store
from cign.learner import Learner
from cign.utils.files import write_text


def assigned(learner: Learner, store: Store) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Test clips and their assignments, [N, tokens, C] per modality."""
    cache, test = store.tokens("small"), store.indices("test")
    parts: dict[str, list[np.ndarray]] = {"audio": [], "visual": []}
    for some in np.array_split(test, max(1, len(test) // 256)):
        audio, visual = (torch.from_numpy(x(some)) for x in (cache.audio, cache.visual))
        with torch.inference_mode():
            for name, maps in learner.model.method.predict(audio, visual).assignment.items():
                parts[name].append(maps.numpy())
    return test, {name: np.concatenate(part) for name, part in parts.items()}


def localise(folder: Path) -> dict[str, Localisation]:
    """Localization hits in a store, spatial (patch) and temporal (moment)."""
    store = Store.open(folder)
    learner = Learner("cign_analytic", backbone="small").learn(store, tasks=4)
    classes = {name: i for i, name in enumerate(learner.metrics["classes"])}
    test, maps = assigned(learner, store)
    spatial, boxes, temporal, intervals = [], [], [], []
    for row, index in enumerate(test):
        clip = store.table.clips[index]
        for label, box in zip(clip.labels, clip.boxes, strict=False):
            spatial.append(maps["visual"][row, :, classes[label]])
            boxes.append(box)
        for label, interval in zip(clip.labels, clip.sounds, strict=False):
            temporal.append(maps["audio"][row, :, classes[label]])
            intervals.append(interval)
    grid = learner.model.method.setup.shape.visual_grid
    return {
        "patch": localise_patches(np.array(spatial), np.array(boxes), grid),
        "moment": localise_moments(np.array(temporal), np.array(intervals), store.spec.window_s),
    }


def interval(differences: list[np.ndarray]) -> tuple[float, float, float]:
    """Mean difference over stores in points, and its 95 % interval, as in a bench."""
    rng = np.random.default_rng(0)
    observed = np.array([[100 * x.mean()] for x in differences])
    drawn = [
        100 * x[rng.integers(len(x), size=(NUM_DRAWS, len(x)))].mean(axis=1)[None]
        for x in differences
    ]
    found = paired_intervals(observed, drawn)
    return float(observed.mean()), float(found.low[0]), float(found.high[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {folder.name: localise(folder) for folder in arguments.stores}
    lines = [
        "| store | strongest | objects | hit | centre | random |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, both in found.items():
        for kind, one in both.items():
            rates = " | ".join(f"{rate:.1f}" for rate in one.rates().values())
            lines.append(f"| {name} | {kind} | {len(one.hits)} | {rates} |")
    lines += ["", "| strongest | over | points | 95 % |", "| --- | --- | ---: | --- |"]
    for kind in ("patch", "moment"):
        for base in ("centre", "random"):
            gaps = [both[kind].hits - getattr(both[kind], base) for both in found.values()]
            mean, low, high = interval(gaps)
            lines.append(f"| {kind} | {base} | {mean:+.1f} | [{low:+.1f}, {high:+.1f}] |")
    table = "\n".join(lines)
    print(table)
    if arguments.out:
        command = f"python benchmarks/localise.py {' '.join(map(str, arguments.stores))}"
        write_text(arguments.out, f"# Maps of cign_analytic\n\n`{command}`\n\n{table}\n")


if __name__ == "__main__":
    main()
