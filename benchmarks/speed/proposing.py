"""Time and memory of `cign next` on a store of 100,000 clips, and what its first pass changes.

    python benchmarks/speed/proposing.py work/stores/real24

writes ``benchmarks/results/next.md``. The tokens of 10,000 clips are made: each is a random mixture
of the tokens of two clips of the store's training and validation splits, plus noise; the model
learned five other clips of each class. The large store has each of them ten times, 5.7 GB in
``--work``, which are removed at the end unless ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from part import ROOT, machine

from cign.data.arrays import RowWriter, create_array
from cign.data.intact import LIST, TOKEN_FILES, checksum, write_checksums
from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.data.tokens import tokens_folder
from cign.labelling.proposing import FIRST_SHARE
from cign.learner import Learner
from cign.utils.code_version import PACKAGE, code_version, described
from cign.utils.files import write_json, write_text

OUT = ROOT / "benchmarks" / "results" / "next.md"
NUMBER = 100
# The settings that cost the most, without the time of their selection.
OPTIONS = {
    "normalisation": ["layer"],
    "contrast": [0.5],
    "saliency": [2.0],
    "token_share": [0.2],
    "ridge": [20.0],
    "assignment_temperature": [0.3],
    "temperature": [0.1],
    "count_power": [0.5],
}
SHOTS = 5
MOST_SECONDS, MOST_MB, LEAST_AGREEING = 60.0, 2000.0, 90
COPIES = 10
NOISE = 0.5  # in standard deviations of each feature
BATCH = 1000


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds, seconds of processors, peak resident memory in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def base_clips(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """Features of the clips to learn and of the clips to mix."""
    cache, seen, learned, mixed = store.tokens(), dict[str, int](), [], []
    for index, clip in enumerate(store.table.clips):
        if clip.split in ("train", "val"):
            number = seen[clip.labels[0]] = seen.get(clip.labels[0], 0) + 1
            (learned if number <= SHOTS else mixed).append(index)

    def of(indices: list[int]) -> dict[str, Any]:
        return {
            "audio": cache.audio(np.array(indices)),
            "visual": cache.visual(np.array(indices)),
            "labels": np.array([store.table.clips[i].labels[0] for i in indices]),
            "split": np.array(["train"] * len(indices)),
        }

    return of(learned), of(mixed)


def make_features(folder: Path, base: dict[str, Any], num_clips: int) -> Path:
    """Write mixtures of clips as a folder of features."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    first, second = rng.integers(0, len(base["labels"]), (2, num_clips))
    share = rng.uniform(0.5, 1.0, num_clips).astype(np.float32)
    for kind in ("audio", "visual"):
        tokens = base[kind].astype(np.float32)
        # Drawing new noise for every clip would take longer than all of the rest.
        shape = (2 * BATCH, *tokens.shape[1:])
        noise = NOISE * tokens.std(axis=(0, 1)) * rng.standard_normal(shape, np.float32)
        create_array(folder / f"{kind}.npy", (num_clips, *tokens.shape[1:]), "float16")
        with RowWriter(folder / f"{kind}.npy") as writer:
            for begin in range(0, num_clips, BATCH):
                some = slice(begin, begin + BATCH)
                part = share[some, None, None]
                values = part * tokens[first[some]] + (1 - part) * tokens[second[some]]
                values += noise[rng.integers(0, len(noise), len(values))]
                writer.write(begin, values.astype(np.float16))
    rows = ["id,labels,split"]
    rows += [f"made/{n:06d},{base['labels'][i]},train" for n, i in enumerate(first)]
    write_text(folder / "clips.csv", "\n".join(rows) + "\n")
    return folder


