import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.errors import InputError
from cign.methods.base import Batch
from cign.methods.phases import Phase, TrainingOptions
from refusals import run_error
from toy import FIXED, toy_loop, toy_method, toy_tokens

SMALL = {"width": 60, **FIXED["analytic"]}


def tokens():
    labels, audio, visual = toy_tokens()
    return labels, torch.from_numpy(audio), torch.from_numpy(visual)


def teach(method, groups, *, parts=2, multi_label=False):
    """Teach classes in groups, without the loop; columns are in the order of the groups."""
    labels, audio, visual = tokens()
    targets = np.eye(6, dtype=bool)[labels]
    if multi_label:
        targets |= np.roll(targets, 1, axis=1)
    known = []
    for group in groups:
        method.grow(len(group))
        known += group
        for some in np.array_split(np.flatnonzero(np.isin(labels, group)), parts):
            method.learn(
                Batch(
                    audio=audio[some],
                    visual=visual[some],
                    targets=torch.from_numpy(targets[some][:, known]),
                    from_memory=torch.zeros(len(some), dtype=torch.bool),
                    indices=some,
                ),
                Phase(name="s", indices=some, options=TrainingOptions(), updates=False),
            )
        method.solve()
    method.eval()
    return method


def by_hand(method):
    """Features of both modalities in float64, without the method's own code."""
    out = []
    for name, x in zip(("audio", "visual"), tokens()[1:], strict=True):
        mean = x.double().numpy().mean(axis=1)
        mean = mean - mean.mean(axis=1, keepdims=True)
        mean /= np.sqrt((mean**2).mean(axis=1, keepdims=True) + 1e-5)
        (random,) = method.of(name).projections.values()
        projection = random.projection.double().numpy()
        out.append(np.maximum(mean @ projection.T, 0))
    return out


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("groups", [[[0, 1, 2, 3, 4, 5]], [[4, 1], [0], [5, 3, 2]]])
def test_solution_and_probabilities_are_those_of_one_batch_ridge(groups):
    method = teach(toy_method("analytic", SMALL), groups)
    labels, audio, visual = tokens()
    order = [c for group in groups for c in group]
    targets = np.eye(6)[labels][:, order]
    scores = []
    for features in by_hand(method):
        ridge = Ridge(alpha=1.0, fit_intercept=False, solver="svd").fit(features, targets)
        scores.append(features @ ridge.coef_.T)
    solved = [method.audio.weights, method.visual.weights]
    for weights, expected in zip(solved, by_hand(method), strict=True):
        ridge = Ridge(alpha=1.0, fit_intercept=False, solver="svd").fit(expected, targets)
        np.testing.assert_allclose(weights.numpy(), ridge.coef_.T, rtol=1e-5, atol=1e-6)  # float32
    heard, seen = softmax(scores[0] / 0.1), softmax(scores[1] / 0.1)
    both = heard * seen / (heard * seen).sum(axis=1, keepdims=True)
    got = method.predict(audio, visual).probabilities
    np.testing.assert_allclose(got["audio"].numpy(), heard, atol=2e-5)
    np.testing.assert_allclose(got["visual"].numpy(), seen, atol=2e-5)
    np.testing.assert_allclose(got["audio_visual"].numpy(), both, atol=4e-5)


def test_sums_and_predictions_are_the_same_after_1_3_and_6_tasks():
    results = []
    for num_tasks in (1, 3, 6):
        loop = toy_loop("analytic", options=SMALL, num_tasks=num_tasks)
        loop.run()
        results.append((loop.method.state_dict(), loop.predictions.scores[-1]))
    first, first_scores = results[0]
    for state, scores in results[1:]:
        sums = {name: value for name, value in state.items() if not name.startswith("records.")}
        for name, value in sums.items():
            tolerance = 1e-6 * value.abs().max().item()
            torch.testing.assert_close(value, first[name], rtol=0, atol=tolerance)
        for modality, value in scores.items():
            np.testing.assert_allclose(value, first_scores[modality], atol=1e-5)


