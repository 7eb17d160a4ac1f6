"""Changing a model in memory: names, removed classes, clips of several labels, what is kept."""

import dataclasses

import numpy as np
import pytest
import torch

from cign.data.batches import ArraySource
from cign.errors import InputError
from cign.methods.cign_analytic import CignAnalytic
from cign.networks.token_ridge import TokenStatistics
from cign.open_set.rule import UnknownRule
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.validation_clips import choose_kept, joined
from cign.training.scoring import score_clips
from cign.updating.edits import add_clips, remove_class, rename_class
from cign.updating.new_classes import check_name
from refusals import input_error, run_error
from summed import hashes_of, listed
from toy import toy_loop, toy_tokens
from toy_model import NAMES, same_answers, scores, toy_kept, toy_model


@pytest.fixture
def model():
    return toy_model()


def test_a_removed_class_leaves_the_others_as_they_were(model):
    without = remove_class(model, "class 2")
    assert without.groups == (("class 0", "class 1"), ("class 3",), ("class 4", "class 5"))
    assert without.method.class_counts == [2, 1, 2]
    assert {name for names in without.kept.labels for name in names} == set(without.classes)
    rest = [0, 1, 3, 4, 5]
    for modality in ("audio", "visual"):
        weights = model.method.of(modality).weights
        assert torch.equal(without.method.of(modality).weights, weights[:, rest])
        old, new = model.method.of(modality).statistics, without.method.of(modality).statistics
        for before, after in zip(old, new, strict=True):
            assert isinstance(after, TokenStatistics)
            for kind in before.kinds:  # all of the Gram matrices stays
                sums, cross = f"{kind}_gram", f"{kind}_cross"
                assert torch.equal(getattr(before, sums), getattr(after, sums))
                assert torch.equal(getattr(before, cross)[:, rest], getattr(after, cross))
    assert torch.equal(without.method.class_clips, model.method.class_clips[rest])
    assert model.method.num_classes == 6
    assert scores(without)["audio"].shape[1] == 5


def test_without_validation_clips_a_removed_class_leaves_no_threshold(model):
    kept = model.kept
    only = kept.without_rows([r for r, names in enumerate(kept.labels) if "class 0" not in names])
    alone = dataclasses.replace(model, kept=only)
    assert alone.unknown.thresholds
    removed = remove_class(alone, "class 0")
    assert removed.kept is None
    assert removed.unknown == UnknownRule()


def test_a_task_all_of_whose_classes_are_gone_keeps_its_place(model, tmp_path):
    less = remove_class(remove_class(model, "class 2"), "class 3")
    assert less.groups == (("class 0", "class 1"), (), ("class 4", "class 5"))
    save_model(less, tmp_path / "less")
    again = load_model(tmp_path / "less")
    assert again.groups == less.groups
    assert same_answers(scores(again), scores(less))


def test_classes_that_cannot_be_renamed_or_removed(model):
    with input_error("name-taken", "'class 1'"):
        rename_class(model, "class 0", "class 1")
    with input_error("unknown-name", "'odd'", "class 0, class 1"):
        rename_class(model, "odd", "even")
    with input_error("unknown-name", "class", "'odd'"):
        remove_class(model, "odd")
    for name in NAMES[1:]:
        model = remove_class(model, name)
    with input_error("unsupported", "'class 0'"):
        remove_class(model, "class 0")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b", "contains a slash"),
        ("a\\b", "contains a slash"),
        ("a\nb", "a line break"),
        ("a|b", "contains a slash, '|'"),
        ("x" * 300, "has 300 characters"),
        ("", "is empty"),
        (" a", "starts or ends with a blank"),
        ("..", "a dot"),
    ],
)
def test_names_that_are_refused(name, problem, model):
    with pytest.raises(InputError, match=problem) as error:
        rename_class(model, "class 0", name)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)
    assert check_name("Bjørk's  «水» (2)") == "Bjørk's  «水» (2)"


