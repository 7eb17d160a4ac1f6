"""A model's numbers on the clips of a store."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cign.data.store import Store
from cign.errors import InputError
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.model_folder import Model
from cign.run_config import RunConfig
from cign.runs import model_source
from cign.scoring import score_clips


def evaluate_model(model: Model, config: RunConfig, store: Store, split: str) -> dict[str, Any]:
    """See `cign.learner.Learner.evaluate`."""
    config = dataclasses.replace(config, backbone=model.backbone, regime=model.regime)
    known = set(model.classes)
    chosen = [i for i in store.indices(split) if known & set(store.table.clips[i].labels)]
    if not chosen:
        raise InputError(
            f"store {store.folder} has no {split} clip of a class the model knows: "
            "use another store or split"
        )
    indices = np.array(chosen, dtype=np.int64)
    source = model_source(model, config, store)
    predictions = Predictions(
        clip_ids=[store.table.clips[i].id for i in indices],
        labels=[store.table.clips[i].labels for i in indices],
        class_names=model.classes,
        task_sizes=(len(model.classes),),
    )
    predictions.add_task(score_clips(model.method, source, indices))
    return {"num_clips": len(indices), "readings": summarise(predictions)}
