"""Labels needed: clips chosen by `cign next`, at random, and by each of its two steps alone.

    python benchmarks/labels.py world1 world1_small real24 real24_clutter --folder work/stores

writes ``benchmarks/results/labels.md``. A model learns one clip of each class, and then rounds of
clips that a rule chooses from the pool. Five starts: start s draws its first clips with seed s, and
fold s by source (`folds.py`) of the training and validation clips is tested, the others are the
pool. Test clips are not read. The settings are fixed, so that the random features of all clips are
computed once, and a round costs no more than its sums and their solution.

``--variants STORE...`` measures further rules on some of the stores: other numbers of candidates, a
smaller and a larger ridge, and clusters. Results are stored in ``--work`` and reused.

``world1_small`` has the clips of ``world1`` with tokens of backbone ``small``: ``cign prepare
work/stores/world1-clips work/stores/world1_small --backbone small``.
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
from numpy.typing import NDArray
from torch import Tensor

from cign.data.store import Store
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.labelling.design import choose, whitened
from cign.labelling.pool import Scored, least_certain, margins
from cign.labelling.proposing import CANDIDATES
from cign.methods import method_class
from cign.methods.base import Setup
from cign.methods.closed_form import ClosedForm
from cign.methods.closed_form_output import output_from_scores
from cign.methods.selection import pooled_scores
from cign.runs.training_data import token_source
from cign.utils.files import read_json, write_json, write_text
from cign.utils.options import configure
from cign.vocabulary import UNIMODAL

OUT = Path(__file__).parent / "results" / "labels.md"
ROUND = 20
SHOWN = (60, 80, 100)
SHARES = (0.90, 0.95)
METHOD, FIXED_RIDGE = "cign_analytic", 100.0
NUM_STARTS = 5

# What a model with few clips uses, the first values of the recipe in its plainest view, but for the
# ridge.
FIXED = {
    "normalisation": ["layer"],
    "contrast": [0.0],
    "saliency": [0.0],
    "token_share": [0.2],
    "ridge": [FIXED_RIDGE],
    "assignment_temperature": [0.3],
    "temperature": [0.1],
    "count_power": [0.5],
}
BATCH = 64


class Clips:
    """Features of all training and validation clips of a store, and models that learn some.

    Args:
        place: The store; each of its clips has audio and video.
        options: Options of `cign_analytic` with one value for each setting.
    """

    def __init__(self, place: Path, options: dict[str, Any]) -> None:
        store = Store.open(place)
        self.options = options
        self.clips, self.class_names = store.table.clips, store.class_names
        self.folds = folds(self.clips, NUM_STARTS)
        labels, names = [clip.labels for clip in self.clips], [clip.source for clip in self.clips]
        tasks = TaskSequence((self.class_names,))
        self.targets = torch.from_numpy(TaskClips.of(labels, tasks, names).targets)
        source, shape = token_source(store, str(store.tokens(None).info["backbone"]))
        self.setup = Setup(shape=shape)
        empty = self.method()
        used = np.flatnonzero([clip.split in ("train", "val") for clip in self.clips])
        self.row_of = {int(index): row for row, index in enumerate(used)}
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in UNIMODAL}
        with torch.inference_mode():
            for begin in range(0, len(used), BATCH):
                both = source.read(used[begin : begin + BATCH])
                for name, tokens in zip(UNIMODAL, both, strict=True):
                    one = empty.of(name)
                    view, x = one.setting.view, tokens.float()
                    parts[name].append((one.projection(view)(view.vectors(x)), view.shares(x)))
        self.features = {
            name: tuple(map(torch.cat, zip(*found, strict=True))) for name, found in parts.items()
        }

    def method(self) -> ClosedForm:
        """A method that knows the classes and has learned nothing."""
        cls = method_class(METHOD)
        method = cls(self.setup, configure(cls.Options, self.options, "options"))
        assert isinstance(method, ClosedForm)
        method.grow(len(self.class_names))
        return method.eval()

    def of(self, modality: str, clips: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Random features [n, N, W] and shares [n, N] of clips."""
        rows = [self.row_of[index] for index in clips]
        features, shares = self.features[modality]
        return features[rows], shares[rows]

    @torch.inference_mode()
    def learn(self, method: ClosedForm, clips: Sequence[int]) -> None:
        """Add clips to the sums and solve them, as `ClosedForm` does from tokens."""
        targets = self.targets[list(clips)]
        for name in UNIMODAL:
            one = method.of(name)
            sums = one.statistics_of(one.setting.view)
            sums.absorb([self.of(name, clips)], targets, rounding=one.rounding)
        method.class_clips += targets.sum(dim=0)
        method.solve()

    @torch.inference_mode()
    def scored(self, method: ClosedForm, clips: IntArray) -> tuple[Scored, NDArray[Any]]:
        """Margins and features of clips, and their audio-visual probabilities."""
        scores, pooled = {}, {}
        settings = {name: method.of(name).setting for name in UNIMODAL}
        for name, setting in settings.items():
            features, shares = self.of(name, clips.tolist())
            found = features @ method.class_tokens(name)
            scores[name] = pooled_scores(found, shares, setting.assignment_temperature)
            pooled[name] = (shares.unsqueeze(1) @ features).squeeze(1).numpy()
        output = output_from_scores(scores, settings, multi_label=False)
        probabilities = output.probabilities["audio_visual"].numpy()
        best = np.argsort(-probabilities, axis=1)[:, :2]
        scored = Scored(
            numbers=clips,
            margins=margins(probabilities, multi_label=False),
            best=best,
            probabilities=np.take_along_axis(probabilities, best, axis=1),
            unknown=np.zeros(len(clips), np.float32),
            has_audio=np.ones(len(clips), np.bool_),
            has_visual=np.ones(len(clips), np.bool_),
            **pooled,
        )
        return scored, probabilities


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a rule chooses from.

    Attributes:
        clips: The clips of the store.
        method: The model of the round.
        left: Indices of the clips without labels, ascending.
        rng: Random numbers of the start.
    """

    clips: Clips
    method: ClosedForm
    left: IntArray
    rng: np.random.Generator

    def least(self, number: int) -> Scored:
        """The clips with the smallest margins."""
        found = least_certain([self.clips.scored(self.method, self.left)[0]], number)
        assert found is not None
        return found


Rule = Callable[[Pool, int], list[int]]


def informative(pool: Pool, some: Scored, number: int, ridge: float | None = None) -> list[int]:
    """The clips that `cign.labelling.design.choose` chooses."""
    features = {"audio": some.audio, "visual": some.visual}
    vectors = [
        whitened(
            torch.from_numpy(features[name]).double(),
            pool.method.gram(name),
            pool.method.ridge_of(name) if ridge is None else ridge,
        )
        for name in UNIMODAL
    ]
    return [int(some.numbers[row]) for row, _ in choose(vectors, min(number, len(some)))]


def both(factor: int, ridge: float | None = None) -> Rule:
    """The two steps, with this many candidates for each clip."""

    def rule(pool: Pool, number: int) -> list[int]:
        return informative(pool, pool.least(factor * number), number, ridge)

    return rule


def at_random(pool: Pool, number: int) -> list[int]:
    """Clips drawn without replacement."""
    return [int(i) for i in pool.rng.choice(pool.left, number, replace=False)]


def by_margin(pool: Pool, number: int) -> list[int]:
    """The least certain clips."""
    return [int(i) for i in pool.least(number).numbers]


def by_leverage(pool: Pool, number: int) -> list[int]:
    """The most informative clips of the whole pool."""
    return informative(pool, pool.least(len(pool.left)), number)


def by_clusters(pool: Pool, number: int) -> list[int]:
    """The least certain clip of each cluster (k-means) of the candidates' features."""
    from sklearn.cluster import KMeans

    some = pool.least(4 * number)
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
    "4 candidates for each clip": both(4),
    "8 candidates for each clip": both(8),
    "16 candidates for each clip": both(16),
    "4 candidates, ridge 10 in the leverage": both(4, 10.0),
    "4 candidates, ridge 1,000 in the leverage": both(4, 1000.0),
    "clusters of 4 candidates for each clip": by_clusters,
}


