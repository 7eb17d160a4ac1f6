"""Closed-form grouping: the same whatever the tasks, and the assignment does what it is for."""

import numpy as np
import pytest
import torch

from cign.errors import InputError
from cign.methods.base import Batch
from cign.methods.phases import Phase, TrainingOptions
from cign.metrics.incremental import summarise
from toy import FIXED, SHAPE, toy_loop, toy_method

SMALL = {"width": 60, **FIXED["cign_analytic"], "batch_size": 8}
MEAN = {**SMALL, "assignment_temperature": [None], "saliency": [0.0]}


def learned(num_tasks, order=0, **options):
    loop = toy_loop("cign_analytic", options={**SMALL, **options}, num_tasks=num_tasks, order=order)
    loop.run()
    return loop


def last_scores(loop):
    """Scores with columns in the order of the class names."""
    columns = np.argsort(loop.predictions.class_names)
    return {name: scores[:, columns] for name, scores in loop.predictions.scores[-1].items()}


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize(("num_tasks", "order"), [(2, 0), (3, 0), (6, 0), (3, 1), (6, 2)])
def test_predictions_do_not_depend_on_tasks_or_class_order(num_tasks, order, precision):
    at_once = last_scores(learned(1, precision=precision))
    by_tasks = last_scores(learned(num_tasks, order, precision=precision))
    for modality, scores in at_once.items():
        np.testing.assert_allclose(by_tasks[modality], scores, atol=2e-4)
        same = by_tasks[modality].argmax(axis=1) == scores.argmax(axis=1)
        assert same.all()


def test_it_learns_and_keeps_what_it_learned():
    loop = learned(3)
    for numbers in summarise(loop.predictions).values():
        assert numbers["last"] > 90
        assert numbers["forgetting"] < 10


def planted(num_classes=3, per_class=20, num_tokens=9, seed=0, only=None):
    """Clips whose tokens are background but for one, whose place is drawn; all in `visual`."""
    rng = np.random.default_rng(seed)
    dim = SHAPE.visual_dim
    world = np.random.default_rng(99)
    background = world.normal(size=dim)
    centres = 2 * world.normal(size=(num_classes, dim))
    labels = np.repeat(np.arange(num_classes), per_class)
    tokens = background + 0.3 * rng.normal(size=(len(labels), num_tokens, dim))
    places = rng.integers(num_tokens, size=len(labels))
    tokens[np.arange(len(labels)), places] = centres[labels] + 0.3 * rng.normal(
        size=(len(labels), dim)
    )
    return labels, places, torch.from_numpy(tokens).float()


def teach(method, labels, audio, visual, num_classes=3):
    method.grow(num_classes)
    method.learn(
        Batch(
            audio=audio,
            visual=visual,
            targets=torch.eye(num_classes)[labels].bool(),
            from_memory=torch.zeros(len(labels), dtype=torch.bool),
            indices=np.arange(len(labels)),
        ),
        Phase(name="s", indices=np.arange(2), options=TrainingOptions(), updates=False),
    )
    method.solve()
    return method.eval()


def test_a_class_is_assigned_the_token_that_shows_it():
    labels, _, visual = planted()
    audio = torch.zeros(len(labels), 3, SHAPE.audio_dim)
    method = teach(toy_method("cign_analytic", SMALL), labels, audio, visual)
    labels, places, visual = planted(seed=1)
    assigned = method.predict(audio, visual).assignment["visual"]
    assert assigned.shape == (len(labels), 9, 3)
    assert torch.allclose(assigned.sum(dim=1), torch.ones(len(labels), 3), atol=1e-5)
    strongest = assigned[torch.arange(len(labels)), :, torch.from_numpy(labels)].argmax(dim=1)
    assert (strongest.numpy() == places).mean() > 0.9
    means = teach(toy_method("cign_analytic", MEAN), labels, audio, visual)
    flat = means.predict(audio, visual).assignment["visual"]
    assert torch.allclose(flat, torch.full_like(flat, 1 / 9))


def test_the_mean_over_tokens_is_a_linear_read_out_of_mean_features():
    labels, _, visual = planted()
    audio = visual[:, :4]
    method = teach(toy_method("cign_analytic", MEAN), labels, audio, visual)
    less = visual - 0.5 * visual.mean(dim=1, keepdim=True)
    (random,) = method.of("visual").projections.values()
    features = random(less).mean(dim=1)
    wanted = (features @ method.class_tokens("visual") / 0.1).softmax(dim=1)
    assert torch.allclose(method.predict(audio, visual).probabilities["visual"], wanted, atol=1e-5)


