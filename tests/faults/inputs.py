"""Models, stores, runs and lists of clips, and the commands that read their files."""

from __future__ import annotations

import json
import shutil
import signal
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faults.cases import Case, World
from faults.children import finished, run_child
from faults.injected import kill_when
from faults.results import learned_values, stored_values

OUT = "OUT"  # stands for a new folder among the arguments of a command


@dataclass(frozen=True)
class Input:
    """A file that commands read.

    Attributes:
        kind: ``model``, ``store``, ``run`` or ``list``.
        path: The file.
        commands: Each reads it; none changes anything but `OUT`.
        has_checksum: Whether an unnoticed change of its content is a defect.
        template: Folder with the file that is copied to `OUT` before a command; None for none.
        result: What a command leaves in `OUT`, compared if the file has a checksum.
    """

    kind: str
    path: Path
    commands: Sequence[Sequence[object]]
    has_checksum: bool = False
    template: Path | None = None
    result: Callable[[Path], dict[str, Any]] | None = None


def inputs(world: World) -> list[Input]:
    """All inputs, made below the folder of a world that was built."""
    folder = world.root / "inputs"
    makers = (_models, _stores, _unfinished, _runs, _lists)
    return [one for make in makers for one in make(world, folder)]


def _models(world: World, folder: Path) -> Iterator[Input]:
    model = shutil.copytree(world.model, folder / "model")
    changed = shutil.copytree(world.model, folder / "changed")
    world.must("resolve", changed, "--ridge", "7")
    other = world.root / "other-model"
    show, test = ("thresholds", model, "--json"), ("evaluate", model, world.store, "--json")
    changes = (
        ("resolve", model, "--ridge", "7", "--out", OUT),
        ("merge", other, model, "--settings", "A", "--out", OUT),
    )
    yield Input("model", model / "model.json", [show, test, ("versions", model), *changes])
    for name in ("model.safetensors", "kept.safetensors"):
        yield Input("model", model / name, [show, test], has_checksum=True)
    reading = (("versions", changed), ("thresholds", changed, "--json"))
    for name in ("CURRENT", "versions/1/model.json", "versions/2/model.json"):
        yield Input("model", changed / name, reading)


def _stores(world: World, folder: Path) -> Iterator[Input]:
    store = shutil.copytree(world.root / "old-store", folder / "store")
    verify = ("inspect", store, "--verify", "--json")
    test = ("evaluate", world.model, store, "--json")
    for name in ("store.json", "report.json", "clips.parquet", "problems.parquet", "sizes.npy"):
        yield Input("store", store / name, [verify, test])
    tokens = store / "tokens" / "small-random"
    for name in ("tokens.json", "checksums.json"):
        yield Input("store", tokens / name, [verify, test])
    for name in ("audio.npy", "visual.npy"):
        yield Input("store", tokens / name, [verify, test], has_checksum=True)
        if (store / name).is_file():
            yield Input("store", store / name, [verify], has_checksum=True)
    yield Input("store", store / "frames.npy", [verify], has_checksum=True)


def _unfinished(world: World, folder: Path) -> Iterator[Input]:
    """A store and a run that were killed; the journal and the rows of the store are checked."""
    store = world.case("prepare", folder / "killed-store")
    _kill_when(store, lambda: _num_lines(store.place / "journal.jsonl") > 9)
    prepare = [("prepare", world.clips, OUT, "--backbone", "small-random", "--workers", 0)]
    for name in ("journal.jsonl", "frames.npy", "audio.npy"):
        yield Input("store", store.place / name, prepare, True, store.place, stored_values)
    again = shutil.copytree(world.store, folder / "finished-store")
    for name in ("sizes.npy", "store.json", "report.json"):
        yield Input("store", again / name, prepare, template=again)
    run = world.case("train", folder / "killed-run")
    _kill_when(run, lambda: (run.place / "checkpoint.safetensors").is_file())
    resume = ["train", world.store, "--out", OUT, "--resume"]
    checkpoint = run.place / "checkpoint.safetensors"
    yield Input("run", checkpoint, [resume], True, run.place, learned_values)
    yield Input("run", run.place / "config.yaml", [resume], template=run.place)


def _num_lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def _kill_when(case: Case, is_enough: Callable[[], bool]) -> None:
    """Kill a command when it has left enough."""
    log = case.place.parent / "log"
    done = finished(run_child(case.arguments, log, kill_when(is_enough, case.place)), log)
    assert done.code == -signal.SIGKILL, done


def _runs(world: World, folder: Path) -> Iterator[Input]:
    run = shutil.copytree(world.root / "old-model-run", folder / "run")
    show = (("metrics", run), ("metrics", run, "--json"))
    store = world.root / "old-store"
    resume = ("train", store, "--out", run, "--resume")
    for name in ("metrics.json", "predictions.parquet", "embeddings.parquet"):
        yield Input("run", run / name, [*show, ("report", run)])
    yield Input("run", run / "config.yaml", [resume])


def _lists(world: World, folder: Path) -> Iterator[Input]:
    rows, few = (path.read_text() for path in (world.clips / "clips.csv", world.root / "old.csv"))
    table = folder / "table"
    for name, text in (("a.csv", rows), ("b.tsv", few.replace(",", "\t"))):
        path = _written(table / name, text)
        command = ("inspect", path, "--media", world.clips, "--json")
        predict = ("labels", path, OUT, "--to", "audacity", "--media", world.clips)
        yield Input("list", path, [command, predict])
    parquet = folder / "parquet" / "clips.parquet"
    parquet.parent.mkdir()
    shutil.copy(world.store / "clips.parquet", parquet)
    yield Input("list", parquet, [("inspect", parquet, "--media", world.clips, "--json")])
    yield from _features(folder / "features")
    for name, files in PUBLISHED.items():
        for file, text in files.items():
            _written(folder / name / file, text)
        command = ("inspect", folder / name, "--format", name, "--json")
        for file in files:
            yield Input("list", folder / name / file, [command])
    yield from _other_lists(world, folder)