def first_clips(clips: Clips, pool: Sequence[int], seed: int) -> list[int]:
    """A clip of each class, drawn from the pool."""
    rng = np.random.default_rng(seed)
    of_class: dict[str, list[int]] = {}
    for index in pool:
        of_class.setdefault(clips.clips[index].labels[0], []).append(index)
    return [int(rng.choice(of_class[name])) for name in sorted(of_class)]


def accuracy(clips: Clips, method: ClosedForm, fold: Fold) -> float:
    """Audio-visual accuracy on the fold in percent."""
    _, found = clips.scored(method, np.array(fold.test, np.int64))
    hits = clips.targets[list(fold.test)].numpy()[np.arange(len(found)), found.argmax(axis=1)]
    return 100.0 * float(hits.mean())


def curve(clips: Clips, rule: Rule, seed: int, most: int) -> list[tuple[int, float]]:
    """Accuracies by number of labels, as pairs."""
    fold, rng = clips.folds[seed], np.random.default_rng(1000 + seed)
    learned = first_clips(clips, fold.train, seed)
    method = clips.method()
    clips.learn(method, learned)
    found = [(len(learned), accuracy(clips, method, fold))]
    while len(learned) < most:
        left = np.array(sorted(set(fold.train) - set(learned)), np.int64)
        pool = Pool(clips=clips, method=method, left=left, rng=rng)
        # The first round fills up to a multiple of the size of a round.
        chosen = rule(pool, ROUND - len(learned) % ROUND)
        assert not set(chosen) & set(learned)
        learned += chosen
        clips.learn(method, chosen)
        found.append((len(learned), accuracy(clips, method, fold)))
    return found