def model_and_clips(options: argparse.Namespace) -> tuple[Path, Store, int]:
    """The model, the store of different clips, and the number of clips they are mixtures of."""
    learned, mixed = base_clips(Store.open(options.store))
    place = options.work / "model"
    if not place.exists():
        prepare_features(learned, options.work / "learned", encoders="lite0+sfx", progress=False)
        learner = Learner("cign_analytic", options=OPTIONS)
        learner.learn(options.work / "learned", progress=False).save(place)
    small = options.work / "small"
    if not (small / "store.json").is_file():
        made = make_features(options.work / "made", mixed, options.clips // COPIES)
        prepare_features(made, small, encoders="lite0+sfx", progress=False)
        shutil.rmtree(made)
    return place, Store.open(small), len(mixed["labels"])


def repeated(store: Store, folder: Path) -> Store:
    """A store with every clip of another one `COPIES` times, each with its own tokens on disk."""
    if (folder / "store.json").is_file():
        return Store.open(folder)
    tokens = tokens_folder(store.folder, store.backbones[0])
    place = folder / tokens.relative_to(store.folder)
    place.mkdir(parents=True, exist_ok=True)
    num_rows = int(store.info["num_rows"])
    for name in TOKEN_FILES:
        array = np.load(tokens / name, mmap_mode="r", allow_pickle=False)
        create_array(place / name, (COPIES * num_rows, *array.shape[1:]), "float16")
        with RowWriter(place / name) as writer:
            for begin in range(0, COPIES * num_rows, BATCH):
                at = begin % num_rows
                writer.write(begin, np.ascontiguousarray(array[at : at + BATCH]))
    shutil.copy(tokens / "tokens.json", place)
    write_checksums(place)
    table = pq.read_table(store.folder / LIST)
    parts = []
    for copy in range(COPIES):
        part = table.to_pydict()
        part["id"] = [f"{copy}/{name}" for name in part["id"]]
        part["row"] = [row + copy * num_rows for row in part["row"]]
        parts.append(pa.table(part, schema=table.schema))
    pq.write_table(pa.concat_tables(parts), folder / LIST)
    info = {**store.info, "num_rows": COPIES * num_rows}
    info["checksums"] = {LIST: checksum(folder / LIST)}
    write_json(folder / "store.json", info)
    return Store.open(folder)


def command(*words: object) -> tuple[dict[str, Any], Cost]:
    """Run a command of `cign` in a process of its own; its JSON and its cost."""
    read_end, write_end = os.pipe()
    began = time.monotonic()
    arguments = [sys.executable, "-m", "cign", *map(str, words)]
    actions = [(os.POSIX_SPAWN_DUP2, write_end, 1), (os.POSIX_SPAWN_CLOSE, read_end)]
    process = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        text = stream.read()
    _, status, used = os.wait4(process, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    cost = Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)
    return json.loads(text), cost


def chosen(learner: Learner, store: Store, first_pass: int) -> tuple[set[str], float]:
    """The clips that are proposed, and seconds."""
    began = time.monotonic()
    found = learner.next(store, number=NUMBER, first_pass=first_pass, progress=False)
    return {one.clip.id for one in found.proposals}, time.monotonic() - began


def verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def page(options: argparse.Namespace) -> list[str]:
    """Measure; lines of Markdown."""
    place, small, num_mixed = model_and_clips(options)
    learner = Learner.load(place)
    large = repeated(small, options.work / "large")
    info = large.tokens().info
    whole, seconds = chosen(learner, small, 0)
    rows = [f"| none: tokens of all {small.num_clips:,} | {len(whole)} | {seconds:.1f} |"]
    agreeing = {}
    default = round(FIRST_SHARE * small.num_clips)
    for kept in sorted({small.num_clips // share for share in (10, 5, 4)} | {default}):
        found, seconds = chosen(learner, small, kept)
        agreeing[kept] = len(found & whole)
        rows.append(f"| {kept:,} | {agreeing[kept]} | {seconds:.1f} |")
    told, cost = command("next", place, large.folder, "--number", NUMBER, "--json")
    least = agreeing[default]
    return [
        "# Time and memory of `cign next`",
        "",
        f"`python benchmarks/speed/proposing.py {options.store.name}`, at "
        f"{described(code_version(PACKAGE, Path(__file__)))}.",
        "",
        f"{large.num_clips:,} clips of {info['num_audio_tokens']} x {info['audio_dim']} audio and "
        f"{info['num_visual_tokens']} x {info['visual_dim']} visual tokens in float16, made as "
        f"mixtures of two of {num_mixed} recorded clips plus noise of {NOISE:g} "
        f"standard deviations, each {COPIES} times; `cign_analytic` learned {SHOTS} other "
        "clips of each class, its settings fixed.",
        "",
        f"`cign next MODEL STORE --number {NUMBER} --json`, one process, from its start to its "
        "end, with the check of the store's checksums:",
        "",
        "| what | measured | bound | |",
        "| --- | ---: | ---: | --- |",
        f"| seconds | {cost.wall_s:.1f} | < {MOST_SECONDS:g} | "
        f"{verdict(cost.wall_s < MOST_SECONDS)} |",
        f"| seconds of processors, all threads | {cost.cpu_s:.1f} | | |",
        f"| peak resident memory, MB | {cost.peak_mb:,.0f} | < {MOST_MB:,.0f} | "
        f"{verdict(cost.peak_mb < MOST_MB)} |",
        f"| clips whose tokens were scored | {told['num_scored']:,} | | |",
        "",
        f"The first pass at {small.num_clips:,} clips: how many of the {NUMBER} proposals are "
        "those of scoring the tokens of all. Of 100,000 clips the default keeps "
        f"{FIRST_SHARE:.0%}.",
        "",
        "| kept by the first pass | the same proposals | seconds |",
        "| --- | ---: | ---: |",
        *rows,
        "",
        f"The default share: {least} of {NUMBER}, at least {LEAST_AGREEING} required: "
        f"{verdict(least >= LEAST_AGREEING)}.",
        "",
        f"Machine: {', '.join(f'{k} {v}' for k, v in machine().items())}; load "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
    ]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path, help="store with tokens of one backbone")
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("work/next"))
    parser.add_argument("--keep", action="store_true", help="keep the made stores")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    write_text(options.out, "\n".join(page(options)))
    if not options.keep:
        shutil.rmtree(options.work)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
