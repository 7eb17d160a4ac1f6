"""Leave-one-out estimates: their exactness, and how well they predict accuracy on other recordings.

    python benchmarks/loo_estimates.py work/stores/real24 work/stores/real24_clutter

writes ``benchmarks/results/loo_estimates.md`` for the stores, from their training and validation
clips; test clips are not read. Two parts, ``--parts exact,folds``:

- exact: the largest difference between leave-one-out scores and those of methods trained again
  without each of 50 sources, with settings fixed, in float64;
- folds: for five folds by source (`folds.py`), the estimate from the clips of the other folds
  beside the accuracy on the fold. ``--recipe FILE`` fixes the settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folds import NUM_FOLDS, folds
from numpy.typing import NDArray
from torch import Tensor

from cign.data.batches import ArraySource, cut
from cign.data.store import Store
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.learner import Learner
from cign.methods import method_class
from cign.methods.base import Batch, Setup
from cign.methods.closed_form import ClosedForm
from cign.methods.left_out import ClipsToLeaveOut
from cign.methods.loo_estimate import predictions_left_out
from cign.methods.selection import balance, pooled_scores
from cign.runs.training_data import token_source
from cign.training.feed import Feed
from cign.utils.files import write_text
from cign.utils.options import configure, read_recipe
from cign.vocabulary import MODALITIES, UNIMODAL

OUT = Path(__file__).parent / "results" / "loo_estimates.md"
NUM_SOURCES = 50
FIXED = {
    "contrast": [0.0],
    "saliency": [0.0],
    "token_share": [0.2],
    "ridge": [20.0],
    "assignment_temperature": [0.3],
    "temperature": [0.1],
    "count_power": [0.5],
    "precision": "float64",
}


class Learning:
    """Learns any of a store's clips by a closed-form method with fixed settings, in float64."""

    def __init__(self, store: Store, width: int) -> None:
        labels = [clip.labels for clip in store.table.clips]
        sources = [clip.source for clip in store.table.clips]
        self.clips = TaskClips.of(labels, TaskSequence((store.class_names,)), sources)
        self.source, shape = token_source(store, str(store.tokens(None).info["backbone"]))
        multi_label = any(len(names) > 1 for names in labels)
        self.setup = Setup(shape=shape, multi_label=multi_label)
        self.width = width

    def batches(self, indices: IntArray) -> Iterator[Batch]:
        """Batches of clips with their labels."""
        feed = Feed(clips=self.clips, source=self.source, device="cpu")
        return feed.batches(cut(indices, 128), 0)

    def learned(self, indices: IntArray) -> ClosedForm:
        """A method that learned these clips."""
        cls = method_class("cign_analytic")
        method = cls(self.setup, configure(cls.Options, {**FIXED, "width": self.width}, "options"))
        assert isinstance(method, ClosedForm)
        method.grow(len(self.clips.tasks.class_order))
        with torch.no_grad():
            for batch in self.batches(indices):
                method.absorb(batch)
        return method


def predicted(method: ClosedForm, source: ArraySource, indices: IntArray) -> dict[str, Tensor]:
    """Probabilities of clips by a trained method, in float64 throughout."""
    logits = {}
    for modality, tokens in zip(UNIMODAL, source.read(indices), strict=True):
        one, x = method.of(modality), tokens.double()
        setting = one.setting
        gram = method.gram(modality).tril()
        gram = gram + gram.tril(-1).T + setting.ridge * torch.eye(len(gram)).double()
        weights = torch.linalg.solve(gram, method.cross(modality))
        weights = weights * balance(method.class_clips, setting.count_power)
        scores = one.projection(setting.view)(setting.view.vectors(x)) @ weights
        found = pooled_scores(scores, setting.view.shares(x), setting.assignment_temperature)
        logits[modality] = (found - 0.5 * method.setup.multi_label) / setting.temperature
    logits["audio_visual"] = logits["audio"] + logits["visual"]
    if method.setup.multi_label:
        return {name: values.sigmoid() for name, values in logits.items()}
    return {name: values.softmax(dim=1) for name, values in logits.items()}


def largest_difference(store: Store, *, num_sources: int, width: int) -> tuple[float, float, int]:
    """The largest difference of probabilities between leaving out and training again.

    Args:
        store: A store; its training clips are learned.
        num_sources: Number of sources to train again without, drawn at random.
        width: Random features.

    Returns:
        The difference; for comparison, the largest difference that leaving out makes; and the
        number of clips that were compared.
    """
    learning, train = Learning(store, width), store.indices("train")
    sources = [learning.clips.sources[i] for i in train]
    clips = ClipsToLeaveOut(indices=train, sources=sources, batches=learning.batches)
    method = learning.learned(train)
    found = predictions_left_out(method, clips)
    names = sorted({name for of_clip in sources for name in of_clip})
    drawn = np.random.default_rng(0).permutation(len(names))[:num_sources]
    largest, effect, compared = 0.0, 0.0, 0
    for name in sorted(names[n] for n in drawn):
        # A clip of several sources is predicted without any clip of all of them.
        for own in sorted({of_clip for of_clip in sources if name in of_clip})[:1]:
            gone = np.array([bool(set(own) & set(of_clip)) for of_clip in sources])
            scored = np.array([of_clip == own for of_clip in sources])
            wanted = predicted(learning.learned(train[~gone]), learning.source, train[scored])
            usual = predicted(method, learning.source, train[scored])
            compared += int(scored.sum())
            for modality in MODALITIES:
                mine = found.probabilities[modality][torch.from_numpy(scored)]
                largest = max(largest, float((mine - wanted[modality]).abs().max()))
                effect = max(effect, float((mine - usual[modality]).abs().max()))
    return largest, effect, compared


