"""Stores whose classes come by size: the same clips, in an order that is the sizes'."""

import importlib.util
import json
from pathlib import Path

import pytest

from cign.data.store import Store
from cign.learner import Learner

FILE = Path(__file__).parent.parent / "benchmarks" / "by_size.py"


@pytest.mark.parametrize("largest_first", [True, False])
def test_classes_come_by_size_and_nothing_else_changes(largest_first, tiny, tmp_path):
    spec = importlib.util.spec_from_file_location("by_size_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    store = Store.open(tiny[1])
    module.link(store, tmp_path / "store", largest_first=largest_first)
    found = Store.open(tmp_path / "store")
    # All classes of this store are of one size: those come by name.
    assert found.class_names == tuple(sorted(store.class_names))
    assert found.table.clips == store.table.clips
    assert found.list_hash == store.list_hash
    before = json.loads((tiny[1] / "store.json").read_text())
    assert tuple(before["class_names"]) == store.class_names  # the original is as it was
    learner = Learner("analytic").learn(found, tasks=2)
    assert tuple(learner.metrics["classes"]) == found.class_names


def test_sizes_decide(tiny, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("by_size_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    store = Store.open(tiny[1])
    train = list(store.indices("train"))
    first, second, third, fourth = store.class_names
    wanted = {third: 4, first: 3, fourth: 2, second: 1}
    left = dict(wanted)
    chosen = []
    for i in train:
        (name,) = store.table.clips[i].labels
        if left[name]:
            left[name] -= 1
            chosen.append(i)
    assert not any(left.values())
    monkeypatch.setattr(Store, "indices", lambda self, split: chosen)
    module.link(store, tmp_path / "many", largest_first=True)
    module.link(store, tmp_path / "few", largest_first=False)
    assert Store.open(tmp_path / "many").class_names == tuple(wanted)
    assert Store.open(tmp_path / "few").class_names == tuple(reversed(wanted))
