"""False alarms with and without background clips, at a fixed acceptance of known clips.

    python benchmarks/background.py work/stores/real24

writes ``benchmarks/results/background.md`` from the training and validation clips of the store and
from synthetic datasets 1 and 1001-1004; test clips of the store are not read. Both parts train
`cign_analytic` without and with background and count the background clips whose unknown score is
below the threshold that 95 % of the known test clips are below.

- real: in five draws, three classes of the store are background, three others are kinds of clips
  that are never learned, and the rest are known. Draw k tests on fold k by source (`folds.py`).
- synthetic: background of three kinds. Clips of six unseen classes, of which four are learned as
  background and two are not; noise; silence with pictures of backdrops. The classes alone and all
  three kinds are learned as background, and false alarms are counted on every kind.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folds import NUM_FOLDS, folds
from numpy.typing import NDArray

from cign.backbones.pretrain.data import middle_frames, render_set
from cign.backbones.registry import load_backbone
from cign.bench.intervals import student_t_interval
from cign.data.formats.label_texts import NONE
from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.learner import Learner
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import KNOWN_SHARE, read_evidence
from cign.runs.training_data import token_source
from cign.synthetic import SynthConfig, plan
from cign.synthetic.backdrop import expose, render_backdrop
from cign.synthetic.classes import draw_settings
from cign.synthetic.draws import Draws
from cign.utils.files import write_text
from cign.utils.progress import Silent

KEEP = Path("work/background")
OUT = Path(__file__).parent / "results" / "background.md"
METHOD, MODALITY = "cign_analytic", "audio_visual"
WORLDS = (1, 1001, 1002, 1003, 1004)
NUM_KINDS = 3  # classes that are learned as background, and as many that are not
NUM_CLASSES, NUM_UNSEEN, NUM_LEARNED = 12, 6, 4
NUM_TRAIN, NUM_VAL, NUM_TEST = 20, 8, 20
NUM_BACKGROUND = 40  # training clips of each kind, and as many for the test
KINDS = ("classes", "noise", "backdrops")
_NOISE, _BACKDROPS = 0xBAC0, 0xBAC1

Numbers = dict[str, float]
Indices = NDArray[np.int64]


def measure(store: Store, known: Indices, groups: Mapping[str, Indices]) -> Numbers:
    """Learn a store, and measure accuracy and false alarms, in percent.

    Args:
        store: Its training clips are learned; validation clips standardise the unknown score.
        known: Test clips of known classes.
        groups: Background clips for the test, by the name of their group.
    """
    model = Learner(METHOD, backbone=store.backbones[0]).learn(store, progress=False).model
    assert model is not None
    reader, source = EvidenceReader(model.method), token_source(store, store.backbones[0])[0]

    def scores(rows: Indices) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        evidence = read_evidence(reader, source, rows)
        values = np.concatenate([model.unknown.values(one, MODALITY) for one in evidence])
        chosen = [one.probabilities[MODALITY].argmax(dim=1).numpy() for one in evidence]
        return values, np.concatenate(chosen)

    values, chosen = scores(known)
    threshold = np.quantile(values, KNOWN_SHARE)
    right = [
        model.classes[c] in store.table.clips[i].labels for c, i in zip(chosen, known, strict=True)
    ]
    return {"accuracy": 100.0 * float(np.mean(right))} | {
        name: 100.0 * float(np.mean(scores(rows)[0] <= threshold)) for name, rows in groups.items()
    }


# ------------------------------------------------------------------------ real


def real_draw(store: Store, number: int) -> dict[str, Numbers]:
    """One draw of kinds of background, without and with background."""
    clips, fold = store.table.clips, folds(store.table.clips)[number]
    order = np.random.default_rng(number).permutation(len(store.class_names))
    names = [store.class_names[c] for c in order]
    learned, unseen = set(names[:NUM_KINDS]), set(names[NUM_KINDS : 2 * NUM_KINDS])

    def rows(indices: Sequence[int], some: set[str], *, within: bool = True) -> Indices:
        found = [i for i in indices if (not some.isdisjoint(clips[i].labels)) == within]
        return np.array(found, dtype=np.int64)

    groups = {
        "same kinds": rows(fold.test, learned),
        "unseen kinds": rows((*fold.train, *fold.test), unseen),
    }
    known = rows(fold.test, learned | unseen, within=False)
    background = set(rows(fold.train, learned).tolist())
    used = set(rows(fold.train, learned | unseen, within=False).tolist())
    found = {}
    for name, chosen in (("without", set()), ("with", background)):
        part = [
            dataclasses.replace(clip, labels=(), split="train")
            if i in chosen
            else clip
            if i in used
            else dataclasses.replace(clip, split="test" if i in known else "unknown")
            for i, clip in enumerate(clips)
        ]
        classes = tuple(c for c in store.class_names if c not in learned | unseen)
        table = dataclasses.replace(store.table, clips=tuple(part), class_names=classes)
        found[name] = measure(dataclasses.replace(store, table=table), known, groups)
    return found


# ------------------------------------------------------------------- synthetic


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Clips in memory: frames [N, F, S, S, 3] and audio [N, L]."""

    frames: NDArray[np.uint8]
    audio: NDArray[np.int16]


