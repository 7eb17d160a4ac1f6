"""How often `cign add` reports a new class to look like an old one, rightly and wrongly.

python benchmarks/alike.py work/stores/world1

Half of the classes are learned from half of their recordings. Their other recordings, under a new
name, should be reported; the classes of the other half should not. Features are pooled tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cign.data.store import Store
from cign.sklearn import AnalyticClassifier
from cign.updating.impact import ALIKE_LEAST_CLIPS, ALIKE_PERCENT

DRAWS, BATCH = 4, 256
LIMITS = (60.0, 70.0, ALIKE_PERCENT, 90.0)


def features(store: Store, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Means of all tokens of each clip, shape [N, D_a + D_v], and D_a."""
    tokens, parts = store.tokens(), []
    for first in range(0, len(rows), BATCH):
        indices = rows[first : first + BATCH]
        audio, visual = (
            np.asarray(one, np.float64) for one in (tokens.audio(indices), tokens.visual(indices))
        )
        means = [one.reshape(len(indices), -1, one.shape[-1]).mean(1) for one in (audio, visual)]
        parts.append(np.concatenate(means, axis=1))
    return np.concatenate(parts), audio.shape[-1]


def largest_share(model: AnalyticClassifier, x: np.ndarray) -> float:
    """Percent of clips that get the most frequent prediction."""
    _, counts = np.unique(model.predict(x), return_counts=True)
    return float(100 * counts.max() / len(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    store = Store.open(parser.parse_args().store)
    clips = store.table.clips
    usable = store.audio_ok & store.visual_ok
    rows = np.array(
        [
            row
            for row, clip in enumerate(clips)
            if clip.split in ("train", "val") and len(clip.labels) == 1 and usable[row]
        ]
    )
    x, num_audio = features(store, rows)
    labels = np.array([clips[row].labels[0] for row in rows])
    sources = np.array([clips[row].source for row in rows])
    names = sorted(set(labels))
    again, others = [], []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(names)
        old, new = np.split(order, [len(names) // 2])
        learned = np.zeros(len(rows), bool)
        for name in old:
            own = rng.permutation(sorted(set(sources[labels == name])))
            learned |= (labels == name) & np.isin(sources, own[: len(own) // 2])
        model = AnalyticClassifier(num_audio_features=num_audio).fit(x[learned], labels[learned])
        for found, group, left in ((again, old, ~learned), (others, new, learned | True)):
            masks = [(labels == name) & left for name in group]
            found += [largest_share(model, x[m]) for m in masks if m.sum() >= ALIKE_LEAST_CLIPS]
    print(f"{len(names)} classes, {len(names) // 2} learned, {DRAWS} draws")
    for limit in LIMITS:
        rates = [100 * np.mean(np.array(found) > limit) for found in (again, others)]
        print(
            f"above {limit:g} %: {rates[0]:.1f} % of {len(again)} classes learned before, "
            f"{rates[1]:.1f} % of {len(others)} other classes"
        )


if __name__ == "__main__":
    main()
