"""The complete state of a run as a tree of values and tensors, for its checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cign.data.exemplar_memory import ExemplarMemory
from cign.methods.base import Method
from cign.metrics.online import CurvePoint
from cign.training.arrival import ArrivalEstimate
from cign.training.online import Online
from cign.training.place import Place
from cign.utils.checkpoint import load_module, load_tree, optimizer_state


class HasState(Protocol):
    """A training loop; see `cign.training.loop.Loop`."""

    method: Method
    memory: ExemplarMemory
    device: str
    online: Online | None
    place: Place
    seconds: float
    num_steps: int
    losses: list[dict[str, Any]]
    estimates: list[ArrivalEstimate]
    sums: dict[str, Tensor]
    optimizer: torch.optim.Optimizer | None
    saved_optimizer: dict[str, Any] | None


def state_of(loop: HasState) -> dict[str, Any]:
    """The state of a run at its current position."""
    return {
        "place": asdict(loop.place),
        "class_counts": loop.method.class_counts,
        "method": dict(loop.method.state_dict()),
        "optimizer": None if loop.optimizer is None else optimizer_state(loop.optimizer),
        "memory": loop.memory.state(),
        "sums": loop.sums,
        "losses": loop.losses,
        "estimates": [one.to_dict() for one in loop.estimates],
        "curve": [] if loop.online is None else [one.to_dict() for one in loop.online.points],
        "seconds": loop.seconds,
        "num_steps": loop.num_steps,
        "num_threads": torch.get_num_threads(),
    }


def restore(loop: HasState, path: Path) -> None:
    """Load the state of a run into its loop, except its predictions.

    Args:
        loop: A new loop.
        path: The checkpoint.

    Raises:
        InputError: If the checkpoint is missing, damaged or does not fit the method.
    """
    tree = load_tree(path)
    torch.set_num_threads(tree["num_threads"])
    loop.place = Place(**tree["place"])
    for num_new in tree["class_counts"]:
        loop.method.grow(num_new)
    loop.method.make_room(tree["method"])
    load_module(loop.method, tree["method"], str(path))
    loop.method.to(loop.device)
    loop.memory.load_state(tree["memory"])
    loop.saved_optimizer = tree["optimizer"]
    loop.sums = {name: total.to(loop.device) for name, total in tree["sums"].items()}
    loop.losses, loop.seconds = tree["losses"], tree["seconds"]
    loop.num_steps = tree.get("num_steps", 0)  # older checkpoints do not have it
    loop.estimates = [ArrivalEstimate.from_dict(one) for one in tree.get("estimates", ())]
    if loop.online is not None:
        loop.online.points = [CurvePoint.from_dict(one) for one in tree.get("curve", ())]
