"""A store is a map-style dataset of PyTorch, also in worker processes."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, random_split

import cign
from cign.data import store as plain
from cign.learner import Learner


@pytest.fixture(scope="module")
def store(tiny):
    return cign.Store.open(str(tiny[1]))


def test_it_is_a_dataset_with_documented_items(store):
    assert isinstance(store, Dataset)
    assert isinstance(store, plain.Store)
    assert len(store) == store.num_clips == 44
    for index in (0, 17, 43):
        item = store[index]
        clip = store.table.clips[index]
        assert sorted(item) == sorted(
            ["audio", "frames", "label", "targets", "has_audio", "has_visual", "index", "id"]
        )
        np.testing.assert_array_equal(item["audio"], store.audio([index])[0])
        np.testing.assert_array_equal(item["frames"], store.frames([index])[0])
        assert item["audio"].dtype == np.int16
        assert item["frames"].shape == (1, 96, 96, 3)
        assert store.class_names[item["label"]] == clip.labels[0]
        assert item["targets"].tolist() == [float(n in clip.labels) for n in store.class_names]
        assert (item["index"], item["id"]) == (index, clip.id)
        assert item["has_audio"] is item["has_visual"] is True
    assert store[-1]["index"] == 43
    for wrong in (44, -45):
        with pytest.raises(IndexError, match=f"has 44 clips; index {wrong} is out of range"):
            store[wrong]
    assert len(list(store)) == 44


def test_a_clip_of_an_unknown_class_has_no_target(store):
    clips = list(store.table.clips)
    odd = type(clips[0])(**{**clips[0].__dict__, "labels": ("never taught",), "split": "unknown"})
    table = type(store.table)(clips=(odd, *clips[1:]), class_names=store.class_names)
    item = cign.Store(**{**fields(store), "table": table})[0]
    assert item["label"] == -1
    assert not item["targets"].any()


def fields(store):
    return {name: getattr(store, name) for name in plain.Store.__dataclass_fields__}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_collates_items_into_tensors(store, workers):
    train = Subset(store, store.indices("train"))
    how = {"multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(train, batch_size=10, num_workers=workers, **how)
    batches = list(loader)
    assert [len(batch["label"]) for batch in batches] == [10, 10, 4]
    for batch in batches:
        index = batch["index"]
        assert torch.equal(batch["audio"], torch.from_numpy(store.audio(index.numpy())))
        assert torch.equal(batch["frames"], torch.from_numpy(store.frames(index.numpy())))
        assert batch["label"].dtype == torch.int64
        assert torch.equal(batch["targets"].argmax(dim=1), batch["label"])
        assert batch["has_audio"].all()
        assert list(batch["id"]) == [store.table.clips[i].id for i in index]
    parts = random_split(store, [0.5, 0.5])
    assert [len(part) for part in parts] == [22, 22]


def test_a_store_is_sent_without_its_arrays(store):
    store.frames([0])
    data = pickle.dumps(store)
    assert len(data) < store.info["num_rows"] * 96 * 96 * 3 / 10
    again = pickle.loads(data)
    assert isinstance(again, Dataset)
    np.testing.assert_array_equal(again[5]["frames"], store[5]["frames"])


def test_a_learner_takes_it(store):
    learner = Learner("analytic", options={"width": 30}).learn(store, progress=False)
    assert learner.evaluate(store)["num_clips"] == 12


def test_the_store_of_workers_and_commands_does_not_import_torch(tiny):
    code = (
        "import sys; from cign.data.store import Store; "
        f"assert Store.open({str(tiny[1])!r})[0]['label'] >= 0; import cign.data.prepare.worker; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
