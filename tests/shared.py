"""Toy runs made by the processes that `torchrun` starts; the first writes what came of them.

Usage: torchrun --nproc_per_node N tests/shared.py FOLDER METHOD...
A METHOD may name its stream, as in ``lwf@blurry``. A METHOD with ``:stopped`` is left in the middle
of a task, with a checkpoint in FOLDER/METHOD.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import torch

import cign.training.loop
import toy
from cign.training.distributed.processes import joined
from cign.training.loop import Loop

STOP_AFTER = 3
STREAMS = {
    "": {},
    "blurry": {"stream": "blurry", "blurry_share": 0.3},
    "online": {"stream": "online", "evaluations": 3},
}
OPTIONS = {
    "finetune": {
        "training": {"num_epochs": 4, "batch_size": 5, "schedule": "one_cycle"},
        "trunk": "transformer",
        "depth": 1,
    },
    "joint": {"trunk": "transformer", "training": {"num_epochs": 2, "batch_size": 9}},
    "ewc": {"training": {"num_epochs": 2, "batch_size": 6}, "num_fisher_clips": 5},
    "lwf": {"training": {"num_epochs": 3, "batch_size": 7, "optimizer": "sgd"}},
    "masked": {"training": {"num_epochs": 2, "batch_size": 5}, "trunk": "transformer"},
    "er": {"training": {"num_epochs": 2, "batch_size": 5}, "trunk": "transformer"},
    "derpp": {"training": {"num_epochs": 3, "batch_size": 5, "optimizer": "sgd"}},
    "er_ace": {"training": {"num_epochs": 2, "batch_size": 7}},
    "wa": {"training": {"num_epochs": 2, "batch_size": 7}},
    "icarl": {"training": {"num_epochs": 2, "batch_size": 8}, "trunk": "transformer"},
    "bic": {
        "training": {"num_epochs": 2, "batch_size": 7},
        "bias_training": {"num_epochs": 3, "batch_size": 3, "optimizer": "adamw"},
    },
    "cign": {
        "training": {"num_epochs": 4, "min_steps": 20, "batch_size": 7},
        "depth": 1,
        "assignment": "hard",
    },
    "cign_tuned": {
        "training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8, "optimizer": "sgd"},
        "depth": 1,
        "token_distillation": "transformed",
    },
    "cign_replay": {"training": {"num_epochs": 2, "batch_size": 7}, "width": 32},
    "analytic": {"width": 30, "ridge": [1.0, 10.0], "batch_size": 5},
    "ncm": {"metric": "euclidean", "batch_size": 5},
    "slda": {"batch_size": 5},
    "ranpac": {"width": 30, "batch_size": 5},
    "fecam": {"batch_size": 5},
    "cign_analytic": {"width": 30, "batch_size": 5},
}


def results(loop) -> dict:
    """What a run came to, as plain values."""
    return {
        "losses": loop.losses,
        "scores": [{r: x.tolist() for r, x in task.items()} for task in loop.predictions.scores],
        "memory": loop.memory.indices.tolist(),
        "curve": [] if loop.online is None else [one.to_dict() for one in loop.online.points],
    }


def make(name: str, folder: Path | None = None, **kwargs):
    method, _, stream = name.partition("@")
    return toy.toy_loop(
        method,
        options=OPTIONS[method],
        memory="12",
        folder=folder,
        seed=3,
        num_tasks=2,
        arrival=STREAMS[stream],
        **kwargs,
    )


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    cign.training.loop.SAVE_EVERY_STEPS = 2
    with joined() as comm:
        toy.Loop = partial(Loop, comm=comm)  # what toy_loop makes
        for given in names:
            name, _, stopped = given.partition(":")
            how = {}
            if stopped:
                (folder / name).mkdir(exist_ok=True)
                place = folder / name if comm.is_first else None
                how = {"folder": place, "checkpoint_every_s": 0.0, "stop_after": STOP_AFTER}
            loop = make(name, **how)
            loop.run()
            if comm.is_first and not stopped:
                (folder / f"{name}.json").write_text(json.dumps(results(loop)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