def normalised(token):
    token = np.asarray(token, dtype=np.float64)
    return (token - token.mean()) / np.sqrt(token.var() + 1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_embedding_is_its_formula_in_loops(multi_label):
    """sum_i p_i / sum_j p_j sum_n A[n,i] LN(x_n) for each modality, clip by clip."""
    labels, _, visual = planted()
    audio = visual[:, ::2].flip(1)
    method = toy_method("cign_analytic", SMALL, multi_label=multi_label)
    teach(method, labels, audio, visual)
    _, _, visual = planted(seed=1)
    audio = visual[:, ::2].flip(1)
    audio[3] = 0.0  # silent
    output = method.predict(audio, visual)
    found = method.embed(audio, visual)
    both = {"audio": audio, "visual": visual}
    for clip in (0, 3, 21, 59):
        wanted = []
        for modality, tokens in both.items():
            p = output.probabilities[modality][clip].double().numpy()
            grouped = np.zeros(tokens.shape[2])
            for i, share in enumerate(p / p.sum()):
                for n, token in enumerate(tokens[clip]):
                    weight = float(output.assignment[modality][clip, n, i])
                    grouped += share * weight * normalised(token)
            wanted.append(grouped)
        np.testing.assert_allclose(found[clip], np.concatenate(wanted), rtol=1e-4, atol=1e-5)


def test_without_an_assignment_the_embedding_is_the_mean_of_the_tokens():
    labels, _, visual = planted()
    audio = visual[:, :4]
    method = toy_method("analytic", {"width": 60, "ridge": [5.0]})
    teach(method, labels, audio, visual)
    found = method.embed(audio, visual)
    for clip in (0, 33):
        wanted = [
            np.mean([normalised(token) for token in tokens[clip]], axis=0)
            for tokens in (audio, visual)
        ]
        np.testing.assert_allclose(found[clip], np.concatenate(wanted), rtol=1e-4, atol=1e-5)


def test_a_missing_modality_says_nothing_and_is_not_learned():
    labels, _, visual = planted()
    silent = torch.zeros(len(labels), 3, SHAPE.audio_dim)
    method = teach(toy_method("cign_analytic", SMALL), labels, silent, visual)
    scores = method.predict(silent, visual).probabilities
    assert torch.allclose(scores["audio"], torch.full_like(scores["audio"], 1 / 3))
    assert torch.allclose(scores["audio_visual"], scores["visual"], atol=1e-6)
    assert not method.gram("audio").any()


def test_class_tokens_are_weighted_by_the_counts():
    labels, _, visual = planted()
    rare = np.flatnonzero((labels > 0) | (np.arange(len(labels)) < 2))  # two clips of class 0
    audio = torch.zeros(len(rare), 3, SHAPE.audio_dim)
    for power in (0.0, 0.5):
        method = toy_method("cign_analytic", {**SMALL, "count_power": [power]})
        teach(method, labels[rare], audio, visual[torch.from_numpy(rare)])
        assert method.class_clips.tolist() == [2, 20, 20]
        weight = (torch.tensor([14 / 2, 14 / 20, 14 / 20])) ** power
        assert torch.allclose(
            method.class_tokens("visual"), method.visual.weights * weight, atol=1e-6
        )


def test_several_labels():
    labels, _, visual = planted()
    both = torch.cat([visual[:20], visual[20:40]], dim=1)  # clips of class 0 and 1
    method = toy_method("cign_analytic", SMALL, multi_label=True)
    audio = torch.zeros(len(labels), 3, SHAPE.audio_dim)
    teach(method, labels, audio, visual)
    scores = method.predict(audio[:20], both).probabilities["visual"]
    assert (scores[:, :2].amin(dim=1) > scores[:, 2]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"assignment": "hard"}, "assignment"),
        ({"assignment_temperature": [0.0]}, "assignment_temperature 0.0 must be in"),
        ({"token_share": [1.5]}, r"token_share 1.5 must be in \[0, 1\]"),
        ({"saliency": [-1.0]}, "saliency -1.0 must be 0 or more"),
        ({"contrast": [1.5]}, r"contrast 1.5 must be in \[0, 1\]"),
        ({"temperature": [0.0]}, "temperature 0.0 must be in"),
        ({"width": 0}, "width 0 is too small"),
    ],
)
def test_options_without_meaning_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        toy_method("cign_analytic", options)


def test_state_is_sums_and_counts():
    method = learned(3).method
    # Of each modality, sums over whole clips and over single tokens.
    assert method.state_bytes == 4 * 8 * (60 * 60 + 60 * 6) + 8 * 6
