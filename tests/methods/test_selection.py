"""Settings selected from the clips: the losses against training again without each source."""

import copy
import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cign.data.batches import ArraySource
from cign.errors import InputError
from cign.methods import default_recipe, method_class
from cign.methods.selection import chosen_clips
from cign.metrics.predictions import Predictions
from cign.networks.views import View
from cign.utils.options import configure
from cign.vocabulary import UNIMODAL
from refusals import input_error
from scored_tasks import CANDIDATES, Problem, check_tallies, explicit, small
from toy import FIXED, toy_loop, toy_method


def test_the_class_order_matters_only_where_settings_are_selected():
    for name in ("analytic", "cign_analytic"):
        cls = method_class(name)
        options = configure(cls.Options, default_recipe(name).options, "recipe")
        values = dataclasses.asdict(options)
        fixed = {field: value[:1] for field, value in values.items() if isinstance(value, tuple)}
        assert cls.depends_on_order(options)
        assert not cls.depends_on_order(dataclasses.replace(options, **fixed))
        assert not cls.depends_on_order(dataclasses.replace(options, most_selecting=0))


@pytest.mark.parametrize("caution", [0.0, 1.0, 4.0])
def test_tallies_are_the_losses_of_training_again_without_each_source(caution):
    problem = small(options={**CANDIDATES, "caution": caution})
    for task in (0, 1):
        problem.teach(task)
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        tallies, squares = check_tallies(problem, modality)
        errors = np.sqrt(np.where(np.isfinite(squares), squares, 0.0))
        best = int((tallies - tallies[0] + caution * errors).argmin())
        assert int(one.chosen) == best
        assert float(one.evidence) == 6  # classes: three of each task
        assert one.setting == problem.method.options.settings[best]


def test_the_power_of_the_balance_makes_no_difference_between_equally_large_classes():
    """A left-out clip's own class has fewer clips than others, which would tell it apart.

    Nor do few clips of new classes decide: no clip of the earlier ones is scored against them.
    """
    labels = [(c,) for c in range(6) for _ in range(9 if c < 3 else 4)]
    problem = Problem(labels, None, [[0, 1, 2], [3, 4, 5]])
    for task in (0, 1):
        problem.teach(task)
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        torch.testing.assert_close(one.losses[..., 1], one.losses[..., 0], rtol=1e-12, atol=0)
        assert one.setting.count_power == CANDIDATES["count_power"][0]


def test_clips_of_several_labels_and_sources():
    labels = [(n % 3,) if n % 4 else (n % 3, (n + 1) % 3) for n in range(24)]
    sources = [f"{n // 2}" if n % 4 else f"{n // 2} + {n // 3}" for n in range(24)]
    options = {**CANDIDATES, "pooling": ["tokens"], "contrast": [0.5], "count_power": [0.5]}
    problem = Problem(labels, sources, [[0, 1, 2]], options=options, multi_label=True)
    assert max(map(len, problem.clips.sources)) == 2
    problem.teach(0)
    for modality in UNIMODAL:
        check_tallies(problem, modality, tasks=(0,), multi_label=True)


def tallies(method):
    return {modality: method.of(modality).losses for modality in UNIMODAL}


def test_the_order_of_the_clips_of_a_task_does_not_matter():
    problem, other = small(), small()
    for task in (0, 1):
        problem.teach(task)
        every = other.clips.of_task(np.arange(len(other.rows)), task)
        other.teach(task, np.random.default_rng(3).permutation(every))
    for modality, losses in tallies(problem.method).items():
        torch.testing.assert_close(other.method.of(modality).losses, losses, rtol=1e-9, atol=0)
        assert other.method.of(modality).setting == problem.method.of(modality).setting