def with_splits(store: Store, train: set[int], test: set[int]) -> Store:
    """A store with these clips in the splits train and test, and all others in neither."""
    clips = [
        dataclasses.replace(
            clip, split="train" if i in train else "test" if i in test else "unknown"
        )
        for i, clip in enumerate(store.table.clips)
    ]
    return dataclasses.replace(store, table=dataclasses.replace(store.table, clips=clips))


def of_folds(store: Store, method: str, options: dict[str, Any] | None) -> dict[str, Any]:
    """Estimates and accuracies in percent, [folds] by modality, and [folds, C] by class."""
    pairs: dict[str, list[Any]] = {name: [] for name in (*MODALITIES, "classes")}
    for fold in folds(store.table.clips):
        part = with_splits(store, set(fold.train), set(fold.test))
        learner = Learner(method, options=options).learn(part, tasks=1, progress=False)
        estimate, accuracy = learner.evaluate(part, loo=True), learner.evaluate(part)
        for modality in MODALITIES:
            found = [one["modalities"][modality]["last"] for one in (estimate, accuracy)]
            pairs[modality].append(found)
        recalls = [{c["name"]: c["recall"] for c in one["classes"]} for one in (estimate, accuracy)]
        pairs["classes"].append([[one[name] for name in store.class_names] for one in recalls])
    return {name: np.array(values, dtype=np.float64) for name, values in pairs.items()}


def class_correlation(classes_FKC: NDArray[np.float64]) -> float:
    """Pearson correlation over classes of the means over folds of estimate and accuracy."""
    estimate_C, accuracy_C = np.nanmean(classes_FKC, axis=0)
    return float(np.corrcoef(estimate_C, accuracy_C)[0, 1])


def page(stores: list[Path], options: argparse.Namespace) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "# Leave-one-out estimates",
        "",
        f"`python benchmarks/loo_estimates.py {_shown(options)}`",
    ]
    opened = {place.name: Store.open(place) for place in stores}
    if "exact" in options.parts:
        lines += [
            "",
            f"Largest difference of a probability between leaving a source out and training again "
            f"without it, {NUM_SOURCES} sources, settings fixed, float64, {options.width} random "
            "features:",
            "",
            "| store | clips compared | largest difference | largest effect of leaving out |",
            "| --- | ---: | ---: | ---: |",
        ]
        for name, store in opened.items():
            found, effect, number = largest_difference(
                store, num_sources=NUM_SOURCES, width=options.width
            )
            lines.append(f"| {name} | {number} | {found:.1e} | {effect:.3f} |")
    if "folds" in options.parts:
        recipe = None if options.recipe is None else read_recipe(options.recipe)
        settings = "selected" if recipe is None else "fixed"
        lines += [
            "",
            f"Mean of {NUM_FOLDS} folds by source, method `{options.method}`, settings {settings}, "
            "percent: the estimate from the clips of the other folds, and the accuracy on the fold "
            "(mean average precision if clips have several labels). Range: the extremes over folds "
            "of accuracy minus estimate. r: correlation over classes of audio-visual recall.",
            "",
            "| store | modality | estimate | accuracy | difference | range | r | seconds |",
            "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: |",
        ]
        for name, store in opened.items():
            began = time.monotonic()
            pairs = of_folds(store, options.method, None if recipe is None else recipe.options)
            seconds = time.monotonic() - began
            for modality in MODALITIES:
                estimate, accuracy = pairs[modality].mean(axis=0)
                gaps = pairs[modality][:, 1] - pairs[modality][:, 0]
                last = ("", "")
                if modality == "audio_visual":
                    last = (f"{class_correlation(pairs['classes']):.2f}", f"{seconds:.0f}")
                lines.append(
                    f"| {name} | {modality.replace('_', '-')} | {estimate:.1f} | {accuracy:.1f} | "
                    f"{accuracy - estimate:+.1f} | {gaps.min():+.1f} to {gaps.max():+.1f} | "
                    f"{last[0]} | {last[1]} |"
                )
    return [*lines, ""]


def _shown(options: argparse.Namespace) -> str:
    parts = [*(place.name for place in options.stores), "--parts", ",".join(options.parts)]
    if options.recipe is not None:
        parts += ["--recipe", options.recipe.name]
    if "exact" in options.parts:
        parts += ["--width", str(options.width)]
    return " ".join(parts)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["exact", "folds"])
    parser.add_argument("--method", default="cign_analytic")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--width", type=int, default=300, help="of the part exact")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    write_text(options.out, "\n".join(page(options.stores, options)))
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
