"""The group of class-incremental metrics: accuracies, forgetting and intransigence."""

from __future__ import annotations

import numpy as np

from cign.metrics import incremental
from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.vocabulary import MODALITIES

_NAMES = ("last", "average", "task_mean", "forgetting", "forgetting_av_cil", "bwt")


@register_metrics("incremental")
class ClassIncremental(MetricGroup):
    """Metrics of `cign.metrics.incremental`; intransigence if there is a run of ``joint``."""

    title = "Class-incremental learning"
    position = 10
    definitions = {name: incremental.DEFINITIONS[name] for name in _NAMES} | {
        "last": f"A_T; {incremental.DEFINITIONS['seen']}",
        "task_mean": f"mean over j of a(T,j); {incremental.DEFINITIONS['matrix']}",
        "intransigence": f"mean over k of {incremental.DEFINITIONS['intransigence']}",
    }

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        found = incremental.summarise(stored.predictions)
        result: Numbers = {
            modality: {name: found[modality][name] for name in _NAMES} for modality in found
        }
        if stored.joint is None:
            return result
        for modality in MODALITIES:
            gaps = incremental.intransigence(
                incremental.accuracy_matrix(stored.predictions, modality),
                incremental.accuracy_matrix(stored.joint, modality),
            )
            known = gaps[~np.isnan(gaps)]
            result[modality]["intransigence"] = 100.0 * float(known.mean()) if len(known) else None
        return result
