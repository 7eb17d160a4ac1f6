"""Forgotten clips: the sums, solutions and tallies are those of never having learned them."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cign.methods.forgetting import forget_clips
from cign.methods.sums import use_settings_of
from cign.vocabulary import MODALITIES, UNIMODAL
from scored_tasks import CANDIDATES, Problem, check_tallies, explicit, small
from summed import hashes_of, relative

NOW_S = 1_700_000_000


def forget_all(problem, clips, **how):
    """Forget clips with weights, uncertain labels and background, as they are recorded."""
    records = problem.method.records
    rows = records.rows_of(hashes_of(clips))
    number_of = {one.tobytes(): n for n, one in enumerate(hashes_of(range(len(problem.rows))))}
    at = np.array([number_of[records.hashes[row].numpy().tobytes()] for row in rows])
    (batch,) = problem.data(1).batches(at)
    shares = records.shares(rows, problem.method.num_classes)
    batch = dataclasses.replace(
        batch,
        targets=shares > 0,
        shares=shares,
        weights=records.weights[rows],
        background=records.background[rows],
    )
    forget_clips(problem.method, [batch], rows.tolist(), time_s=NOW_S, **how)
    problem.method.solve()
    return problem.method


def forget(problem, clips, **how):
    """Forget clips of a problem, given by number."""
    method = problem.method
    rows = method.records.rows_of(hashes_of(clips))
    number_of = {one.tobytes(): n for n, one in enumerate(hashes_of(range(len(problem.rows))))}
    hashes = method.records.hashes[rows].numpy()
    at = np.array([number_of[one.tobytes()] for one in hashes])
    shares = method.records.shares(rows, method.num_classes)

    def batches():
        for part in np.array_split(np.arange(len(at)), 2):
            (batch,) = problem.data(1).batches(at[part])
            yield dataclasses.replace(batch, targets=shares[part] > 0)

    forget_clips(method, batches(), rows.tolist(), time_s=NOW_S, **how)
    method.solve()
    return method


def never_learned(problem, clips, like):
    """A method that learned both tasks without some clips, with the settings of another one."""
    for task in (0, 1):
        own = problem.clips.of_task(np.arange(len(problem.rows)), task)
        problem.teach(task, [i for i in own if i not in clips])
    use_settings_of(problem.method, like)
    problem.method.solve()
    return problem.method


def check_same(found, wanted, tolerance):
    assert torch.equal(found.class_clips, wanted.class_clips)
    for modality in UNIMODAL:
        for one, other in zip(
            found.of(modality).statistics, wanted.of(modality).statistics, strict=True
        ):
            for kind in one.kinds:
                lower = [torch.tril(getattr(x, f"{kind}_gram")) for x in (one, other)]
                assert relative(*lower) <= tolerance
                crosses = [getattr(x, f"{kind}_cross") for x in (one, other)]
                assert relative(*crosses) <= tolerance


GONE = (0, 1, 9, 12, 20, 21, 30)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_the_model_is_that_of_never_having_learned_the_clips(precision):
    options = {**CANDIDATES, "precision": precision}
    problem, other = small(options=options), small(options=options)
    for task in (0, 1):
        problem.teach(task)
    found = forget(problem, GONE)
    wanted = never_learned(other, GONE, found)
    check_same(found, wanted, 1e-12 if precision == "float64" else 1e-6)
    audio, visual = problem.source.read(np.arange(len(problem.rows)))
    with torch.no_grad():
        first, second = (method(audio, visual).probabilities for method in (found, wanted))
    for modality in MODALITIES:
        assert (first[modality] - second[modality]).abs().max() <= 1e-4
        assert torch.equal(first[modality].argmax(dim=1), second[modality].argmax(dim=1))


def test_clips_of_several_labels():
    labels = [(n % 3,) if n % 4 else (n % 3, (n + 1) % 3) for n in range(24)]
    labels += [(3 + n % 3, n % 3) for n in range(9)]
    problems = [Problem(labels, None, [[0, 1, 2], [3, 4, 5]], multi_label=True) for _ in range(2)]
    for task in (0, 1):
        problems[0].teach(task)
    gone = (0, 1, 4, 26, 30)
    found = forget(problems[0], gone)
    check_same(found, never_learned(problems[1], gone, found), 1e-12)


def test_tallies_lose_the_losses_of_the_clips_and_the_others_get_their_weight():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    before = {m: problem.method.of(m).losses.clone() for m in UNIMODAL}
    forget(problem, GONE)
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        check_tallies(problem, modality, rtol=2e-3, forgotten=GONE)  # losses in half precision
        finite = one.losses.isfinite()
        assert ((one.losses - before[modality])[finite].abs() > 1e-3).any()
        assert float(one.evidence) == 6


def test_forgetting_all_clips_of_a_task_leaves_the_tallies_of_the_others():
    problem = small()
    problem.teach(0)
    before = copy.deepcopy(problem.method)
    problem.teach(1)
    forget(problem, problem.clips.of_task(np.arange(len(problem.rows)), 1))
    for modality in UNIMODAL:
        one, was = problem.method.of(modality), before.of(modality)
        finite = was.losses.isfinite()
        torch.testing.assert_close(one.losses[finite], was.losses[finite], rtol=2e-3, atol=1e-9)
        assert torch.equal(one.losses.isfinite(), finite)
        assert float(one.evidence) == float(was.evidence) == 3
        assert not problem.method.class_clips[3:].any()
    assert len(problem.method.records) == len(before.records)
    assert torch.equal(problem.method.records.scored, before.records.scored)


def test_forgetting_everything_leaves_zeros():
    problem = small()
    problem.teach(0)
    forget(problem, problem.clips.of_task(np.arange(len(problem.rows)), 0))
    for modality in UNIMODAL:
        one = problem.method.of(modality)
        for sums in one.statistics.buffers():
            assert sums.abs().max() <= 1e-9
        assert float(one.evidence) == 0
        assert one.losses[one.losses.isfinite()].abs().max() <= 1e-12
        assert int(one.chosen) == one.settings.plainest


def test_without_the_tallies_no_influence_is_left_and_the_default_is_used():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    method = forget(problem, GONE, reset_selection=True)
    for modality in UNIMODAL:
        one = method.of(modality)
        assert not one.losses[one.losses.isfinite()].any()
        assert not one.squares[one.squares.isfinite()].any()
        assert int(one.chosen) == one.settings.plainest
        assert len(getattr(method.records, f"{modality}_losses")) == 0
    assert not method.records.label_usable.any()


def test_settings_set_by_hand_stay():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    problem.method.audio.use(7)
    problem.method.audio.fixed = True
    forget(problem, GONE, reset_selection=True)
    assert int(problem.method.audio.chosen) == 7


def test_only_hash_and_time_of_forgotten_clips_remain():
    problem = small()
    for task in (0, 1):
        problem.teach(task)
    records = problem.method.records
    size = len(records)
    forget(problem, GONE)
    assert len(records) == size - len(GONE)
    assert len(records.rows_of(hashes_of(GONE))) == 0
    assert len(records.rows_of(hashes_of(GONE), forgotten=True)) == len(GONE)
    assert set(records.forgotten_at.tolist()) == {NOW_S}
    rest = [i for i in range(len(problem.rows)) if i not in GONE]
    np.testing.assert_array_equal(
        records.shares(np.arange(len(records)), 6).numpy(), problem.clips.targets[rest]
    )
    state = {
        name: value
        for name, value in problem.method.state_dict().items()
        if not name.startswith("records.forgotten")
    }
    for number in GONE:
        hashed = hashes_of([number])[0].tobytes()
        assert not any(hashed in value.numpy().tobytes() for value in state.values())


def test_records_load_again_when_few_clips_of_many_arrivals_are_left():
    problem = small()
    problem.teach(0, [0, 9, 12])
    for clip in (1, 10, 13, 2):
        problem.method.select(problem.data(0, [clip]))
        problem.method.records.add(problem.data(0, [clip]).identity(np.array([clip])), None)
    records = problem.method.records
    records.drop(records.rows_of(hashes_of([0, 9, 12, 1, 10, 13])).tolist(), NOW_S)
    assert records.arrivals.tolist() == [4]
    other = small().method
    other.grow(3)
    other.make_room(problem.method.state_dict())
    other.load_state_dict(problem.method.state_dict())
    assert other.records.arrivals.tolist() == [4]
    assert other.records.num_arrivals == 5


def test_the_scores_of_single_labels_are_recorded_with_their_clips():
    """Every scored clip is recorded with its own losses, so that their sum is the tally."""
    problem = small()
    problem.teach(0)
    records, one = problem.method.records, problem.method.audio
    usable = torch.zeros(len(records), 3)
    usable[records.label_clips, records.label_classes] = records.label_usable.float()
    weights = (usable / usable.sum(dim=0)).sum(dim=1)[records.scored]
    losses = records.audio_losses.flatten(1).double()
    total = (losses * weights.unsqueeze(1)).sum(dim=0)
    finite = one.losses.flatten().isfinite()
    wanted, _ = explicit(problem, "audio", tasks=(0,))
    np.testing.assert_allclose(total[finite], wanted[finite.numpy()], rtol=2e-3)


def test_forgotten_clips_cannot_be_told_from_unseen_ones():
    """Their leverage is no lower than that of clips never learned: on average the area is 1/2."""
    areas = {"learned": [], "forgotten": []}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        problem = small()
        every = problem.clips.of_task(np.arange(len(problem.rows)), 0)
        learned, unseen = np.split(rng.permutation(every), [2 * len(every) // 3])
        gone = learned[: len(unseen)]
        problem.teach(0, learned)
        areas["learned"].append(area(problem, gone, unseen))
        forget(problem, gone)
        areas["forgotten"].append(area(problem, gone, unseen))
    before, after = (np.array(areas[name]) for name in ("learned", "forgotten"))
    assert before.mean() > 0.9
    error = after.std(ddof=1) / np.sqrt(len(after))
    assert abs(after.mean() - 0.5) < 3 * error
    assert error < 0.06


def area(problem, members, others):
    """Area under the curve of a membership test by the leverage of both modalities."""
    method, leverages = problem.method, []
    audio, visual = problem.source.read(np.concatenate([members, others]))
    features = method.predict(audio, visual).features
    for modality in UNIMODAL:
        gram = torch.tril(method.gram(modality))
        gram = gram + torch.tril(gram, -1).T
        system = gram + method.ridge_of(modality) * torch.eye(len(gram), dtype=gram.dtype)
        x = features[modality].double()
        leverages.append((x @ torch.linalg.inv(system) * x).sum(dim=1).detach().numpy())
    is_member = np.arange(len(members) + len(others)) < len(members)
    return roc_auc_score(is_member, -np.log(leverages).sum(axis=0))


def uncertain():
    """Clips with weights, uncertain labels and background."""
    problem = small()
    rng = np.random.default_rng(5)
    targets, number = problem.clips.targets.copy(), len(problem.rows)
    background = np.isin(np.arange(number), (2, 7, 10))
    targets[background] = False
    problem.clips = dataclasses.replace(
        problem.clips,
        targets=targets,
        weights=rng.choice([1.0, 0.5, 0.3], number),
        shares=targets * rng.choice([1.0, 0.7], number)[:, None],
        background=background,
    )
    return problem


def test_clips_with_weights_uncertain_labels_and_background():
    problem, other = uncertain(), uncertain()
    for task in (0, 1):
        problem.teach(task)
    before = problem.method.num_background
    gone = (*GONE, 7, 10)
    found = forget_all(problem, gone)
    wanted = never_learned(other, gone, found)
    torch.testing.assert_close(found.class_clips, wanted.class_clips, rtol=1e-12, atol=0)
    assert before > found.num_background > 0
    assert abs(found.num_background - wanted.num_background) <= 1e-12
    for modality in UNIMODAL:
        for one, same in zip(
            found.of(modality).statistics, wanted.of(modality).statistics, strict=True
        ):
            for (name, sums), (_, of_other) in zip(
                one.named_buffers(), same.named_buffers(), strict=True
            ):
                lower = torch.tril if not name.endswith("cross") else torch.clone
                assert relative(lower(sums), lower(of_other)) <= 1e-12
    records = found.records
    torch.testing.assert_close(records.class_clips(6), found.class_clips, rtol=1e-12, atol=0)
    assert abs(records.num_background - found.num_background) <= 1e-12


def test_all_background_is_forgotten_without_a_rest():
    problem = uncertain()
    problem.teach(0)
    method = forget_all(problem, (2, 7, 10))
    assert method.num_background == 0
    for modality in UNIMODAL:
        for sums in method.of(modality).statistics:
            assert sums.whole_background.abs().max() <= 1e-9
            assert not sums.whole_gram.isnan().any()