def with_all(clips: Clips, seed: int) -> list[tuple[int, float]]:
    """The accuracy with all labels of the pool."""
    fold, method = clips.folds[seed], clips.method()
    clips.learn(method, fold.train)
    return [(len(fold.train), accuracy(clips, method, fold))]


def measured(
    place: Path, names: Sequence[str], most: int, work: Path
) -> dict[str, list[dict[int, float]]]:
    """Curves of all starts by rule, and the accuracy with all labels as ``all``."""
    clips: Clips | None = None
    found: dict[str, list[dict[int, float]]] = {}
    for name in ("all", *names):
        for seed in range(NUM_STARTS):
            words = (place.name, most, name.replace("`", "").replace(" ", "_"), seed)
            path = work / f"{'-'.join(map(str, words))}.json"
            if not path.is_file():
                clips = clips or Clips(place, FIXED)
                began = time.monotonic()
                if name == "all":
                    pairs = with_all(clips, seed)
                else:
                    pairs = curve(clips, {**RULES, **VARIANTS}[name], seed, most)
                write_json(path, pairs)
                print(f"{path.stem}: {time.monotonic() - began:.0f} s, {pairs[-1]}", flush=True)
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


def table(
    found: dict[str, list[dict[int, float]]], names: Sequence[str], shares: Sequence[float]
) -> list[str]:
    """A table of rules; the paired difference from random choice beside the accuracies."""
    wholes = [next(iter(one.values())) for one in found["all"]]
    heads = ["chosen by", *(f"{number} labels" for number in SHOWN)]
    heads += [f"minus random, {SHOWN[1]}", *(f"labels for {100 * s:.0f} %" for s in shares)]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name in names:
        curves = found[name]
        cells = [interval([one[number] for one in curves]) for number in SHOWN]
        pairs = zip(curves, found["random"], strict=True)
        differences = [one[SHOWN[1]] - other[SHOWN[1]] for one, other in pairs]
        cells.append("" if name == "random" else interval(differences))
        cells += [needed(curves, wholes, share) for share in shares]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def page(options: argparse.Namespace) -> list[str]:
    """Lines of Markdown."""
    shown = " ".join(["python benchmarks/labels.py", *options.stores])
    if options.variants:
        shown += f" --variants {' '.join(options.variants)}"
    lines = [
        "# Labels needed",
        "",
        f"`{shown}`",
        "",
        "Audio-visual accuracy in percent of `cign_analytic` with fixed settings (those that a "
        f"model with few clips uses, ridge {FIXED_RIDGE:g}), which learned one clip of each class "
        f"and then rounds of clips up to multiples of {ROUND} labels. Mean of {NUM_STARTS} starts "
        "and 95 % interval of the mean (Student's t). Each start has its own first clips and tests "
        "its own fifth of the sources of the training and validation clips, so the intervals "
        "include the differences between folds; the differences from random choice are paired by "
        "start. Test clips were not read. Labels for a share: mean number of labels at which that "
        "share of the accuracy with all labels of the pool is first reached.",
    ]
    for name in options.stores:
        backbone = Store.open(options.folder / name).tokens(None).info["backbone"]
        lines += ["", f"## {name}", "", f"Backbone `{backbone}`."]
        lines += section(options, name)
    return [*lines, ""]


def section(options: argparse.Namespace, name: str) -> list[str]:
    """The tables of a store."""
    place, work = options.folder / name, options.work
    found = measured(place, list(RULES), options.most, work)
    whole = [value for one in found["all"] for value in one.values()]
    size = statistics.mean(number for one in found["all"] for number in one)
    lines = [f"With all labels, {size:.0f} on average: {interval(whole)}.", ""]
    lines += table(found, list(RULES), SHARES)
    if name in options.variants:
        found |= measured(place, list(VARIANTS), max(SHOWN), work)
        lines += ["", "Variants:", "", *table(found, list(VARIANTS), ())]
    return lines


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", help="names of stores")
    parser.add_argument("--folder", type=Path, default=Path("work/stores"), help="of the stores")
    parser.add_argument("--most", type=int, default=600, help="labels of the last round")
    parser.add_argument("--variants", nargs="+", default=[], help="stores to measure variants on")
    parser.add_argument("--work", type=Path, default=Path("work/labels"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    write_text(options.out, "\n".join(page(options)))
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
