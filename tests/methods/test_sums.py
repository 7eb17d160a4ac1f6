"""Sums of two methods added, and solved with other settings, against learning at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.methods.analytic import AnalyticOptions
from cign.methods.sums import (
    add_sums,
    add_tallies,
    change_settings,
    difference,
    same_sums,
    select_again,
    use_settings_of,
)
from cign.vocabulary import UNIMODAL
from refusals import input_error
from summed import NUM_CLASSES, batch, clips, learned, relative
from toy import FIXED, toy_loop, toy_method

# Classes of the first and of the second method, in their order of learning, and their labels.
CASES = {
    "disjoint": ((0, 1, 2), (3, 4)),
    "overlapping": ((0, 1, 2, 3), (4, 2, 3, 1)),
    "the same in another order": ((0, 1, 2, 3, 4), (3, 0, 4, 2, 1)),
    "single classes": ((2,), (0,)),
}


def merged(first, second, first_classes, second_classes):
    """The second method added to the first one, and the classes of the result."""
    new = [c for c in second_classes if c not in first_classes]
    classes = [*first_classes, *new]
    if new:
        first.grow(len(new))
    add_sums(first, second, [classes.index(c) for c in second_classes])
    add_tallies(first, second)
    first.solve()
    return classes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_added_sums_are_those_of_learning_at_once(precision, name, multi_label, case):
    tolerance = {"float64": 1e-12, "bfloat16": 1e-6}[precision]
    options = {"precision": precision, "pooling": [*FIXED[name]["pooling"], "statistics"]}
    one, two = CASES[case]
    some = clips(1, multi_label=multi_label, silent=True)
    more = clips(2, 4, multi_label=multi_label)
    first = learned(name, one, [some], options, multi_label=multi_label)
    second = learned(name, two, [more], options, multi_label=multi_label)
    classes = merged(first, second, one, two)

    at_once = toy_method(name, {**FIXED[name], "width": 30, **options}, multi_label=multi_label)
    at_once.eval().grow(len(classes))
    for (audio, visual, targets), known in ((some, one), (more, two)):
        targets = targets & np.isin(np.arange(NUM_CLASSES), known)  # labels that the model knew
        rows = targets.any(axis=1)
        at_once.absorb(batch(audio[rows], visual[rows], targets[rows][:, classes]))
    at_once.solve()
    for modality in UNIMODAL:
        found, wanted = first.of(modality), at_once.of(modality)
        for mine, theirs in zip(found.statistics, wanted.statistics, strict=True):
            for kind in theirs.kinds:
                gram = torch.tril(getattr(theirs, f"{kind}_gram"))
                assert relative(torch.tril(getattr(mine, f"{kind}_gram")), gram) <= tolerance
                cross = getattr(theirs, f"{kind}_cross")
                assert relative(getattr(mine, f"{kind}_cross"), cross) <= tolerance
    assert torch.equal(first.class_clips, at_once.class_clips)
    audio, visual, _ = map(torch.from_numpy, clips(3))
    with torch.no_grad():
        found, wanted = first(audio, visual).probabilities, at_once(audio, visual).probabilities
    for modality, scores in wanted.items():
        assert (found[modality] - scores).abs().max() <= 1e-4, modality
        assert torch.equal(found[modality].argmax(dim=1), scores.argmax(dim=1)), modality


def test_the_merged_solution_is_that_of_scikit_learn_on_all_clips():
    ridge = 3.0
    options = {"ridge": [ridge], "precision": "float64"}
    one, two = (0, 1, 2), (2, 3)
    parts = clips(1), clips(2)
    methods = [
        learned("analytic", known, [part], options)
        for known, part in zip((one, two), parts, strict=True)
    ]
    classes = merged(*methods, one, two)
    rows, labels = [], []
    for (audio, _, targets), known in zip(parts, (one, two), strict=True):
        keep = targets[:, list(known)].any(axis=1)
        x = audio[keep].astype(np.float64).mean(axis=1)
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        projection = methods[0].audio.projections["tokens"].projection.numpy().astype(np.float64)
        rows.append(np.maximum(x @ projection.T, 0.0))
        labels.append(targets[keep][:, classes])
    model = Ridge(alpha=ridge, fit_intercept=False)
    model.fit(np.concatenate(rows), np.concatenate(labels).astype(np.float64))
    np.testing.assert_allclose(methods[0].audio.weights.numpy(), model.coef_.T, atol=2e-6)


def test_sums_that_cannot_be_added_are_told_apart():
    def of(name="cign_analytic", **options):
        return toy_method(name, {"width": 20, **options})

    assert difference(of(), of(batch_size=3, most_selecting=7, caution=2.0)) == ""
    assert difference(of(), of(fusion={"kind": "mean"})) == ""
    for options, said in (
        ({"width": 21}, "width 20 and 21"),
        ({"projection_seed": 1}, "projection_seed 0 and 1"),
        ({"precision": "float64"}, "precision bfloat16 and float64"),
        ({"ridge": [20.0]}, "ridge [20, 100, 300, 1000, 3000] and [20]"),
        ({"contrast": [0.5]}, "contrast [0.5, 0] and [0.5]"),
        ({"num_single": 3}, "num_single 12 and 3"),
    ):
        assert difference(of(), of(**options)) == said
    several = toy_method("cign_analytic", {"width": 20}, multi_label=True)
    assert difference(of(), several) == "one label per clip and several labels per clip"


def selecting(name="cign_analytic", **kwargs):
    """A method that selected its settings from clips."""
    loop = toy_loop(name, options={"width": 20}, num_tasks=2, **kwargs)
    loop.run()
    return loop.method


def test_tallies_are_added_and_select():
    first, second = selecting(noise=0.5), selecting(noise=2.0)
    losses = first.audio.losses + second.audio.losses
    evidence = float(first.audio.evidence) + float(second.audio.evidence)
    squares = first.audio.squares + second.audio.squares
    merged(first, second, range(6), range(6))
    assert torch.equal(first.audio.losses, losses)
    assert float(first.audio.evidence) == evidence
    select_again(first)
    # The rule of docs/methods/cign_analytic.md, in plain loops.
    flat, spread = losses.flatten().tolist(), squares.flatten().tolist()
    estimates = [
        loss - flat[0] + (0.0 if square == float("inf") else square**0.5)
        for loss, square in zip(flat, spread, strict=True)
    ]
    best = min(range(len(flat)), key=lambda number: estimates[number])
    assert first.audio.setting == first.audio.settings[best]


def test_a_ridge_beyond_the_candidates_gives_the_solution_of_that_ridge():
    method = selecting("analytic")
    gram = method.gram("visual").numpy()
    gram = np.tril(gram) + np.tril(gram, -1).T
    wanted = np.linalg.solve(gram + 7.5 * np.eye(20), method.cross("visual").numpy())
    audio = method.audio.weights.clone()
    change_settings(method, "visual", {"ridge": 7.5})
    method.solve()
    np.testing.assert_allclose(method.visual.weights.numpy(), wanted, rtol=1e-4, atol=1e-7)
    assert torch.equal(method.audio.weights, audio)
    assert method.options.ridge == (*AnalyticOptions().ridge, 7.5)
    assert (method.visual.fixed, method.audio.fixed) == (True, False)
    # No clip was measured with it, so that a selection never takes it.
    select_again(method)
    assert method.visual.setting.ridge != 7.5


def test_hand_set_values_of_two_methods_are_joined():
    first, second = selecting(), selecting()
    finite = first.audio.losses.clone()
    change_settings(first, "audio", {"ridge": 7.0, "temperature": 0.3})
    change_settings(second, "audio", {"ridge": 9.0, "assignment_temperature": 0.7})
    assert difference(first, second) == ""
    chosen = first.audio.setting, second.audio.setting
    merged(first, second, range(6), range(6))
    assert first.options.ridge[-2:] == (7.0, 9.0)
    assert first.audio.setting == chosen[0]
    block = first.audio.losses[tuple(map(slice, finite.shape))]
    assert torch.equal(block, 2 * finite)
    assert int(first.audio.losses.isfinite().sum()) == int(finite.isfinite().sum())
    use_settings_of(first, second)
    assert first.audio.setting == chosen[1]
    assert first.audio.settings == first.options.settings


def test_settings_that_are_refused():
    method = selecting()
    for values, names in (
        ({"rigde": 1.0}, ("ridge",)),
        ({"width": 3}, ("width", "ridge")),
    ):
        with input_error("unknown-name", *names):
            change_settings(method, "audio", values)
    with input_error("bad-value", "ridge"):
        change_settings(method, "audio", {"ridge": "high"})
    with input_error("bad-value", "temperature"):
        change_settings(method, "audio", {"temperature": 0.0})
    with input_error("unsupported", "contrast 0.25"):
        change_settings(method, "audio", {"contrast": 0.25})
    with input_error("conflicting-options", "token_share", "mean"):
        change_settings(selecting("analytic"), "audio", {"token_share": 0.0})
    fixed = learned("cign_analytic", (0, 1), [clips(0)], {"token_share": [0.0]})
    with input_error("unsupported", "token_share 0.5"):
        change_settings(fixed, "audio", {"token_share": 0.5})


def test_equal_sums_are_recognised():
    first, second = (learned("analytic", (0, 1), [clips(seed)]) for seed in (1, 1))
    assert same_sums(first, second)
    assert not same_sums(first, learned("analytic", (0, 1), [clips(2)]))