def test_class_order_only_permutes_the_columns():
    one = teach(toy_method("analytic", SMALL), [[0, 1, 2], [3, 4, 5]])
    other = teach(toy_method("analytic", SMALL), [[5, 3], [1], [0, 4, 2]], parts=4)
    _, audio, visual = tokens()
    ours, theirs = (
        one.predict(audio, visual).probabilities,
        other.predict(audio, visual).probabilities,
    )
    for modality in ours:
        columns = ours[modality][:, [5, 3, 1, 0, 4, 2]]
        torch.testing.assert_close(columns, theirs[modality], rtol=0, atol=1e-5)


def test_float32_sums_predict_what_float64_sums_do():
    groups = [[0, 1], [2, 3], [4, 5]]
    _, audio, visual = tokens()
    exact, rounded = (
        teach(toy_method("analytic", {**SMALL, "precision": p}), groups)
        for p in ("float64", "float32")
    )
    assert rounded.state_bytes == exact.state_bytes  # only products are rounded
    for modality, value in rounded.predict(audio, visual).probabilities.items():
        torch.testing.assert_close(
            value, exact.predict(audio, visual).probabilities[modality], rtol=0, atol=1e-3
        )


@pytest.mark.parametrize(("ridges", "times"), [([1.0], 2), ([1.0, 10.0], 3)])
def test_one_pass_without_a_second_look_at_old_clips(ridges, times):
    options = {**SMALL, "ridge": ridges, "batch_size": 5}
    loop = toy_loop("analytic", options=options, num_tasks=3)
    read = []
    inner = loop.source.read
    loop.source = SimpleNamespace(
        read=lambda i: (read.append(i), inner(i))[1],
        availability=loop.source.availability,
        bytes_per_clip=loop.source.bytes_per_clip,
        ahead=0,
    )
    loop.run()
    trained = np.concatenate([i for i in read if np.isin(i, loop.train).all()])
    # For the sums, for the leave-one-out accuracy, and where settings are selected for that; all
    # in the clip's own task.
    assert sorted(trained) == sorted([*loop.train] * times)
    tasks = loop.clips.task_of_clip[trained]
    assert (np.diff(tasks) >= 0).all()
    assert [entry["epoch"] for entry in loop.losses] == [0, 0, 0]


def test_beats_finetune_without_forgetting():
    from cign.metrics.incremental import summarise

    last = {}
    for name, options in (("analytic", SMALL), ("finetune", None)):
        loop = toy_loop(name, options=options, num_tasks=3)
        loop.run()
        last[name] = summarise(loop.predictions)["audio_visual"]
    assert last["analytic"]["last"] > 90 > 60 > last["finetune"]["last"]
    assert abs(last["analytic"]["forgetting"]) < 5


def test_a_singular_solution_leaves_the_state_as_it_was():
    method = toy_method("analytic", {**SMALL, "ridge": [1e-300]})
    method.grow(6)
    labels, audio, visual = tokens()
    some = np.arange(4)
    batch = Batch(
        audio=audio[some],
        visual=visual[some],
        targets=torch.eye(6)[labels[some]].bool(),
        from_memory=torch.zeros(4, dtype=torch.bool),
        indices=some,
    )
    method.learn(batch, Phase(name="s", indices=some, options=TrainingOptions(), updates=False))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with run_error("singular", "1e-300", "60"):
        method.solve()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_a_missing_modality_adds_nothing_and_reads_as_uniform():
    method = toy_method("analytic", SMALL)
    method.grow(6)
    labels, audio, visual = tokens()
    silent = torch.zeros_like(audio)
    method.learn(
        Batch(
            audio=silent,
            visual=visual,
            targets=torch.eye(6)[labels].bool(),
            from_memory=torch.zeros(len(labels), dtype=torch.bool),
            indices=labels,
        ),
        Phase(name="s", indices=labels, options=TrainingOptions(), updates=False),
    )
    gram, cross = method.gram("audio"), method.cross("audio")
    assert not gram.any()
    assert not cross.any()
    method.solve()
    scores = method.predict(silent, visual).probabilities
    assert torch.equal(scores["audio"], torch.full_like(scores["audio"], 1 / 6))
    torch.testing.assert_close(scores["audio_visual"], scores["visual"])


