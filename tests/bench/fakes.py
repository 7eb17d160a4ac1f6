"""Stores on paper: what a plan asks of one, without files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cign.bench.config import BenchStore, Entry
from cign.bench.grid import BenchConfig
from cign.data.clips import Clip, ClipTable
from cign.methods import method_class

INFO = {"num_audio_tokens": 4, "audio_dim": 10, "num_visual_tokens": 6, "visual_dim": 10}
CLIP_BYTES = 200


def world(name="w", num_classes=4, per_class=6, backbones=("small",)):
    names = tuple(f"class {c}" for c in range(num_classes))
    clips = [
        Clip(
            id=f"{label} {number}",
            path=Path(f"{label} {number}"),
            labels=(label,),
            split="train",
            source=f"{label} {number}",
        )
        for label in names
        for number in range(per_class)
    ]
    everything = np.arange(len(clips))
    store = SimpleNamespace(
        folder=name,
        class_names=names,
        table=ClipTable(clips=tuple(clips), class_names=names),
        backbones=backbones,
        audio_ok=np.ones(len(clips), bool),
        visual_ok=np.ones(len(clips), bool),
        indices=lambda split: everything if split == "train" else everything[:0],
        tokens=lambda backbone: SimpleNamespace(info=INFO),
    )
    return BenchStore(name=name, store=store)


def config(**kwargs):
    return BenchConfig(**{"stores": ("w",), "methods": ("finetune",), "tasks": (2,), **kwargs})


def entries(*names):
    return [
        Entry(
            name=name,
            method=name,
            options={"of": method_class(name).name},
            order_matters=method_class(name).order_matters,
        )
        for name in names
    ]
