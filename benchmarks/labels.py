"""Labels needed: clips chosen by `cign next`, at random, and by each of its two steps alone.

    python benchmarks/labels.py work/stores/real24 work/stores/real24_clutter work/stores/world1

writes ``benchmarks/results/labels.md``. A model learns one clip of each class, and then rounds of
clips that a rule chooses from the pool, each added as by ``cign add``. Five starts: start s draws
its first clips with seed s, and fold s by source (`folds.py`) of the training and validation clips
is tested, the others are the pool. Test clips are not read. Results are stored in ``--work`` after
every start, and reused.

``--variants`` adds further rules: other numbers of candidates, a fixed ridge, and clusters.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folds import Fold, folds
from loo_estimates import with_splits

from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.inference.sources import ClipsToLabel
from cign.labelling.design import choose, whitened
from cign.labelling.pool import Scored, least_certain, scored_clips
from cign.labelling.proposing import CANDIDATES, checked_sums
from cign.learner import Learner
from cign.saved_model.model import Model
from cign.utils.files import read_json, write_json, write_text
from cign.utils.progress import Silent
from cign.vocabulary import UNIMODAL

OUT = Path(__file__).parent / "results" / "labels.md"
ROUND = 20
SHOWN = (60, 80, 100)
SHARES = (0.90, 0.95)
FIXED_RIDGE = 100.0
NUM_STARTS = 5

# The first value of each list of the recipe, but another ridge.
FIXED = {
    "normalisation": ["layer"],
    "contrast": [0.5],
    "saliency": [2.0],
    "token_share": [0.2],
    "ridge": [FIXED_RIDGE],
    "assignment_temperature": [0.3],
    "temperature": [0.1],
    "count_power": [0.5],
}
SETTINGS: dict[str, dict[str, Any] | None] = {"fixed": FIXED, "selected": None}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a rule chooses from.

    Attributes:
        model: The model of the round.
        store: The store.
        left: Indices of the clips without labels, ascending.
        rng: Random numbers of the start.
    """

    model: Model
    store: Store
    left: IntArray
    rng: np.random.Generator

    def least(self, number: int) -> Scored:
        """The clips with the smallest margins."""
        part = with_splits(self.store, set(self.left.tolist()), set())
        clips = ClipsToLabel.open(self.model, part)
        scored = scored_clips(self.model, clips.source, clips.indices, Silent())
        found = least_certain(scored, number)
        assert found is not None
        return found


Rule = Callable[[Pool, int], list[int]]


def informative(model: Model, scored: Scored, number: int, ridge: float | None) -> list[int]:
    """The clips that `cign.labelling.design.choose` chooses."""
    sums = checked_sums(model)
    features = {"audio": scored.audio, "visual": scored.visual}
    vectors = [
        whitened(
            torch.from_numpy(features[name]).double(),
            sums.gram(name),
            sums.ridge_of(name) if ridge is None else ridge,
        )
        for name in UNIMODAL
    ]
    return [int(scored.numbers[row]) for row, _ in choose(vectors, min(number, len(scored)))]


def both(factor: int, ridge: float | None = None) -> Rule:
    """The two steps, with this many candidates for each clip."""

    def rule(pool: Pool, number: int) -> list[int]:
        return informative(pool.model, pool.least(factor * number), number, ridge)

    return rule


def at_random(pool: Pool, number: int) -> list[int]:
    """Clips drawn without replacement."""
    return [int(i) for i in pool.rng.choice(pool.left, number, replace=False)]


def by_margin(pool: Pool, number: int) -> list[int]:
    """The least certain clips."""
    return [int(i) for i in pool.least(number).numbers]


def by_leverage(pool: Pool, number: int) -> list[int]:
    """The most informative clips of the whole pool."""
    return informative(pool.model, pool.least(len(pool.left)), number, None)


def by_clusters(pool: Pool, number: int) -> list[int]:
    """The least certain clip of each cluster (k-means) of the candidates' features."""
    from sklearn.cluster import KMeans

    some = pool.least(CANDIDATES * number)
    parts = [values / np.linalg.norm(values, axis=1).mean() for values in (some.audio, some.visual)]
    labels = KMeans(number, n_init=1, random_state=0).fit_predict(np.hstack(parts))
    return [int(some.numbers[np.flatnonzero(labels == c)[0]]) for c in range(number)]


RULES: dict[str, Rule] = {
    "random": at_random,
    "margin alone": by_margin,
    "leverage alone": by_leverage,
    "`cign next`": both(CANDIDATES),
}
VARIANTS: dict[str, Rule] = {
    "2 candidates for each clip": both(2),
    "8 candidates for each clip": both(8),
    "16 candidates for each clip": both(16),
    f"ridge {FIXED_RIDGE:g} instead of the selected one": both(CANDIDATES, FIXED_RIDGE),
    "clusters of the candidates": by_clusters,
}


def first_clips(store: Store, pool: Sequence[int], seed: int) -> list[int]:
    """A clip of each class, drawn from the pool."""
    rng = np.random.default_rng(seed)
    of_class: dict[str, list[int]] = {}
    for index in pool:
        of_class.setdefault(store.table.clips[index].labels[0], []).append(index)
    return [int(rng.choice(of_class[name])) for name in sorted(of_class)]


def accuracy(learner: Learner, store: Store, fold: Fold) -> float:
    """Audio-visual accuracy on the fold in percent."""
    tested = learner.evaluate(with_splits(store, set(), set(fold.test)))
    return float(tested["modalities"]["audio_visual"]["last"])