def noise(world: int, number: int, like: Rendered) -> Rendered:
    """White noise of random loudness, with frames of random pixels."""
    draw = np.random.default_rng([_NOISE, world])
    shape = (number, *like.frames.shape[1:])
    loudness = draw.uniform(200, 8000, (number, 1))
    audio = loudness * draw.normal(size=(number, like.audio.shape[1]))
    return Rendered(
        frames=draw.integers(0, 256, shape, dtype=np.uint8),
        audio=audio.clip(-32768, 32767).astype(np.int16),
    )


def backdrops(world: int, number: int, like: Rendered) -> Rendered:
    """Near silence, with the surroundings of the dataset's clips and no object of a class."""
    settings, frames, draw = draw_settings(world), [], np.random.default_rng([_BACKDROPS, world])
    num_frames, size_px = like.frames.shape[1:3]
    for clip in range(number):
        draws = Draws(_BACKDROPS, world, clip)
        frames.append(
            expose(render_backdrop(settings, draws, num_frames, size_px), settings, draws)
        )
    audio = draw.normal(scale=3.0, size=(number, like.audio.shape[1]))
    return Rendered(frames=np.stack(frames), audio=audio.astype(np.int16))


@torch.inference_mode()
def tokens(clips: Rendered) -> dict[str, NDArray[np.float16]]:
    """Tokens of the small encoders."""
    backbone, found = load_backbone("small").eval(), {"audio": [], "visual": []}
    for begin in range(0, len(clips.audio), 32):
        rows = slice(begin, begin + 32)
        found["audio"].append(backbone.audio_tokens(torch.from_numpy(clips.audio[rows])).half())
        found["visual"].append(backbone.visual_tokens(torch.from_numpy(clips.frames[rows])).half())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def world_draw(world: int) -> dict[str, Numbers]:
    """One synthetic dataset, without background and with two choices of it."""
    every = NUM_CLASSES + NUM_UNSEEN
    config = SynthConfig(
        world=world, num_classes=every, num_train=NUM_TRAIN, num_val=NUM_VAL, num_test=NUM_TEST
    )
    clips = [
        clip for clip in plan(config) if clip.class_ids[0] < NUM_CLASSES or clip.split != "val"
    ]
    num_frames = load_backbone("small").spec.num_frames
    shown = render_set(clips, every, middle_frames(num_frames), num_workers=1, progress=Silent())
    like = Rendered(frames=shown.frames, audio=shown.audio)
    of_kinds = {
        "noise": noise(world, 2 * NUM_BACKGROUND, like),
        "backdrops": backdrops(world, 2 * NUM_BACKGROUND, like),
    }
    parts = [tokens(like), *(tokens(one) for one in of_kinds.values())]
    arrays = {kind: np.concatenate([part[kind] for part in parts]) for kind in ("audio", "visual")}
    labels, splits, kinds = [], [], []
    for clip in clips:
        c = clip.class_ids[0]
        labels.append(f"class {c}")
        splits.append(clip.split)
        is_learned = c < NUM_CLASSES + NUM_LEARNED
        kinds.append("" if c < NUM_CLASSES else "classes" if is_learned else "unseen classes")
    for kind in of_kinds:
        labels += [NONE] * 2 * NUM_BACKGROUND
        splits += ["train"] * NUM_BACKGROUND + ["test"] * NUM_BACKGROUND
        kinds += [kind] * 2 * NUM_BACKGROUND
    return learned_with_each(arrays, labels, splits, kinds)