def test_singular_sums_leave_the_model_as_it_was(model, monkeypatch):
    monkeypatch.setattr(CignAnalytic, "ridge_of", lambda *_: 0.0)
    before = {name: value.clone() for name, value in model.method.state_dict().items()}
    for sums in model.method.visual.statistics.buffers():
        sums.zero_()
    before |= {name: x.clone() for name, x in model.method.state_dict().items() if "visual" in name}
    with run_error("singular"):
        add_clips(model, FakeClips())
    after = model.method.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.classes == tuple(NAMES)


class FakeClips:
    """Three clips of a new class, without a store."""

    notes, order, list_hash = (), ("new",), "0"
    clips, hashes = tuple(listed(row, "new") for row in range(3)), hashes_of("abc")
    learned, validation, kept = np.arange(3), np.zeros(0, int), np.zeros(0, int)

    source = ArraySource(lambda i: toy_tokens()[1][i], lambda i: toy_tokens()[2][i], 0)


def test_kept_clips_are_the_first_five_of_each_class():
    labels = [("a",)] * 7 + [("b",)] * 2 + [("a", "b")]
    found = choose_kept(labels, np.arange(10), {})
    assert found.tolist() == [0, 1, 2, 3, 4, 7, 8, 9]
    assert choose_kept(labels, np.arange(10), {"a": 3, "b": 5}).tolist() == [0, 1]
    kept = toy_kept()
    both = joined(kept, kept)
    assert both.num_clips == 24
    assert joined(None, kept) is kept
    assert joined(None, None) is None
    assert kept.without(NAMES[0]).num_clips == 10
    assert dict(both.renamed(NAMES[0], "zero").counts())["zero"] == 4
    audio, visual = kept.audio.numpy(), kept.visual.numpy()
    for tokens in zip(audio, visual, strict=True):
        assert kept.holds(*tokens)
        assert kept.holds(*(part.astype(np.float32) * 1.004 for part in tokens))
        assert not kept.holds(*(part.astype(np.float32) * 1.02 for part in tokens))
        assert not kept.holds(tokens[0][::-1], tokens[1][::-1])  # its means are the same
    assert not kept.holds(audio[0], visual[1])
    assert score_clips_of(kept).shape == (12, 6)


def score_clips_of(kept):
    loop = toy_loop("analytic", options={"width": 20}, num_tasks=1)
    loop.run()
    return score_clips(loop.method, kept.source, np.arange(kept.num_clips))["audio"]


class SeveralLabels(FakeClips):
    """Clips of a class that is known and one that is not."""

    clips = tuple(listed(row, "class 1", "new") for row in range(3))


def test_clips_of_several_labels_are_learned_where_a_model_has_them(model):
    with input_error("unsupported", "class 1|new"):
        add_clips(model, SeveralLabels())
    model.method.setup = dataclasses.replace(model.method.setup, multi_label=True)
    changed, addition = add_clips(model, SeveralLabels())
    assert changed.classes == (*NAMES, "new")
    assert (addition.new, addition.known) == ({"new": 3}, {"class 1": 3})
    counts = changed.method.class_clips - torch.cat([model.method.class_clips, torch.zeros(1)])
    assert counts.tolist() == [0, 3, 0, 0, 0, 0, 3]
    assert addition.cost.num_clips == 12
    assert changed.changes[0]["text"] == "added new, 3 more clips of class 1"


@pytest.mark.parametrize("several", [False, True])
def test_an_addition_leaves_the_model_it_was_given_as_it_was(several, model):
    before, answers = model.classes, scores(model)
    clips = FakeClips()
    if several:
        model.method.setup = dataclasses.replace(model.method.setup, multi_label=True)
        answers, clips = scores(model), SeveralLabels()
    add_clips(model, clips)
    assert model.classes == before
    assert same_answers(scores(model), answers)
    assert model.changes == ()
    assert model.unknown_threshold == 0.5


def test_a_class_is_found_however_its_accent_is_written():
    model = rename_class(toy_model(), NAMES[0], "cafe\u0301")
    assert model.classes[0] == "caf\u00e9"
    assert remove_class(model, "cafe\u0301").classes == tuple(NAMES[1:])
    with input_error("name-taken", "'café'"):
        rename_class(model, NAMES[1], "cafe\u0301")
