"""Every number of every group has its formula, and is there for any run, whatever it lacks."""

import json

import numpy as np
import pytest

from cign.metrics import catalogue, incremental
from cign.metrics.embedded import Embeddings
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


def draw(sizes=(2, 2), num_done=2, seed=0):
    generator = np.random.default_rng(seed)
    names = tuple(f"c{i}" for i in range(sum(sizes)))
    labels = [(name,) for name in names for _ in range(6)]
    ends = np.cumsum(sizes)[:num_done]
    return Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=names,
        task_sizes=sizes,
        scores=[
            {r: generator.dirichlet(np.ones(n), size=len(labels)) for r in MODALITIES} for n in ends
        ],
    )


def embedded(run, split=3):
    vectors = np.random.default_rng(1).normal(size=(run.num_clips, 6))
    return Embeddings(
        clip_ids=run.clip_ids,
        labels=run.labels,
        class_names=run.class_names,
        task_sizes=run.task_sizes,
        vectors=vectors,
        split=split,
    )


def everything(run):
    return catalogue.Stored(
        predictions=run,
        costs={"seconds": 3.0, "bytes_kept": 10.0, "peak_memory_mb": 1.0},
        num_train=dict.fromkeys(run.class_names, 30),
        total_train=120,
        embeddings=embedded(run),
        joint=draw(run.task_sizes, seed=9),
        stream="fewshot",
        curve=[
            {"task": 1, "num_clips": 5, "num_classes": 1, "percent": dict.fromkeys(MODALITIES, 3.0)}
        ],
    )


def test_every_number_has_its_formula_and_every_formula_its_number():
    found = catalogue.measure(everything(draw()))
    assert list(found) == list(catalogue.metric_groups())
    for name, group in catalogue.metric_groups().items():
        numbers = {key for modality in found[name].values() for key in modality}
        assert numbers == set(group.definitions)
        assert set(group.decimals) <= numbers
        assert all(len(text) > 10 for text in group.definitions.values())
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("run", [draw(), draw(num_done=1), draw((3,), 1), draw(num_done=0)])
def test_a_run_without_anything_but_predictions_is_read(run):
    found = catalogue.measure(catalogue.Stored(predictions=run))
    assert found["embeddings"] == {}
    assert set(found["costs"][catalogue.RUN].values()) == {None}
    assert "intransigence" not in found["incremental"]["audio"]
    for name in ("incremental", "old_and_new", "imbalance", "calibration"):
        assert set(found[name]) == set(MODALITIES)
    json.dumps(found, allow_nan=False)


def test_intransigence_is_the_mean_of_joints_lead():
    run = draw()
    stored = everything(run)
    leads = [incremental.accuracy_matrix(one, "audio").diagonal() for one in (stored.joint, run)]
    wanted = 100 * np.mean(leads[0] - leads[1])
    found = catalogue.measure(stored, ("incremental",))["incremental"]["audio"]["intransigence"]
    assert found == pytest.approx(wanted)


def test_numbers_are_the_ones_of_their_modules():
    run = draw()
    found = catalogue.measure(everything(run))
    summary = incremental.summarise(run)
    for modality in MODALITIES:
        for name in ("last", "average", "forgetting_av_cil"):
            assert found["incremental"][modality][name] == summary[modality][name]
