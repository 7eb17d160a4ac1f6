"""Build a run from its data and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cign.backbones.base import Backbone
from cign.backbones.blocks import FrozenBlocks
from cign.data.batches import ClipSource, MeanTokens
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.errors import InputError
from cign.methods import method_class
from cign.methods.base import Method, Setup
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.configuration import RunConfig
from cign.runs.metrics_file import read_metrics
from cign.runs.training_data import TrainingData
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.options import configure
from cign.utils.progress import Progress, Silent


def build_method(
    config: RunConfig,
    shape: TokenShape,
    backbone: Backbone | None,
    *,
    multi_label: bool,
    blocks: FrozenBlocks | None = None,
) -> Method:
    """A method without classes, initialised from the run's seed."""
    cls = method_class(config.method)
    options: Any = configure(cls.Options, config.options, f"recipe of {config.method}")
    torch.manual_seed(config.training.seed)
    setup = Setup(
        shape=shape,
        backbone=backbone if config.data.regime == "end-to-end" else None,
        blocks=blocks,
        multi_label=multi_label,
        bf16=config.compute.bf16,
    )
    return cls(setup, options)


def build_loop(config: RunConfig, data: TrainingData, progress: Progress | None = None) -> Loop:
    """Build the training loop of a run.

    Args:
        config: Configuration of the run.
        data: Its data.
        progress: Receives the progress of steps.

    Raises:
        InputError: If the memory does not suit the method or the classes.
    """
    progress = progress or Silent()
    cls = method_class(config.method)
    if data.num_left_out:
        progress.note(
            f"{data.num_left_out} training clip{'s' if data.num_left_out > 1 else ''} without "
            "audio or video left out: --allow-missing includes them"
        )
    if data.num_background_left_out:
        progress.note(
            f"{config.method} does not learn background: {data.num_background_left_out} training "
            f"clip{'s' if data.num_background_left_out > 1 else ''} with none of the classes left "
            "out"
        )
    if not cls.uses_memory and config.exemplars.memory != "0":
        progress.note(
            f"{config.method} uses no exemplars: --memory {config.exemplars.memory} is treated as 0"
        )
    budget = MemoryBudget.parse(config.effective_memory)
    if budget.amount == 0 and cls.needs_memory:
        raise InputError(
            "missing-option",
            f"method {config.method} needs exemplars: give --memory, for example 120",
        )
    num_classes = len(data.clips.tasks.class_order)
    budget.quotas(num_classes, data.source.bytes_per_clip)  # refuses one too small at the end
    method = build_method(
        config,
        data.shape,
        data.backbone,
        multi_label=data.clips.is_multi_label,
        blocks=data.blocks,
    )
    for sentence in method.notes:
        progress.note(sentence)
    source: ClipSource = data.source
    if method.needs_only_means:
        source = MeanTokens(source)
    return Loop(
        method=method,
        clips=data.clips,
        source=source,
        train=data.train,
        test=data.test,
        test_source=data.test_source,
        memory=ExemplarMemory(
            budget,
            selection=config.exemplars.selection,  # type: ignore[arg-type]
            seed=config.training.seed,
        ),
        predictions=data.predictions,
        seed=config.training.seed,
        device=config.compute.device,
        progress=progress,
        comm=current(),
        eval_batch_size=config.compute.eval_batch_size,
        online=config.arrival.online(),
    )


def resume_loop(loop: Loop, folder: Path, data: TrainingData) -> None:
    """Restore the last checkpoint of a run, or its start if it was interrupted before a save.

    Raises:
        InputError: If the run was started on other stores.
    """
    checkpoint = loop.checkpoint
    if not (folder / "metrics.json").exists() and (checkpoint is None or not checkpoint.exists()):
        loop.predictions.scores.clear()
        return  # killed before it recorded its store or learned anything
    made_on = read_metrics(folder).get("store", {})
    for key, what, origin in (
        ("list_hash", "store", data.origin),
        ("test_list_hash", "test store", data.test_origin),
    ):
        was, found = made_on.get(key, "none"), "none" if origin is None else origin.list_hash
        if was != found:
            place = "none was given" if origin is None else f"{origin.path} has {found[:12]}"
            raise InputError(
                "store-mismatch",
                f"run {folder} was started on a {what} with list hash {was[:12]}, but {place}: "
                f"use the {what} it was started on",
            )
    if loop.predictions_path is not None and loop.predictions_path.exists():
        loop.predictions = Predictions.load(loop.predictions_path)
    if loop.checkpoint is not None and loop.checkpoint.exists():
        loop.resume()
    else:
        loop.predictions.scores.clear()
