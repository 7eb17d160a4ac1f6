"""Which runs belong together."""

import json

from cign.report.runs import joint_of, load_runs

from .runs_on_paper import write_run


def change(folder, **values):
    path = folder / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_joint_is_of_the_same_seed_and_trained_alike(tmp_path):
    frozen, ends = {"regime": "frozen", "backbone": "small"}, {"regime": "end-to-end"}
    kinds = {
        "joint 0": ("joint", 0, frozen),
        "joint 1": ("joint", 1, frozen),
        "finetune 1": ("finetune", 1, frozen),
        "finetune 2": ("finetune", 2, frozen),
        "l2p 1": ("l2p", 1, {**frozen, "backbone": "small-stem"}),
        "finetune ends": ("finetune", 0, {**ends, "backbone": "small"}),
        "finetune other": ("finetune", 0, {**frozen, "backbone": "resnet18"}),
    }
    for name, (method, seed, config) in kinds.items():
        write_run(tmp_path / name, method)
        change(tmp_path / name, seeds={"order": 0, "run": seed}, config=config)
    runs = dict(
        zip(kinds, load_runs([tmp_path / name for name in kinds], list(kinds)), strict=True)
    )
    found = {name: joint_of(run, list(runs.values())) for name, run in runs.items()}
    assert {name: one and one.folder.name for name, one in found.items()} == {
        "joint 0": None,
        "joint 1": None,
        "finetune 1": "joint 1",
        "finetune 2": "joint 0",
        "l2p 1": "joint 1",
        "finetune ends": None,
        "finetune other": None,
    }
