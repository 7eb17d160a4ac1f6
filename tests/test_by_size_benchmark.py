"""Stores whose classes come by size: the same clips, in an order that is the sizes'."""

import json
from dataclasses import replace

import pytest

from benchmark_scripts import script
from cign.data.store import Store
from cign.learner import Learner


@pytest.mark.parametrize("largest_first", [True, False])
def test_classes_come_by_size_and_nothing_else_changes(largest_first, tiny, tmp_path):
    module = script("by_size")
    store = Store.open(tiny[1])
    module.link(store, tmp_path / "store", largest_first=largest_first)
    found = Store.open(tmp_path / "store")
    # All classes of this store are of one size: those come by name.
    assert found.class_names == tuple(sorted(store.class_names))
    assert found.table.clips == store.table.clips
    assert found.list_hash == store.list_hash
    before = json.loads((tiny[1] / "store.json").read_text())
    assert tuple(before["class_names"]) == store.class_names  # the original is as it was
    learner = Learner("analytic", options={"width": 20}).learn(found, tasks=2)
    assert tuple(learner.metrics["classes"]) == found.class_names


def test_sizes_decide(tiny, tmp_path):
    module = script("by_size")
    store = Store.open(tiny[1])
    first, second, third, fourth = store.class_names
    wanted = {third: 4, first: 3, fourth: 2, second: 1}
    left = dict(wanted)
    chosen = []
    for clip in store.table.clips:
        if clip.split == "train" and left[clip.labels[0]]:
            left[clip.labels[0]] -= 1
            chosen.append(clip)
    assert not any(left.values())
    store = replace(store, table=replace(store.table, clips=tuple(chosen)))
    module.link(store, tmp_path / "many", largest_first=True)
    module.link(store, tmp_path / "few", largest_first=False)
    assert Store.open(tmp_path / "many").class_names == tuple(wanted)
    assert Store.open(tmp_path / "few").class_names == tuple(reversed(wanted))