def _features(folder: Path) -> Iterator[Input]:
    """Precomputed features, as an archive and as a folder of arrays."""
    draw, number = np.random.default_rng(0), 12
    labels = np.array(["cat", "dog"] * (number // 2))
    values = {name: draw.normal(size=(number, 6)).astype("f4") for name in ("audio", "visual")}
    split = np.array(["train"] * 8 + ["test"] * 4)
    folder.mkdir(parents=True)
    archive = folder / "features.npz"
    np.savez(archive, labels=labels, split=split, **values)
    prepare = ("prepare", archive, OUT)
    yield Input("list", archive, [("inspect", archive, "--json"), prepare])
    arrays = folder / "arrays"
    arrays.mkdir()
    rows = "".join(f"{label},{part}\n" for label, part in zip(labels, split, strict=True))
    _written(arrays / "clips.csv", f"labels,split\n{rows}")
    for name, value in values.items():
        np.save(arrays / f"{name}.npy", value)
    for path in sorted(arrays.iterdir()):
        yield Input("list", path, [("inspect", arrays, "--json"), ("prepare", arrays, OUT)])


def _other_lists(world: World, folder: Path) -> Iterator[Input]:
    """Lists of annotation tools as `cign labels` writes them, a pickled list, a shard."""
    for tool in ("audacity", "raven", "elan", "label-studio", "via", "cvat"):
        place = folder / tool
        options = ("--to", tool, "--media", world.clips)
        world.must("labels", world.clips / "clips.csv", place, *options)
        command = ("inspect", place, "--format", tool, "--media", world.clips, "--json")
        written = sorted(path for path in place.rglob("*") if path.is_file())
        for path in written[:2]:
            yield Input("list", path, [command])
    place = folder / "av-cil"
    place.mkdir()
    ids = {"train": {"abcdefghijk_000010": "cat", "bbcdefghijk_000010": "dog"}}
    ids |= {"val": {"cbcdefghijk_000010": "cat"}, "test": {"dbcdefghijk_000010": "dog"}}
    for name, value in (
        ("all_id_category_dict.npy", ids),
        ("category_encode_dict.npy", {"cat": 0, "dog": 1}),
    ):
        np.save(place / name, np.array(value, dtype=object), allow_pickle=True)
    for path in sorted(place.iterdir()):
        yield Input("list", path, [("inspect", place, "--format", "av-cil", "--json")])
    shards = folder / "shards"
    shards.mkdir()
    clips = sorted(world.clips.rglob("*.mp4"))[:4]
    with tarfile.open(shards / "a.tar", "w") as archive:
        for number, clip in enumerate(clips):
            archive.add(clip, f"{number}.mp4")
            text = _written(shards / f"{number}.json", json.dumps({"label": "ab"[number % 2]}))
            archive.add(text, f"{number}.json")
            text.unlink()
    yield Input("list", shards / "a.tar", [("inspect", shards, "--json")])


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


_IDS = [f"{letter}bcdefghi_{letter.upper()}" for letter in "abcdefghijkl"]
_NAMED = [(name, ("cat", "dog")[n % 2]) for n, name in enumerate(_IDS)]
_SPLITS = ("train",) * 8 + ("test",) * 4
_AVE = [f"{label}&{name}&good&{n % 3}&10\n" for n, (name, label) in enumerate(_NAMED)]
_KINETICS = "label,youtube_id,time_start,time_end,split\n"

PUBLISHED: dict[str, dict[str, str]] = {
    "vggsound": {
        "vggsound.csv": "".join(
            f"{name},{n},{label},{split}\n"
            for n, ((name, label), split) in enumerate(zip(_NAMED, _SPLITS, strict=True))
        ),
    },
    "ave": {
        "trainSet.txt": "".join(_AVE[:6]),
        "valSet.txt": "".join(_AVE[6:8]),
        "testSet.txt": "".join(_AVE[8:]),
    },
    "kinetics-sounds": {
        "train.csv": _KINETICS
        + "".join(f"{label},{name},{n},{n + 10},train\n" for n, (name, label) in enumerate(_NAMED)),
        "validate.csv": _KINETICS + "cat,mbcdefghi_M,0,10,validate\n",
        "test.csv": _KINETICS + "dog,nbcdefghi_N,0,10,test\n",
        "classes.txt": "cat\ndog\n",
    },
    "music-json": {
        "MUSIC_solo_videos.json": json.dumps({"videos": {"cat": _IDS[:6], "dog": _IDS[6:]}}),
    },
    "vgg-sound-sources": {
        "vggss.json": json.dumps(
            [
                {"file": f"{name}_{n:06d}", "class": label, "bbox": [[0.1, 0.2, 0.6, 0.7]]}
                for n, (name, label) in enumerate(_NAMED[:4])
            ]
        ),
        "vggsound.csv": "".join(
            f"{name},{n},{label},train\n" for n, (name, label) in enumerate(_NAMED[4:])
        ),
    },
}
"""Small lists in the form of published benchmarks, by format and file."""
