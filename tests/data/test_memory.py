import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget, herding_order
from cign.errors import InputError
from refusals import input_error


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("0", 0, "total"),
        ("120", 120, "total"),
        ("20/class", 20, "class"),
        ("64MB", 64_000_000, "bytes"),
        ("5kb", 5_000, "bytes"),
    ],
)
def test_budgets_are_read(text, amount, unit):
    assert MemoryBudget.parse(text) == MemoryBudget(amount, unit)


@pytest.mark.parametrize("text", ["", "-3", "many", "20/task", "1.5", "64 M"])
def test_other_budgets_are_refused(text):
    with input_error("bad-value", "memory", "20/class"):
        MemoryBudget.parse(text)


def test_total_is_shared_out_with_the_rest_to_the_first():
    assert MemoryBudget.parse("11").quotas(4, 1).tolist() == [3, 3, 3, 2]
    assert MemoryBudget.parse("3/class").quotas(4, 1).tolist() == [3, 3, 3, 3]
    assert MemoryBudget.parse("1kB").quotas(4, 100).tolist() == [3, 3, 2, 2]


def test_memory_too_small_for_the_classes_is_refused_with_a_remedy():
    with pytest.raises(InputError, match="fewer than one for each of 4 classes: use at least 4"):
        MemoryBudget.parse("3").quotas(4, 1)


def naive_herding(features):
    """Algorithm 4 of iCaRL, read literally: at each step try every sample that is left."""
    x = [f / (np.linalg.norm(f) or 1.0) for f in features.astype(float)]
    mean = sum(x) / len(x)
    chosen = []
    while len(chosen) < len(x):
        left = [i for i in range(len(x)) if i not in chosen]
        k = len(chosen) + 1
        errors = [np.linalg.norm(mean - sum(x[j] for j in [*chosen, i]) / k) for i in left]
        chosen.append(left[int(np.argmin(errors))])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_matches_a_literal_reading(seed):
    features = np.random.default_rng(seed).normal(size=(12, 5)).astype(np.float32)
    assert herding_order(features).tolist() == naive_herding(features)


@pytest.mark.parametrize("zeros", [(0,), (11,), (2, 3, 7), tuple(range(12))])
def test_herding_with_features_of_zero(zeros):
    features = np.random.default_rng(7).normal(size=(12, 5)).astype(np.float32)
    features[list(zeros)] = 0.0
    order = herding_order(features)
    assert order.tolist() == naive_herding(features)
    assert np.isfinite(order).all()
    assert herding_order(features, 3).tolist() == order[:3].tolist()


@given(
    st.integers(1, 5), st.integers(1, 4), st.sampled_from(["herding", "random"]), st.integers(0, 3)
)
def test_budget_is_never_exceeded_and_lists_only_shrink(num_tasks, per_task, selection, seed):
    memory = ExemplarMemory(MemoryBudget.parse("23"), selection=selection, seed=seed)
    rng = np.random.default_rng(seed)
    before = {}
    for task in range(num_tasks):
        first = task * per_task
        candidates = {
            c: 100 * c + np.arange(rng.integers(1, 30)) for c in range(first, first + per_task)
        }
        num_classes = first + per_task
        memory.update(
            candidates, num_classes, 1, lambda i: rng.normal(size=(len(i), 3)).astype("f4")
        )
        assert len(memory.indices) <= 23
        assert set(memory.by_class) == set(range(num_classes))
        for c, kept in before.items():
            assert memory.by_class[c].tolist() == kept[: len(memory.by_class[c])]
        before = {c: clips.tolist() for c, clips in memory.by_class.items()}
        assert all((clips // 100 == c).all() for c, clips in memory.by_class.items())


def test_random_choice_depends_on_seed_and_class_only():
    def choose(seed, order):
        memory = ExemplarMemory(MemoryBudget.parse("3/class"), selection="random", seed=seed)
        for c in order:
            memory.update({c: np.arange(20)}, 2, 1, lambda i: np.zeros((len(i), 2), np.float32))
        return {c: memory.by_class[c].tolist() for c in (0, 1)}

    assert choose(1, [0, 1]) == choose(1, [1, 0])
    assert choose(1, [0, 1]) != choose(2, [0, 1])


def test_no_budget_keeps_nothing():
    memory = ExemplarMemory(MemoryBudget.parse("0"))
    memory.update({0: np.arange(5)}, 1, 1, lambda i: np.zeros((len(i), 2), np.float32))
    assert len(memory.indices) == 0


def test_unknown_selection_is_named():
    with input_error("unknown-name", "exemplar selection", "'best'", "herding"):
        ExemplarMemory(MemoryBudget.parse("3"), selection="best")


def test_herding_stops_at_the_quota_and_agrees_on_ties():
    features = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    features[20:] = features[:20]  # each sample twice
    features[5] = features[25] = 0.0
    whole = herding_order(features)
    assert sorted(whole) == list(range(40))
    for count in (0, 1, 7, 40, 50):
        assert herding_order(features, count).tolist() == whole[:count].tolist()
    position = {sample: place for place, sample in enumerate(whole)}
    assert all(position[sample] < position[sample + 20] for sample in range(20))


def test_memory_orders_no_more_than_its_quota():
    memory = ExemplarMemory(MemoryBudget.parse("3/class"))
    features = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    memory.update({0: np.arange(100, 130)}, 1, 1, lambda i: features[i - 100])
    assert memory.by_class[0].tolist() == (100 + herding_order(features)[:3]).tolist()


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_a_class_without_counted_clips_gets_no_exemplars(selection):
    """With several labels per clip, all clips of a class may count for another one."""
    memory = ExemplarMemory(MemoryBudget.parse("2/class"), selection)
    nothing = np.zeros(0, dtype=np.int64)

    def features(clips):
        assert len(clips), "features of no clip"
        return np.ones((len(clips), 3), dtype=np.float32)

    memory.update({0: np.array([4, 5, 6]), 1: nothing}, 2, 1, features)
    assert {c: len(clips) for c, clips in memory.by_class.items()} == {0: 2}
    assert set(memory.indices.tolist()) <= {4, 5, 6}
