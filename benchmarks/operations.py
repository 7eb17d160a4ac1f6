"""Merging and forgetting against learning at once, on folds by source of the real sets.

    CIGN_REAL=FOLDER python benchmarks/operations.py [--minutes 30]

writes ``benchmarks/results/operations.md``. `cign_analytic` with its recipe learns the training
clips of each of five folds of real24 and real24_clutter (`folds.py`; test clips are not read):

- merging: 2 and 4 models, of disjoint classes, or of all classes and disjoint clips, against one
  model that learned all clips;
- forgetting: the clips of a tenth of the sources, against a model that never learned them. A
  membership test compares the leverage of forgotten clips with that of the held-out clips.

Finished parts are kept in ``benchmarks/results/operations.json`` and not repeated: delete it after
a change of the method.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_data import Folds
from compare_stores import token_name
from folds import sources_of
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from cign.data.batches import ArraySource
from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.methods.capabilities import updatable
from cign.methods.sums import use_settings_of
from cign.networks.encoder import TokenShape
from cign.open_set.evidence import EvidenceReader
from cign.runs.build import build_method
from cign.runs.configuration import RunConfig
from cign.runs.training_data import token_source
from cign.saved_model.model import Model
from cign.training.scoring import score_clips
from cign.updating.edits import add_clips
from cign.updating.forgetting import forget_recorded
from cign.updating.learned_clips import ClipsToForget
from cign.updating.merging import merge_models, sums_of
from cign.updating.new_clips import NewClips
from cign.utils.files import read_json, write_json, write_text
from cign.vocabulary import UNIMODAL

OUT = Path(__file__).parent / "results" / "operations.md"
PARTS_FILE = OUT.with_suffix(".json")
SETS, BACKBONE, PARTS = ("real24", "real24_clutter"), "lite0+sfx", range(5)
NUMBERS = (2, 4)
NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Clips of a fold.

    Attributes:
        store: The clips.
        source: Reads their tokens.
        shape: Shape of the tokens.
        backbone: Name of the tokens.
        train: Indices of the training clips.
        test: Indices of the held-out clips.
    """

    store: Store
    source: ArraySource
    shape: TokenShape
    backbone: str
    train: IntArray
    test: IntArray

    @classmethod
    def open(cls, data: Folds, work: Path, real: Path, part: int) -> Fold:
        """Open a fold; its store is prepared if necessary."""
        data.prepare(work / "real_table", real, BACKBONE)
        folder = data.folder(work / "real_table", part, BACKBONE)
        backbone = str(token_name(folder, BACKBONE))
        store = data.view(Store.open(folder), part)
        source, shape = token_source(store, backbone)
        return cls(
            store=store,
            source=source,
            shape=shape,
            backbone=backbone,
            train=store.indices("train"),
            test=store.indices("test"),
        )

    def clips(self, learned: IntArray) -> NewClips:
        """Some of the clips, to be learned."""
        table = self.store.table
        return NewClips(
            clips=table.clips,
            hashes=self.store.content_hashes,
            list_hash="",
            order=table.class_names,
            source=self.source,
            learned=learned,
            validation=NONE,
            kept=NONE,
            notes=(),
        )

    def learned(self, indices: IntArray) -> Model:
        """A model that learned clips at once."""
        config = RunConfig.of(
            "cign_analytic", tasks=(), order=0, backbone=self.backbone, device="cpu"
        )
        method = build_method(config, self.shape, None, multi_label=False).eval()
        empty = Model(
            method=method,
            groups=(),
            regime="frozen",
            backbone=self.backbone,
            fingerprint="",
            spec=self.store.spec,
        )
        return add_clips(empty, self.clips(indices))[0]

    def scores(self, model: Model) -> Any:
        """Audio-visual probabilities of the held-out clips, classes by name, [n, C]."""
        found = score_clips(model.method, self.source, self.test)["audio_visual"]
        return np.asarray(found)[:, np.argsort(model.classes)]

    def accuracy(self, model: Model) -> float:
        """Accuracy on the held-out clips in percent."""
        names = np.sort(np.array(model.classes))
        truth = [self.store.table.clips[i].labels[0] for i in self.test]
        return float(100 * np.mean(names[self.scores(model).argmax(axis=1)] == truth))

    def compared(self, found: Model, wanted: Model) -> dict[str, float]:
        """How far a model is from another one, with its own settings and with the same ones."""
        result = {
            "accuracy": self.accuracy(found),
            "reference": self.accuracy(wanted),
            "same settings": float(settings_of(found) == settings_of(wanted)),
            "sums": apart(found, wanted),
        }
        use_settings_of(sums_of(wanted), sums_of(found))
        solving = updatable(wanted.method)
        assert solving is not None
        solving.solve()
        one, other = self.scores(found), self.scores(wanted)
        result["probabilities"] = float(np.abs(one - other).max())
        result["changed"] = float(100 * np.mean(one.argmax(axis=1) != other.argmax(axis=1)))
        return result


