"""Two classes made one: the model of learning their clips with one label, without any clip."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from cign.methods.joining import join_columns
from cign.methods.sums import use_settings_of
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.versions import list_versions, publish, undo
from cign.updating.class_joining import join_classes
from cign.vocabulary import MODALITIES, UNIMODAL
from refusals import input_error
from scored_tasks import Problem, small
from summed import model_of, relative
from toy_model import NAMES, same_answers, scores, toy_model

FIRST, SECOND = 4, 1


def check_same(found, wanted):
    """The sums and solutions of two methods, to 1e-12 of the largest entry."""
    assert torch.equal(found.class_clips, wanted.class_clips)
    assert found.class_counts == wanted.class_counts
    for modality in UNIMODAL:
        mine, theirs = found.of(modality), wanted.of(modality)
        for one, other in zip(mine.statistics, theirs.statistics, strict=True):
            for kind in one.kinds:
                lower = [torch.tril(getattr(x, f"{kind}_gram")) for x in (one, other)]
                assert relative(*lower) <= 1e-12
                crosses = [getattr(x, f"{kind}_cross") for x in (one, other)]
                assert relative(*crosses) <= 1e-12
        assert relative(mine.weights, theirs.weights) <= 1e-6  # float32


def joined(labels):
    return [tuple(dict.fromkeys(SECOND if c == FIRST else c for c in some)) for some in labels]


def taught(labels, sources, groups, like=None, **how):
    problem = Problem(labels, sources, groups, **how)
    if like is not None:
        problem.rows[:] = like.rows  # the same tokens, whatever the labels
    for task in range(len(groups)):
        problem.teach(task)
    return problem


@pytest.mark.parametrize("multi_label", [False, True])
def test_it_is_the_model_of_learning_the_joined_label(multi_label):
    labels = [(n % 6,) for n in range(40)]
    if multi_label:
        labels += [(c, (c + 1) % 3) for c in (0, 2, 0)] + [(3, 5), (4, 5), (4, 0)]
    sources = [f"recording {n // 2}" for n in range(len(labels))]
    how = {"multi_label": multi_label}
    problem = taught(labels, sources, [[0, 1, 2], [3, 4, 5]], **how)
    found = problem.method
    join_columns(found, FIRST, SECOND)
    found.solve()
    wanted = taught(joined(labels), sources, [[0, 1, 2], [3, 5]], problem, **how).method
    use_settings_of(wanted, found)
    wanted.solve()
    check_same(found, wanted)
    audio, visual = problem.source.read(np.arange(len(labels)))
    with torch.no_grad():
        one, other = (method(audio, visual).probabilities for method in (found, wanted))
    for modality in MODALITIES:
        assert (one[modality] - other[modality]).abs().max() <= 1e-5
    # The records hold the joined label of each clip, in any order of the clips.
    rows = np.arange(len(labels))
    targets = {
        bytes(content): tuple(target)
        for content, target in zip(
            wanted.records.hashes.numpy(), wanted.records.shares(rows, 5).tolist(), strict=True
        )
    }
    for content, target in zip(
        found.records.hashes.numpy(), found.records.shares(rows, 5).tolist(), strict=True
    ):
        assert tuple(target) == targets[bytes(content)]


def test_the_settings_stay_and_later_forgetting_leaves_no_tally():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    method = problem.method
    before = {m: method.of(m).setting for m in UNIMODAL}
    evidence = float(method.audio.evidence)
    join_columns(method, FIRST, 5)  # both of the second task: one class less was measured
    assert {m: method.of(m).setting for m in UNIMODAL} == before
    assert float(method.audio.evidence) == evidence - 1
    method.records.check(method.num_classes)


def test_a_clip_with_shares_of_both_has_one_label():
    problem = taught([(n % 6,) for n in range(24)], None, [[0, 1, 2], [3, 4, 5]])
    records = copy.deepcopy(problem.method.records)
    row = int(records.label_clips[records.label_classes == FIRST][0])
    records.label_clips = torch.cat([records.label_clips, torch.tensor([row])])
    records.label_classes = torch.cat([records.label_classes, torch.tensor([SECOND])])
    records.label_shares[records.label_clips[:-1] == row] = 0.75
    records.label_shares = torch.cat([records.label_shares, torch.tensor([0.25]).double()])
    records.label_usable = torch.cat([records.label_usable, torch.tensor([True])])
    problem.method.records = records
    join_columns(problem.method, FIRST, SECOND)
    (share,) = records.label_shares[records.label_clips == row]
    assert float(share) == 1.0


def test_validation_clips_history_thresholds_and_undo(tmp_path):
    model = toy_model()
    place = tmp_path / "model"
    save_model(model, place)
    before = scores(model)
    changed, told = join_classes(model, NAMES[4], NAMES[1])
    assert changed.groups == (("class 0", "class 1"), ("class 2", "class 3"), ("class 5",))
    assert changed.kept.counts()[NAMES[1]] == 4
    assert NAMES[4] not in changed.kept.counts()
    total = model.method.class_clips[[1, 4]].sum()
    assert told.num_clips == float(total) == float(changed.method.class_clips[1])
    # Before, an answer of either class is right; so joining cannot look like a gain by itself.
    assert told.effect.num_clips == model.kept.num_clips
    assert same_answers(scores(model), before)
    publish(changed, place)
    assert same_answers(scores(load_model(place)), scores(changed))
    assert list_versions(place)[-1].text == "joined class 4 to class 1"
    undo(place)
    assert same_answers(scores(load_model(place)), before)


def test_the_effect_counts_either_class_before():
    model = toy_model()
    _, told = join_classes(model, NAMES[4], NAMES[1])
    audio, visual = model.kept.audio.float(), model.kept.visual.float()
    with torch.no_grad():
        answers = model.method.predict(audio, visual).probabilities["audio_visual"].argmax(dim=1)
    one = {NAMES[4]: NAMES[1]}
    named = [one.get(model.classes[c], model.classes[c]) for c in answers.tolist()]
    wanted = [one.get(some[0], some[0]) for some in model.kept.labels]
    percent = 100 * np.mean([a == b for a, b in zip(named, wanted, strict=True)])
    assert told.effect.before == pytest.approx(percent)


def test_what_cannot_be_joined():
    model = toy_model()
    with input_error("bad-value", "twice"):
        join_classes(model, NAMES[0], NAMES[0])
    with input_error("unknown-name", "'odd'"):
        join_classes(model, NAMES[0], "odd")
    with input_error("unknown-name", "'odd'"):
        join_classes(model, "odd", NAMES[0])


def test_classes_that_clips_have_together_are_refused():
    labels = [(n % 6,) for n in range(24)] + [(FIRST, SECOND)]
    method = taught(labels, None, [[0, 1, 2], [3, 4, 5]], multi_label=True).method
    groups = (tuple(NAMES[:3]), tuple(NAMES[3:]))
    model = dataclasses.replace(model_of((0, 1), kept=False), method=method, groups=groups)
    with input_error("unsupported", "1 clip has both", "cign add --replace"):
        join_classes(model, NAMES[FIRST], NAMES[SECOND])
    method.class_clips = method.class_clips + 1  # as if some clips had no record
    with input_error("unsupported", "does not record"):
        join_classes(model, NAMES[FIRST], NAMES[0])


def test_the_command_joins_and_tells_the_effect(tmp_path, cign):
    save_model(toy_model(), tmp_path / "model")
    code, out, _ = cign("rename", tmp_path / "model", NAMES[4], NAMES[1], "--merge")
    assert code == 0
    assert "class 1: " in out
    assert "with those of class 4" in out
    assert "12 clips for validation: accuracy" in out
    assert NAMES[4] not in load_model(tmp_path / "model").classes
    code, _, error = cign("rename", tmp_path / "model", NAMES[0], NAMES[1])
    assert code != 0
    assert "--merge" in error
    code, _, error = cign("rename", tmp_path / "model", NAMES[0], "new", "--merge")
    assert code != 0
    assert "'new'" in error
