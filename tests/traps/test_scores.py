"""Traps 1, 2, 9 and 10: clips answer for themselves, and numbers are over clips and have names."""

import numpy as np
import pytest
import torch

from cign.metrics.incremental import DEFINITIONS, summarise
from cign.metrics.predictions import Predictions
from cign.training import scoring
from cign.training.scoring import score_clips
from cign.vocabulary import MODALITIES
from toy import quick_options, toy_loop
from traps.runs import NAMES, WITH_PROMPTS, learned

# --------------------------------------------------------- trap 1: a vote over the test batch


@pytest.mark.parametrize("batch_size", [2, 5, 7])
@pytest.mark.parametrize("name", NAMES)
def test_trap_01_scores_depend_on_neither_test_order_nor_batch_size(name, batch_size, monkeypatch):
    loop = learned(name)
    monkeypatch.setattr(scoring, "EVALUATION_BATCH", batch_size)
    order = np.random.default_rng(batch_size).permutation(len(loop.test))
    scores = score_clips(loop.method, loop.source, loop.test[order])
    for modality, expected in loop.predictions.scores[-1].items():
        np.testing.assert_allclose(scores[modality], expected[order], rtol=1e-4, atol=1e-6)
        assert np.array_equal(scores[modality].argmax(axis=1), expected[order].argmax(axis=1))


@pytest.fixture(scope="module")
def prompted():
    """Prompt methods that have learned enough for clips to choose differently."""
    torch.set_num_threads(1)
    training = {"num_epochs": 6, "batch_size": 8, "learning_rate": 0.02}
    loops = {name: toy_loop(name, options=quick_options(name, training)) for name in WITH_PROMPTS}
    for loop in loops.values():
        loop.run()
        loop.method.eval()
    return loops


@torch.inference_mode()
@pytest.mark.parametrize("modality", ["audio", "visual"])
@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_trap_01_prompts_are_chosen_per_clip(name, modality, prompted):
    loop = prompted[name]
    method, used = loop.method, []
    tokens = loop.source.read(loop.test)[modality == "visual"].float()
    for some in (tokens, *tokens.split(1)):
        _, keys = method.read(modality, some, method.query(modality, some))
        used.append(keys)
    together, singly = used[0], torch.cat(used[1:])
    assert torch.equal(together, singly)
    # Else a vote over the batch would have passed.
    assert len(torch.unique(together.flatten(1), dim=0)) > 1


# ------------------------------------------- trap 2: prefixes mixed with the batch by a reshape


@torch.inference_mode()
@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_trap_02_prompted_features_of_a_batch_are_those_of_single_clips(name, prompted):
    loop = prompted[name]
    audio, visual = loop.source.read(loop.test)
    singly = [loop.method.features(a[None], v[None])[0] for a, v in zip(audio, visual, strict=True)]
    # Of batch sizes that equal another axis (keys and values, blocks, lengths) a mix-up runs.
    for size in (2, 3, 4, 5, len(audio)):
        for start in range(0, len(audio) - size + 1, size):
            some = slice(start, start + size)
            together, _ = loop.method.features(audio[some], visual[some])
            for modality in MODALITIES:
                alone = torch.cat([features[modality] for features in singly[some]])
                torch.testing.assert_close(together[modality], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_trap_02_losses_of_a_batch_are_the_mean_of_single_clips(name, prompted):
    loop = prompted[name]
    data = loop._task_data(2)
    phase = loop.method.phases(data)[0]
    loop.method.train()
    try:
        whole = next(iter(data.batches(data.new[3:11])))
        parts = [loop.method.learn(next(iter(data.batches(i[None]))), phase) for i in whole.indices]
        for key, value in loop.method.learn(whole, phase).items():
            mean = torch.stack([part[key] for part in parts]).mean()
            torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-5)
    finally:
        loop.method.eval()


# ----------------------------------------------- trap 9: one name for two averages, forgettings