def settings_of(model: Model) -> list[Any]:
    """The settings of both modalities."""
    sums = sums_of(model)
    return [sums.of(modality).setting for modality in UNIMODAL]


def apart(found: Model, wanted: Model) -> float:
    """Largest difference of the sums, relative to the largest entry of each matrix."""
    columns = [wanted.classes.index(name) for name in found.classes]
    worst = 0.0
    mine, theirs = sums_of(found), sums_of(wanted)
    for modality in UNIMODAL:
        for one, other in zip(
            mine.of(modality).statistics, theirs.of(modality).statistics, strict=True
        ):
            for name, values in other.named_buffers():
                own = getattr(one, name)
                if name.endswith("cross"):
                    values = values[:, columns]
                else:
                    own, values = torch.tril(own), torch.tril(values)
                worst = max(worst, float((own - values).abs().max() / values.abs().max()))
    return worst


def merging(fold: Fold, number: int, *, disjoint: bool, seed: int) -> dict[str, float]:
    """Merge models of disjoint classes, or of all classes, and compare with learning at once."""
    rng = np.random.default_rng(seed)
    labels = np.array([fold.store.table.clips[i].labels[0] for i in fold.train])
    if disjoint:
        names = rng.permutation(sorted(set(labels)))
        parts = [fold.train[np.isin(labels, some)] for some in np.array_split(names, number)]
    else:
        group = np.empty(len(labels), dtype=np.int64)
        for name in sorted(set(labels)):
            at = rng.permutation(np.flatnonzero(labels == name))
            group[at] = np.arange(len(at)) % number
        parts = [fold.train[group == one] for one in range(number)]
    models = [fold.learned(part) for part in parts]
    begun = time.process_time()
    merged, _ = merge_models(models, "select")
    seconds = time.process_time() - begun
    return fold.compared(merged, fold.learned(fold.train)) | {"seconds": seconds}