def learned_with_each(
    arrays: Mapping[str, NDArray[Any]], labels: list[str], splits: list[str], kinds: list[str]
) -> dict[str, Numbers]:
    """The numbers without background, with that of classes, and with that of all kinds."""
    kind_of, split_of = np.array(kinds), np.array(splits)
    # As many background clips of classes as of the other kinds.
    of_classes = np.flatnonzero((kind_of == "classes") & (split_of == "train"))
    spared = np.setdiff1d(of_classes, of_classes[:: len(of_classes) // NUM_BACKGROUND])
    found = {}
    for name, used in (("none", ()), ("classes", KINDS[:1]), ("all three", KINDS)):
        given, where = list(labels), list(splits)
        for row, kind in enumerate(kinds):
            if kind and split_of[row] == "train" and (kind not in used or row in spared):
                given[row], where[row] = "left out", "unknown"
            elif kind:
                given[row] = NONE
        features = {**arrays, "labels": given, "split": where}
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "store"
            prepare_features(features, place, encoders="small", progress=False)
            store = Store.open(place)
            groups = {
                kind: np.flatnonzero((kind_of == kind) & (split_of == "test"))
                for kind in (*KINDS, "unseen classes")
            }
            known = np.flatnonzero((kind_of == "") & (split_of == "test"))
            found[name] = measure(store, known, groups)
    return found


# ------------------------------------------------------------------------ page


def shown(values: Sequence[float]) -> str:
    """Mean and Student's t interval over draws."""
    array = np.array(values)[:, None]
    low, high = student_t_interval(array)
    return f"{array.mean():.1f} ({low[0]:.1f} to {high[0]:.1f})"


def table(draws: Sequence[dict[str, Numbers]], first: str, base: str) -> list[str]:
    """A row for each background, a column for each number, and the differences from the base."""
    columns = list(draws[0][base])
    lines = [f"| {first} | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for name in draws[0]:
        cells = [shown([draw[name][column] for draw in draws]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name in draws[0]:
        if name != base:
            cells = [
                shown([draw[name][column] - draw[base][column] for draw in draws])
                for column in columns
            ]
            lines.append(f"| {name}, difference | {' | '.join(cells)} |")
    return lines


def kept(folder: Path, name: str, draw: Callable[[], dict[str, Numbers]]) -> dict[str, Numbers]:
    """The numbers of a draw, which are measured only once."""
    place = folder / f"{name}.json"
    if not place.is_file():
        write_text(place, json.dumps(draw(), indent=1))
    found: dict[str, Numbers] = json.loads(place.read_text(encoding="utf-8"))
    return found


def page(place: Path, parts: Sequence[str], keep: Path) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "# Background",
        "",
        f"`python benchmarks/background.py {place.name}`",
        "",
        f"Method `{METHOD}`, one task, settings selected. Accuracy of the known test clips, and "
        "false alarms: the share of background clips below the threshold that "
        f"{100 * KNOWN_SHARE:.0f} % of the known test clips are below; audio-visual, percent. "
        "Means of five draws with 95 % intervals (Student's t over draws); differences are paired.",
    ]
    if "real" in parts:
        store = Store.open(place)
        draws = [
            kept(keep, f"{place.name}-{number}", lambda n=number: real_draw(store, n))
            for number in range(NUM_FOLDS)
        ]
        lines += [
            "",
            "## Real recordings",
            "",
            f"{place.name}, tokens of `{store.backbones[0]}`, training and validation clips. Each "
            f"draw: {NUM_KINDS} classes are background, {NUM_KINDS} others unseen kinds, "
            f"{len(store.class_names) - 2 * NUM_KINDS} are known; tested on one of {NUM_FOLDS} "
            "folds by source, unseen kinds on all of their clips.",
            "",
            *table(draws, "background", "without"),
        ]
    if "synthetic" in parts:
        draws = [kept(keep, f"world{world}", lambda w=world: world_draw(w)) for world in WORLDS]
        lines += [
            "",
            "## Synthetic clips",
            "",
            f"Datasets {', '.join(map(str, WORLDS))}: {NUM_CLASSES} classes of {NUM_TRAIN} "
            f"training and {NUM_TEST} test clips, {NUM_BACKGROUND} background clips of each kind. "
            f"`classes`: clips of {NUM_LEARNED} classes that are not known; `unseen classes`: of "
            f"{NUM_UNSEEN - NUM_LEARNED} further ones, never learned. `noise`: white noise and "
            "random pixels. `backdrops`: near silence, and pictures without an object of a class.",
            "",
            *table(draws, "background", "none"),
        ]
    return [*lines, ""]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="store of the real recordings")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["real", "synthetic"])
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder of finished draws")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    write_text(options.out, "\n".join(page(options.store, options.parts, options.keep)))
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