# Right answers of 10, 20 and 10 clips of three tasks, and the matrix they make, in percent.
CLIPS = (10, 20, 10)
RIGHT = ((10,), (5, 18), (7, 9, 9))
MATRIX = [[100.0, None, None], [50.0, 90.0, None], [70.0, 45.0, 90.0]]


def by_hand():
    """Predictions of three tasks of one class each with so many right answers."""
    labels = [(f"class {task}",) for task, number in enumerate(CLIPS) for _ in range(number)]
    predictions = Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=("class 0", "class 1", "class 2"),
        task_sizes=(1, 1, 1),
    )
    starts = np.cumsum((0, *CLIPS))
    for k, right in enumerate(RIGHT):
        chosen = np.zeros(len(labels), dtype=int)
        for j, number in enumerate(right):
            own = np.arange(starts[j], starts[j] + CLIPS[j])
            chosen[own] = np.where(np.arange(CLIPS[j]) < number, j, (j + 1) % (k + 1))
        scores = np.eye(k + 1, dtype=np.float32)[np.minimum(chosen, k)]
        predictions.add_task(dict.fromkeys(MODALITIES, scores))
    return predictions


def test_trap_09_averages_and_forgettings_have_names_and_values_of_their_own():
    predictions = by_hand()
    found = summarise(predictions)["audio"]
    assert found["matrix"] == MATRIX
    # A_1 = 10/10, A_2 = (5 + 18)/30, A_3 = (7 + 9 + 9)/40
    assert found["seen"] == pytest.approx([100.0, 100 * 23 / 30, 62.5])
    expected = {
        "last": 62.5,
        "average": (100.0 + 100 * 23 / 30 + 62.5) / 3,
        "task_mean": (70.0 + 45.0 + 90.0) / 3,
        # task 1: max(100, 50) - 70 = 30; task 2: 90 - 45 = 45
        "forgetting": (30.0 + 45.0) / 2,
        # at step 2: 100 - 50 = 50; at step 3 as above
        "forgetting_av_cil": (50.0 + 37.5) / 2,
        # 70 - 100 and 45 - 90
        "bwt": (-30.0 - 45.0) / 2,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert len({round(value, 6) for value in expected.values()}) == len(expected)
    formulas = [DEFINITIONS[name] for name in expected]
    assert len(set(formulas)) == len(formulas)


# ------------------------------------------------- trap 10: means over batches instead of clips


@pytest.mark.parametrize("name", NAMES)
def test_trap_10_accuracy_is_over_clips_with_an_uneven_last_batch(name, monkeypatch):
    loop = learned(name)
    monkeypatch.setattr(scoring, "EVALUATION_BATCH", 7)  # 18 test clips: 7, 7 and 4
    label = loop.clips.targets.argmax(axis=1)[loop.test]
    scores = score_clips(loop.method, loop.source, loop.test)
    predictions = Predictions(
        clip_ids=loop.predictions.clip_ids,
        labels=loop.predictions.labels,
        class_names=loop.predictions.class_names,
        task_sizes=(6,),
    )
    predictions.add_task(scores)
    for modality, found in summarise(predictions).items():
        num_right = sum(
            int(row.argmax()) == c for row, c in zip(scores[modality], label, strict=True)
        )
        assert found["last"] == pytest.approx(100 * num_right / 18)


def test_trap_10_a_short_last_batch_weighs_what_its_clips_weigh():
    size = scoring.EVALUATION_BATCH
    labels = np.repeat([0, 1], [size, 40])
    predictions = Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=[(("a", "b")[c],) for c in labels],
        class_names=("a", "b"),
        task_sizes=(2,),
    )
    always_a = np.tile(np.array([0.9, 0.1], np.float32), (len(labels), 1))
    predictions.add_task(dict.fromkeys(MODALITIES, always_a))
    for found in summarise(predictions).values():
        assert found["last"] == pytest.approx(100 * size / (size + 40))  # 86.5, not 50
        assert found["average"] == found["last"]
