"""Any sequence of additions, merges, solutions and forgetting equals learning what is left."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cign.data.batches import ArraySource
from cign.data.media.decode import MediaSpec
from cign.methods.recorded_clips import RecordedClips
from cign.methods.sums import use_settings_of
from cign.saved_model.model import Model
from cign.updating.edits import add_clips
from cign.updating.forgetting import forget_recorded
from cign.updating.learned_clips import ClipsToForget
from cign.updating.merging import merge_models
from cign.updating.resolving import resolve_model
from cign.vocabulary import MODALITIES, UNIMODAL
from summed import NUM_CLASSES, batch, clips, hashes_of, listed
from toy import FIXED, toy_method

NUM_MODELS = 3
OPTIONS = {
    **FIXED["cign_analytic"],
    "width": 8,
    "ridge": [1.0, 10.0],
    "count_power": [0.5, 0.0],
    "precision": "float64",
}
NAMES = tuple(f"class {c}" for c in range(NUM_CLASSES))
AUDIO, VISUAL, TARGETS = clips(1, 6)
CLASS_OF = TARGETS.argmax(axis=1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Clips:
    """Some of the clips, for an addition."""

    def __init__(self, rows):
        rows = np.array(rows)
        self.source = ArraySource(lambda i: AUDIO[rows[i]], lambda i: VISUAL[rows[i]], 0)
        self.clips = [listed(row, NAMES[CLASS_OF[row]]) for row in rows]
        self.order, self.notes, self.list_hash = NAMES, (), "0"
        self.hashes = hashes_of(rows)
        self.learned, self.kept = np.arange(len(rows)), np.zeros(0, dtype=np.int64)
        self.validation = self.kept


def learned(rows, classes, like=None):
    """A model that learned clips at once, with the settings of another one."""
    method = toy_method("cign_analytic", OPTIONS).eval()
    columns = [NAMES.index(name) for name in classes]
    method.grow(len(classes))
    method.absorb(batch(AUDIO[rows], VISUAL[rows], TARGETS[rows][:, columns]))
    clips = RecordedClips(hashes=hashes_of(rows), shares=TARGETS[rows][:, columns])
    method.records.add(clips, None)
    if like is not None:
        method.options = copy.deepcopy(like.options)
        for modality in UNIMODAL:
            method.of(modality).extend(method.options)
        use_settings_of(method, like)
    method.solve()
    return Model(
        method=method,
        groups=(tuple(classes),),
        regime="frozen",
        backbone="small",
        fingerprint="f",
        spec=MediaSpec(),
    )


def forgotten(model, rows):
    """A model without some clips."""
    at = model.method.records.rows_of(hashes_of(rows))
    known = {one.tobytes(): row for row, one in enumerate(hashes_of(range(len(AUDIO))))}
    where = [known[model.method.records.hashes[row].numpy().tobytes()] for row in at]
    source = ArraySource(lambda i: AUDIO[i], lambda i: VISUAL[i], 0)
    chosen = ClipsToForget(
        rows=at,
        indices=np.array(where, dtype=np.int64),
        validation=np.zeros(0, dtype=np.int64),
        num_left_out=0,
    )
    return forget_recorded(model, chosen, source)[0]


def by_name(model, rows=slice(None)):
    """Probabilities of clips for each class name."""
    with torch.no_grad():
        found = model.method(torch.from_numpy(AUDIO[rows]), torch.from_numpy(VISUAL[rows]))
    order = np.argsort(model.classes)
    return {m: found.probabilities[m][:, order] for m in MODALITIES}


def assert_same(found, wanted):
    """Same sums, counts and predictions, whatever the order of the classes."""
    assert sorted(found.classes) == sorted(wanted.classes)
    columns = [wanted.classes.index(name) for name in found.classes]
    assert torch.equal(found.method.class_clips, wanted.method.class_clips[columns])
    for modality in UNIMODAL:
        mine, theirs = found.method.of(modality), wanted.method.of(modality)
        assert mine.setting == theirs.setting
        for one, other in zip(mine.statistics, theirs.statistics, strict=True):
            for kind in one.kinds:
                gram = torch.tril(getattr(other, f"{kind}_gram"))
                cross = getattr(other, f"{kind}_cross")[:, columns]
                error = torch.tril(getattr(one, f"{kind}_gram")) - gram
                assert error.abs().max() <= 1e-12 * gram.abs().max()
                error = getattr(one, f"{kind}_cross") - cross
                assert error.abs().max() <= 1e-12 * cross.abs().max()
    first, second = by_name(found), by_name(wanted)
    for modality in MODALITIES:
        assert (first[modality] - second[modality]).abs().max() <= 1e-4


rows = st.lists(st.integers(0, len(AUDIO) - 1), min_size=1, max_size=6)
models = st.integers(0, NUM_MODELS - 1)
strengths = st.sampled_from([1.0, 2.5, 10.0, 300.0])  # two of them are no candidates
steps = st.one_of(
    st.tuples(st.just("add"), models, rows),
    st.tuples(st.just("merge"), models, models, st.sampled_from("AB")),
    st.tuples(st.just("forget"), models, rows),
    st.tuples(st.just("resolve"), models, st.sampled_from(UNIMODAL), strengths),
    st.tuples(st.just("resolve"), models, st.just("temperature"), st.sampled_from([0.1, 0.4])),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(rows, min_size=NUM_MODELS, max_size=NUM_MODELS), st.lists(steps, max_size=7))
def test_any_sequence_equals_learning_at_once(first, steps):
    known = [list(some) for some in first]
    state = [learned(some, classes_of(some)) for some in known]
    for what, at, *how in steps:
        if what == "add":
            state[at], _ = add_clips(state[at], Clips(how[0]))
            known[at] += how[0]
        elif what == "forget":
            left = [row for row in known[at] if row not in how[0]]
            if left and len(left) < len(known[at]):
                state[at], known[at] = forgotten(state[at], how[0]), left
        elif what == "merge":
            other, whose = how
            state[at], _ = merge_models([state[at], state[other]], whose)
            known[at] = known[at] + known[other]
        else:
            name, value = how
            given = {name: {"ridge": value}} if name in UNIMODAL else {name: value}
            state[at], _ = resolve_model(state[at], given)
    for model, some in zip(state, known, strict=True):
        assert_same(model, learned(some, classes_of(some), model.method))


def classes_of(rows):
    """Names of the classes of clips, in the order of their first clip."""
    return tuple(dict.fromkeys(NAMES[CLASS_OF[row]] for row in rows))


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, min_size=3, max_size=3), st.permutations(range(3)))
def test_merging_is_commutative_and_associative(parts, order):
    one, two, three = (learned(some, classes_of(some)) for some in parts)
    left, _ = merge_models([merge_models([one, two])[0], three])
    right, _ = merge_models([one, merge_models([two, three])[0]])
    shuffled, _ = merge_models([(one, two, three)[i] for i in order])
    assert_same(left, right)
    assert_same(left, shuffled)
    first, second = merge_models([one, two])[0], merge_models([two, one])[0]
    assert_same(first, second)
    columns = [second.classes.index(name) for name in first.classes]
    for modality in UNIMODAL:  # a + b and b + a are equal bit for bit
        assert torch.equal(first.method.cross(modality), second.method.cross(modality)[:, columns])


def test_models_without_a_common_clip_are_as_good_as_one():
    """The check itself tells different clips apart."""
    model = learned([0, 1, 2], classes_of([0, 1, 2]))
    other = learned([0, 1, 3], classes_of([0, 1, 3]))
    with pytest.raises(AssertionError):
        assert_same(model, replace(other, groups=other.groups))
