"""Stores of made features, one store in several parts, and a progress that counts."""

import itertools

import numpy as np

from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.utils.progress import Silent

CLASSES = ("ape", "bee", "cat", "dog", "elk")


def features(num_clips, seed, *, several=False, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_clips) % len(CLASSES)
    names = np.array(CLASSES)[labels].astype(object)
    if several:
        names[::2] = [
            f"{one}|{CLASSES[(c + 1) % 5]}" for one, c in zip(names, labels, strict=True)
        ][::2]
    audio, visual = (
        spread * rng.normal(size=(num_clips, number, dim)) + np.eye(5, dim)[labels][:, None]
        for number, dim in ((4, 16), (3, 24))
    )
    return {
        "audio": audio.astype(np.float16),
        "visual": visual.astype(np.float16),
        "labels": names.astype(str),
        "split": np.array(["train"] * num_clips),
        "id": np.array([f"{seed}/{number}" for number in range(num_clips)]),
    }


def store_of(folder, values):
    prepare_features(values, folder, encoders="made")
    return Store.open(folder)


def parts_of(folder, values, cuts):
    """The same clips in several stores, cut before these clips."""
    edges = [0, *cuts, len(values["id"])]
    return [
        store_of(folder / str(begin), {name: array[begin:end] for name, array in values.items()})
        for begin, end in itertools.pairwise(edges)
    ]


class Counting(Silent):
    """Notes the title, the total and the steps of each stage."""

    def __init__(self):
        self.stages = []

    def start(self, title, total):
        self.stages.append([title, total, 0])

    def advance(self, steps=1):
        self.stages[-1][2] += steps