@pytest.mark.parametrize("groups", [[[0, 1, 2, 3, 4, 5]], [[4, 1], [0], [5, 3, 2]]])
def test_given_the_settings_the_solution_does_not_depend_on_tasks(groups):
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    other = Problem([(int(r) // 12,) for r in problem.rows], None, groups)
    other.rows = problem.rows
    for task in range(len(groups)):
        other.teach(task)
    columns = [c for group in groups for c in group]
    for modality in UNIMODAL:
        one, same = problem.method.of(modality), other.method.of(modality)
        same.use(int(one.chosen))
    other.method.solve()
    for modality in UNIMODAL:
        wanted = problem.method.of(modality).weights[:, columns]
        torch.testing.assert_close(other.method.of(modality).weights, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["one clip per class", "one source per class", "nothing"])
def test_without_evidence_the_plainest_view_is_used(case):
    number = 1 if case == "one clip per class" else 4
    labels = [(c,) for c in range(3) for _ in range(number)]
    sources = None if number == 1 else [f"{c}" for (c,) in labels]
    problem = Problem(labels, sources, [[0, 1, 2]])
    problem.teach(0, new=[] if case == "nothing" else None)
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        assert float(one.evidence) == 0
        assert one.setting == dataclasses.replace(
            one.settings[0], view=View(pooling="tokens", contrast=0.0, saliency=2.0)
        )
        assert not one.losses[one.losses.isfinite()].any()


def test_a_class_without_evidence_counts_for_nothing():
    """The third class has a single clip, so that two classes are scored."""
    labels = [(0,)] * 5 + [(1,)] * 5 + [(2,)]
    problem = Problem(labels, None, [[0, 1, 2]])
    problem.teach(0)
    assert float(problem.method.audio.evidence) == 2
    check_tallies(problem, "audio", tasks=(0,))


def test_of_settings_that_cannot_be_distinguished_the_first_is_used():
    """In clips of one repeated token, all poolings by a mean are the same, and so is contrast 0."""
    options = {
        **{"width": 24, "precision": "float64", "pooling": ["mean", "tokens"]},
        **{"contrast": [0.0], "saliency": [0.0, 2.0], "token_share": [0.0], "num_single": 2},
        **{"ridge": [5.0], "assignment_temperature": [None], "temperature": [0.1]},
        "count_power": [0.5],
    }
    for poolings in (["mean", "tokens"], ["tokens", "mean"]):
        problem = small(options={**options, "pooling": poolings})
        inner = problem.source.read
        problem.source = ArraySource(
            lambda i, read=inner: read(i)[0][:, :1].repeat(1, 3, 1).numpy(),
            lambda i, read=inner: read(i)[1][:, :1].repeat(1, 4, 1).numpy(),
            0,
        )
        problem.teach(0)
        for modality in UNIMODAL:
            one = problem.method.of(modality)
            finite = one.losses[one.losses.isfinite()]
            torch.testing.assert_close(finite, finite[:1].expand_as(finite), rtol=1e-9, atol=0)
            assert float(one.evidence) == 3
            assert one.setting.view.pooling == poolings[0]


def test_identical_clips_choose_without_failing():
    problem = small()
    problem.rows[:] = 0
    problem.teach(0)
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        assert one.losses.flatten()[0].isfinite()
        assert one.losses.flatten()[int(one.chosen)].isfinite()


def test_little_evidence_keeps_the_default_and_more_of_the_same_replaces_it():
    one = small(options={**CANDIDATES, "caution": 1.0}).method.audio
    better = 5
    differences = torch.tensor([-1.0, 0.5, -0.8, 0.4], dtype=torch.float64)  # in favour, just
    for times in range(1, 40):
        one.losses.flatten()[0] += 10.0
        one.losses.flatten()[1:] += 20.0
        one.squares.flatten()[1:] += 100.0
        one.losses.flatten()[better] += differences.sum() - 10.0
        one.squares.flatten()[better] += differences.square().sum() - 100.0
        one.evidence += 1
        one.choose()
        # The standard error grows with the root of the number of clips, the difference with it.
        convincing = times * -differences.sum() > (times * differences.square().sum()).sqrt()
        assert int(one.chosen) == (better if convincing else 0)
    assert int(one.chosen) == better


def test_a_default_that_is_singular_is_replaced():
    one = small().method.audio
    one.losses.flatten()[1:] += torch.linspace(2.0, 1.0, one.losses.numel() - 1)
    one.losses.flatten()[0] = one.squares.flatten()[0] = math.inf
    one.evidence += 1
    one.choose()
    assert int(one.chosen) == int(one.losses.argmin()) != 0


PAIRS = ("contrast", "saliency")


@pytest.mark.parametrize("name", sorted(set(CANDIDATES) - {"width", "num_single", "precision"}))
def test_lists_without_different_values_are_refused(name):
    with input_error("bad-value", name, "different values"):
        toy_method("cign_analytic", {**CANDIDATES, name: []})
    repeated = {one: [CANDIDATES[one][0]] * 2 for one in (PAIRS if name in PAIRS else [name])}
    with input_error("bad-value", name, "different"):
        toy_method("cign_analytic", {**CANDIDATES, **repeated})


@pytest.mark.parametrize("most", [1, 8, 15])
def test_a_bound_on_the_clips_that_select(most):
    classes = [0] * 20 + [1] * 6 + [2] * 4
    sources = [(f"recording {n // 2}",) for n in range(len(classes))]
    sets = chosen_clips(classes, sources, most, math.inf)
    read = {clip for one in sets for clip in one.clips}
    assert len(sets) >= 1
    assert len(read) <= max(most, 2)
    counts = np.bincount([classes[one.scored[0]] for one in sets], minlength=3)
    assert counts.max() - counts.min() <= 1  # evenly over classes
    # The choice depends on the names of sources alone.
    order = np.random.default_rng(0).permutation(len(classes))
    again = chosen_clips([classes[i] for i in order], [sources[i] for i in order], most, math.inf)
    named = {sources[one.scored[0]] for one in sets}
    assert named == {sources[order[one.scored[0]]] for one in again}


def test_no_clip_selects_if_none_may():
    problem = small(options={**CANDIDATES, "most_selecting": 0})
    problem.teach(0)
    assert float(problem.method.audio.evidence) == 0
    assert problem.method.audio.setting.view.contrast == 0


def test_a_run_resumed_in_a_later_task_has_the_same_tallies(tmp_path):
    options = {**CANDIDATES, "batch_size": 3}
    whole = toy_loop("cign_analytic", options=options, num_tasks=3)
    whole.run()
    stopped = toy_loop(
        "cign_analytic",
        options=options,
        num_tasks=3,
        folder=tmp_path,
        checkpoint_every_s=0.0,
        stop_after=9,
    )
    stopped.run()
    assert float(stopped.method.audio.evidence) > 0
    resumed = toy_loop("cign_analytic", options=options, num_tasks=3, folder=tmp_path)
    resumed.predictions = Predictions.load(resumed.predictions_path)
    resumed.resume()
    resumed.run()
    state = whole.method.state_dict()
    assert {"audio.losses", "visual.evidence", "audio.chosen"} <= set(state)
    for name, value in resumed.method.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_removed_class_leaves_tallies_and_settings():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    method = copy.deepcopy(problem.method)
    method.remove_class(1)
    for modality, losses in tallies(problem.method).items():
        assert torch.equal(method.of(modality).losses, losses)
        assert method.of(modality).setting == problem.method.of(modality).setting
    before = {m: problem.method.class_tokens(m) for m in UNIMODAL}
    method.solve()
    rest = [0, 2, 3, 4, 5]
    for modality in UNIMODAL:
        weights = problem.method.of(modality).weights[:, rest]
        torch.testing.assert_close(method.of(modality).weights, weights, rtol=0, atol=1e-6)
        assert method.class_tokens(modality).shape == (before[modality].shape[0], 5)


def test_selected_settings_classify_better_than_a_bad_default():
    """A ridge strength far too high is left for a better one as soon as there are clips."""
    options = {**FIXED["cign_analytic"], "width": 60, "ridge": [1e6, 1.0], "temperature": [0.1]}
    loop = toy_loop("cign_analytic", options=options, num_tasks=3)
    loop.run()
    for modality in UNIMODAL:
        assert loop.method.ridge_of(modality) == 1.0


def test_a_ridge_that_is_singular_without_some_clips_is_not_selected():
    options = {**CANDIDATES, "width": 200, "ridge": [1e-300, 1.0]}
    problem = small(options=options)
    problem.teach(0)
    for modality in UNIMODAL:
        assert problem.method.ridge_of(modality) == 1.0


def test_an_unknown_value_is_refused_by_name():
    with pytest.raises(InputError, match="pooling"):
        toy_method("cign_analytic", {**CANDIDATES, "pooling": ["median"]})


def several_times(problem, numbers, **changes):
    """The same problem with as many copies of each clip, which share its source."""
    rows = np.repeat(np.arange(len(problem.rows)), numbers)
    clips = problem.clips
    found = Problem(
        [(0,)] * len(rows),
        [" + ".join(clips.sources[i]) for i in rows],
        [list(range(6))],
        **changes,
    )
    found.rows = problem.rows[rows]
    found.clips = replace(
        clips,
        targets=clips.targets[rows],
        task_of_clip=clips.task_of_clip[rows],
        arrival=clips.arrival[rows],
        sources=found.clips.sources,
        hashes=clips.hashes[rows],
    )
    return found


def one_task(**how):
    counts = (9, 4, 6, 5, 8, 4)
    labels = [(c,) for c, number in enumerate(counts) for _ in range(number)]
    return Problem(labels, [f"r {n // 2}" for n in range(len(labels))], [list(range(6))], **how)


def assert_same_tallies(found, wanted):
    for modality in UNIMODAL:
        mine, theirs = found.of(modality), wanted.of(modality)
        assert torch.equal(mine.losses.isfinite(), theirs.losses.isfinite())
        for name in ("losses", "squares"):
            pair = (getattr(one, name).nan_to_num(posinf=0.0) for one in (mine, theirs))
            torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-12)
        assert mine.evidence == theirs.evidence
        assert mine.setting == theirs.setting or mine.settings != theirs.settings


def test_losses_of_a_weight_are_those_of_copies():
    problem = one_task()
    numbers = np.arange(len(problem.rows)) % 3 + 1
    copies = several_times(problem, numbers)
    problem.clips = replace(problem.clips, weights=numbers.astype(np.float64))
    assert_same_tallies(problem.teach(0), copies.teach(0))


def test_losses_of_shares_are_those_of_copies_with_each_label():
    problem = one_task()
    targets = problem.clips.targets
    other = np.roll(targets, 1, axis=1)
    ten_times = {**CANDIDATES, "ridge": [10 * ridge for ridge in CANDIDATES["ridge"]]}
    copies = several_times(problem, np.full(len(problem.rows), 10), options=ten_times)
    number = np.arange(10 * len(problem.rows)) % 10
    each = np.where((number < 7)[:, None], copies.clips.targets, np.repeat(other, 10, axis=0))
    copies.clips = replace(copies.clips, targets=each)
    shares = 0.7 * targets + 0.3 * other
    problem.clips = replace(problem.clips, targets=targets | other, shares=shares)
    assert_same_tallies(problem.teach(0), copies.teach(0))


def test_background_does_not_select_but_is_left_out_with_its_source():
    """The losses are those of training without a clip's source, of which background is a part."""
    problem = one_task()
    background = np.arange(len(problem.rows)) % 4 == 1  # the second clip of every other source
    targets = problem.clips.targets & ~background[:, None]
    arrival = np.zeros(len(targets), dtype=np.int64)
    problem.clips = replace(problem.clips, targets=targets, background=background, arrival=arrival)
    method = problem.teach(0)
    for modality in UNIMODAL:
        found, _ = explicit(problem, modality, tasks=(0,))
        np.testing.assert_allclose(method.of(modality).losses.flatten(), found, rtol=1e-6)


def test_losses_are_recorded_of_the_clips_that_have_them():
    problem = one_task()
    background = np.arange(len(problem.rows)) % 3 == 0
    sources = tuple((f"own {n}",) for n in range(len(background)))
    problem.clips = replace(
        problem.clips,
        targets=problem.clips.targets & ~background[:, None],
        background=background,
        sources=sources,
    )
    records = problem.teach(0).records
    assert sorted(records.scored.tolist()) == np.flatnonzero(~background).tolist()
    labels = dict(zip(records.label_clips.tolist(), records.label_classes.tolist(), strict=True))
    assert labels == {n: problem.clips.targets[n].argmax() for n in np.flatnonzero(~background)}