def curve(store: Store, fold: Fold, rule: Rule, seed: int, options: argparse.Namespace) -> Any:
    """Accuracies by number of labels, as pairs."""
    rng = np.random.default_rng(1000 + seed)
    learned = first_clips(store, fold.train, seed)
    learner = trained(store, learned, options)
    found = [(len(learned), accuracy(learner, store, fold))]
    while len(learned) < options.most:
        assert learner.model is not None
        left = np.array(sorted(set(fold.train) - set(learned)), np.int64)
        pool = Pool(model=learner.model, store=store, left=left, rng=rng)
        # The first round fills up to a multiple of the size of a round.
        chosen = rule(pool, ROUND - len(learned) % ROUND)
        assert not set(chosen) & set(learned)
        learned += chosen
        learner.add(with_splits(store, set(chosen), set()), keep=False, progress=False)
        found.append((len(learned), accuracy(learner, store, fold)))
    return found


def trained(store: Store, clips: Sequence[int], options: argparse.Namespace) -> Learner:
    """A model that learned some clips."""
    learner = Learner(options.method, options=SETTINGS[options.settings])
    return learner.learn(with_splits(store, set(clips), set()), progress=False)


def measured(
    place: Path, names: Sequence[str], options: argparse.Namespace
) -> dict[str, list[dict[int, float]]]:
    """Curves of all starts by rule, and the accuracy with all labels as ``all``."""
    store = Store.open(place)
    parts = folds(store.table.clips, NUM_STARTS)
    found: dict[str, list[dict[int, float]]] = {}
    for name in ("all", *names):
        for seed, fold in enumerate(parts):
            words = (place.name, options.method, options.settings, options.most, name, seed)
            slug = "-".join(map(str, words)).replace("`", "")
            path = options.work / f"{slug.replace(' ', '_')}.json"
            if not path.is_file():
                began = time.monotonic()
                if name == "all":
                    learner = trained(store, fold.train, options)
                    pairs = [(len(fold.train), accuracy(learner, store, fold))]
                else:
                    pairs = curve(store, fold, {**RULES, **VARIANTS}[name], seed, options)
                write_json(path, pairs)
                print(f"{slug}: {time.monotonic() - began:.0f} s, {pairs[-1]}", flush=True)
            found.setdefault(name, []).append(dict(read_json(path, "curve")))
    return found


def interval(values: Sequence[float]) -> str:
    """Mean and half the 95 % interval of the mean (Student's t)."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.1f} ± {half:.1f}"


def needed(curves: Sequence[dict[int, float]], wholes: Sequence[float], share: float) -> str:
    """Mean number of labels at which a share of the accuracy with all labels is first reached."""
    numbers = []
    for one, whole in zip(curves, wholes, strict=True):
        reached = [number for number, value in sorted(one.items()) if value >= share * whole]
        if not reached:
            return f"> {max(one)}"
        numbers.append(reached[0])
    return f"{statistics.mean(numbers):.0f}"


def table(found: dict[str, list[dict[int, float]]], names: Sequence[str]) -> list[str]:
    """A table of rules; the paired difference from random choice beside the accuracies."""
    wholes = [next(iter(one.values())) for one in found["all"]]
    heads = ["chosen by", *(f"{number} labels" for number in SHOWN)]
    heads += [f"minus random, {SHOWN[1]}", *(f"labels for {100 * s:.0f} %" for s in SHARES)]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name in names:
        curves = found[name]
        cells = [interval([one[number] for one in curves]) for number in SHOWN]
        pairs = zip(curves, found["random"], strict=True)
        differences = [one[SHOWN[1]] - other[SHOWN[1]] for one, other in pairs]
        cells.append("" if name == "random" else interval(differences))
        cells += [needed(curves, wholes, share) for share in SHARES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def page(options: argparse.Namespace) -> list[str]:
    """Lines of Markdown."""
    shown = " ".join(["python benchmarks/labels.py", *(place.name for place in options.stores)])
    shown += f" --variants {options.variants.name}" if options.variants else ""
    lines = [
        "# Labels needed",
        "",
        f"`{shown}`",
        "",
        f"Audio-visual accuracy in percent of `{options.method}` with its shipped recipe, which "
        f"learned one clip of each class and then rounds of clips up to multiples of {ROUND} "
        f"labels, added as by `cign add`. Mean of {NUM_STARTS} starts and 95 % interval of the "
        "mean (Student's t); each start has its own first clips and tests its own fifth of the "
        "sources of the training and validation clips, so the intervals include the differences "
        "between folds; the differences from random choice are paired by start. Test clips were "
        "not read. Labels for a share: mean number of labels at which that share of the accuracy "
        "with all labels of the pool is first reached.",
    ]
    for place in options.stores:
        names = list(RULES)
        if options.variants and place.name == options.variants.name:
            names += list(VARIANTS)
        found = measured(place, names, options)
        whole = [value for one in found["all"] for value in one.values()]
        size = statistics.mean(number for one in found["all"] for number in one)
        lines += ["", f"## {place.name}", ""]
        lines += [f"With all labels, {size:.0f} on average: {interval(whole)}.", ""]
        lines += table(found, names)
    return [*lines, ""]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--method", default="cign_analytic")
    parser.add_argument("--settings", choices=list(SETTINGS), default="selected")
    parser.add_argument("--most", type=int, default=100, help="labels of the last round")
    parser.add_argument("--variants", type=Path, help="store on which variants are measured too")
    parser.add_argument("--work", type=Path, default=Path("work/labels"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    write_text(options.out, "\n".join(page(options)))
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