def test_several_labels_are_read_as_sigmoids_around_one_half():
    method = toy_method("analytic", SMALL, multi_label=True)
    teach(method, [[0, 1, 2, 3, 4, 5]], multi_label=True)
    labels, audio, visual = tokens()
    scores = method.predict(audio, visual).probabilities
    truth = np.eye(6, dtype=bool)[labels]
    truth |= np.roll(truth, 1, axis=1)
    for modality, value in scores.items():
        assert ((value > 0.5).numpy() == truth).mean() > 0.95, modality
    weights, features = method.audio.weights, by_hand(method)[0]
    z = (features @ weights.double().numpy() - 0.5) / 0.1
    np.testing.assert_allclose(scores["audio"].numpy(), 1 / (1 + np.exp(-z)), atol=1e-4)


def test_scores_do_not_depend_on_order_or_batch_size():
    method = teach(toy_method("analytic", SMALL), [[0, 1, 2], [3, 4, 5]])
    _, audio, visual = tokens()
    together = method.predict(audio, visual).probabilities["audio_visual"]
    singly = [
        method.predict(a[None], v[None]).probabilities["audio_visual"]
        for a, v in zip(audio, visual, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(singly), rtol=0, atol=1e-5)


def test_loaded_state_predicts_the_same_to_the_bit():
    method = teach(toy_method("analytic", SMALL), [[0, 1, 2], [3, 4, 5]])
    other = toy_method("analytic", SMALL)
    other.grow(3)
    other.grow(3)
    other.load_state_dict(method.state_dict(), strict=True)
    _, audio, visual = tokens()
    for modality, value in other.eval().predict(audio, visual).probabilities.items():
        assert torch.equal(value, method.predict(audio, visual).probabilities[modality])


def test_state_bytes_are_those_of_the_sums():
    method = toy_method("analytic", SMALL)
    method.grow(6)
    assert method.state_bytes == 2 * 8 * (60 * 60 + 60 * 6) + 8 * 6  # and clips of each class
    both = toy_method("analytic", {**SMALL, "pooling": ["mean", "statistics"]})
    both.grow(6)
    assert both.state_bytes == 4 * 8 * (60 * 60 + 60 * 6) + 8 * 6
    assert toy_method("finetune").state_bytes == 0
    assert not list(method.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width 0 is too small"),
        ({"ridge": [-1.0]}, r"ridge -1.0 must be in \[0, 1e\+30\]"),
        ({"ridge": []}, r"ridge \[\] must list different values, at least one"),
        ({"ridge": [1.0, 2.0, 1.0]}, r"ridge \[1.0, 2.0, 1.0\] must list different values"),
        ({"temperature": [0.0]}, r"temperature 0.0 must be in \[1e-06, 1e\+06\]"),
        ({"projection_seed": -1}, "projection_seed -1 is too small"),
        ({"pooling": ["tokens"]}, "analytic pools tokens: use pooling mean or statistics"),
        ({"pooling": ["max"]}, "unknown pooling 'max': use one of tokens, mean, statistics"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        toy_method("analytic", options)


def test_a_recipe_is_shipped_and_complete():
    from cign.methods.analytic import AnalyticOptions
    from cign.utils.options import builtin_recipe

    recipe = builtin_recipe("analytic")
    assert set(recipe.options) == {field.name for field in dataclasses.fields(AnalyticOptions)}
    assert set(recipe.sources) == set(recipe.options)