def forgetting(fold: Fold, seed: int) -> dict[str, float]:
    """Forget the clips of a tenth of the sources, and compare with never having learned them."""
    clips, rng = fold.store.table.clips, np.random.default_rng(seed)
    sources = sorted({source for i in fold.train for source in sources_of(clips[i])})
    some = set(rng.choice(sources, len(sources) // 10, replace=False).tolist())
    gone = np.array([i for i in fold.train if some.intersection(sources_of(clips[i]))])
    model = fold.learned(fold.train)
    records = sums_of(model).records
    hashes = fold.store.content_hashes
    at = {hashes[i].tobytes(): int(i) for i in gone}
    rows = records.rows_of(hashes[gone])
    indices = np.array([at[records.hashes[row].numpy().tobytes()] for row in rows])
    chosen = ClipsToForget(rows=rows, indices=indices, validation=NONE, num_left_out=0)
    before = membership(fold, model, gone)
    begun = time.process_time()
    left, _ = forget_recorded(model, chosen, fold.source)
    seconds = time.process_time() - begun
    never = fold.learned(np.setdiff1d(fold.train, gone))
    return fold.compared(left, never) | {
        "learned all": fold.accuracy(model),
        "membership before": before,
        "membership after": membership(fold, left, gone),
        "membership never": membership(fold, never, gone),
        "seconds": seconds,
    }


def membership(fold: Fold, model: Model, members: IntArray) -> float:
    """Area under the curve of a test by leverage: 1/2 if members look like unseen clips."""
    indices = np.concatenate([members, fold.test])
    reader, parts = EvidenceReader(model.method), []
    with torch.no_grad():
        for some in np.array_split(indices, max(1, len(indices) // 64)):
            leverage = reader.read(*fold.source.read(some)).leverage
            parts.append(sum(leverage[m].double().log().numpy() for m in UNIMODAL))
    is_member = np.arange(len(indices)) < len(members)
    return float(roc_auc_score(is_member, -np.concatenate(parts)))


def parts_of(name: str) -> list[tuple[str, Any]]:
    """The jobs of a fold: their names and functions."""
    jobs: list[tuple[str, Any]] = [("forgetting", lambda fold, seed: forgetting(fold, seed))]
    for disjoint in (True, False):
        for number in NUMBERS:
            what = "classes" if disjoint else "clips"

            def job(fold: Fold, seed: int, number: int = number, disjoint: bool = disjoint) -> Any:
                return merging(fold, number, disjoint=disjoint, seed=seed)

            jobs.append((f"merging {number} models of disjoint {what}", job))
    return jobs


def interval(values: list[float]) -> str:
    """Mean and 95 % interval by Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def page(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """The page with all tables."""
    lines = [
        "# Merging and forgetting against learning at once",
        "",
        "`CIGN_REAL=FOLDER python benchmarks/operations.py`",
        "",
        f"`cign_analytic` with its recipe (`precision: bfloat16`), `{BACKBONE}`, five folds by",
        "source over training and validation clips; test clips are not read. *sums*: largest",
        "difference, relative to the largest entry. *probabilities*, *changed*: largest difference",
        "of an audio-visual probability, and share of first classes changed in percent, when both",
        "models use the same settings. *settings*: folds in which both selected the same settings.",
        "*accuracy* and *reference*: each model with the settings that it selected (`--settings",
        "select` for the merge), held-out clips, audio-visual, percent, 95 % interval over folds.",
        "CPU seconds are of the operation without decoding and encoding.",
        "",
        "| set | operation | folds | sums | probabilities | changed | settings | accuracy "
        "| reference | difference | CPU seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, jobs in results.items():
        for job, runs in jobs.items():
            column = {key: [run[key] for run in runs] for key in runs[0]}
            difference = [
                a - b for a, b in zip(column["accuracy"], column["reference"], strict=True)
            ]
            lines.append(
                f"| {name} | {job} | {len(runs)} | {max(column['sums']):.1e} "
                f"| {max(column['probabilities']):.1e} | {max(column['changed']):.1f} "
                f"| {int(sum(column['same settings']))} of {len(runs)} "
                f"| {np.mean(column['accuracy']):.1f} | {np.mean(column['reference']):.1f} "
                f"| {interval(difference)} | {np.mean(column['seconds']):.1f} |"
            )
    lines += [
        "",
        "## Membership of forgotten clips",
        "",
        "Area under the curve, in percent, of a test that tells forgotten clips from held-out ones",
        "by their leverage in both modalities; 50 is chance. *learned*: before forgetting;",
        "*never*: in a model that never learned them. Clips of a tenth of the sources are",
        "forgotten, so that neither kind shares a source with the clips that are left.",
        "",
        "| set | folds | learned | forgotten | never |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, jobs in results.items():
        runs = jobs.get("forgetting", [])
        if runs:
            columns = [
                interval([100 * run[f"membership {when}"] for run in runs])
                for when in ("before", "after", "never")
            ]
            lines.append(f"| {name} | {len(runs)} | {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the missing parts, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=os.environ.get("CIGN_REAL"))
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--minutes", type=float, help="begin no part later than this")
    options = parser.parse_args()
    if options.real is None:
        raise InputError("missing-option", "name the folder of the built sets in CIGN_REAL")
    begun, results = time.monotonic(), {}
    found: dict[str, Any] = read_json(PARTS_FILE, "parts") if PARTS_FILE.is_file() else {}
    for part in PARTS:
        for name in SETS:
            fold = Fold.open(Folds(name), options.work, Path(options.real), part)
            for job, function in parts_of(name):
                key = f"{name}, fold {part}, {job}"
                late = options.minutes and time.monotonic() - begun > 60 * options.minutes
                if key not in found and not late:
                    found[key] = function(fold, part)
                    write_json(PARTS_FILE, found)
                    print(f"{key}: {time.monotonic() - begun:.0f} s", flush=True)
                if key in found:
                    results.setdefault(name, {}).setdefault(job, []).append(found[key])
    write_text(OUT, page(results))


if __name__ == "__main__":
    main()
