"""Accuracy on base and new classes against plain loops and SciPy's harmonic mean."""

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import average_precision_score

from cign.metrics import few_shot
from cign.metrics.catalogue import Stored, measure
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

NAMES = ("a", "b", "c", "d")


def predictions(labels, sizes=(2, 1, 1), seed=0, done=3):
    rng = np.random.default_rng(seed)
    made = Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=NAMES,
        task_sizes=sizes,
    )
    for task in range(done):
        shape = (len(labels), made.num_seen(task))
        made.add_task({m: rng.normal(size=shape) for m in MODALITIES})
    return made


def test_base_new_and_harmonic_mean():
    labels = [(NAMES[i % 4],) for i in range(41)] + [("unknown",)]
    run = predictions(labels)
    found = few_shot.summarise(run)
    for modality in MODALITIES:
        scores = run.scores[-1][modality]
        right = {True: [], False: []}
        for i, (label,) in enumerate(labels[:-1]):
            right[label in "ab"].append(NAMES[int(np.argmax(scores[i]))] == label)
        base, new = 100 * np.mean(right[True]), 100 * np.mean(right[False])
        assert found[modality]["base"] == pytest.approx(base)
        assert found[modality]["new"] == pytest.approx(new)
        assert found[modality]["harmonic_mean"] == pytest.approx(hmean([base, new]))


def test_several_labels_are_measured_by_average_precision():
    labels = [("a", "c"), ("b",), ("c",), ("d", "b"), ("a",), ("d",), ("b", "a"), ("c", "d")]
    run = predictions(labels)
    found = few_shot.summarise(run)["audio"]
    scores = run.scores[-1]["audio"]
    targets = np.array([[name in names for name in NAMES] for names in labels])
    each = [100 * average_precision_score(targets[:, c], scores[:, c]) for c in range(4)]
    assert found["base"] == pytest.approx(np.mean(each[:2]))
    assert found["new"] == pytest.approx(np.mean(each[2:]))


def test_undefined_values_are_none():
    only_base = predictions([("a",), ("b",)])
    assert few_shot.summarise(only_base)["audio"]["new"] is None
    assert few_shot.summarise(only_base)["audio"]["harmonic_mean"] is None
    unfinished = predictions([("a",), ("c",)], done=2)
    assert set(few_shot.summarise(unfinished)["visual"].values()) == {None}
    assert few_shot.harmonic_mean(0.0, 0.0) == 0.0
    assert few_shot.harmonic_mean(0.0, 50.0) == 0.0


def test_only_runs_of_the_stream_have_these_metrics():
    run = predictions([("a",), ("c",)])
    assert measure(Stored(predictions=run), ["fewshot"]) == {"fewshot": {}}
    found = measure(Stored(predictions=run, stream="fewshot"), ["fewshot"])["fewshot"]
    assert found.keys() == set(MODALITIES)
