"""The greedy choice: against inverses that are computed again for every choice."""

import numpy as np
import pytest
import torch

from cign.labelling.design import choose, whitened

MODALITIES = 2


def problem(seed, num_candidates=30, width=20):
    """Features of both modalities, Gram matrices of other clips, and ridges."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(size=(num_candidates, width)) for _ in range(MODALITIES)]
    learned = [rng.normal(size=(12, width)) * rng.uniform(0, 2, width) for _ in range(MODALITIES)]
    return features, [one.T @ one for one in learned], [0.7, 30.0]


def by_loop(features, grams, ridges, number):
    """The definition, in float64: an inverse for each choice, a quadratic form for each clip."""
    systems = [g + r * np.eye(len(g)) for g, r in zip(grams, ridges, strict=True)]
    chosen, gains = [], []
    for _ in range(number):
        inverses = [np.linalg.inv(one) for one in systems]
        best, most = None, -np.inf
        for clip in range(len(features[0])):
            if clip in chosen:
                continue
            gain = sum(
                np.log(1 + f[clip] @ inverse @ f[clip])
                for f, inverse in zip(features, inverses, strict=True)
            )
            if gain > most:
                best, most = clip, gain
        chosen.append(best)
        gains.append(most)
        for system, f in zip(systems, features, strict=True):
            system += np.outer(f[best], f[best])
    return chosen, gains


def chosen_from(features, grams, ridges, number):
    vectors = [
        whitened(torch.from_numpy(f), torch.from_numpy(g).tril(), r)
        for f, g, r in zip(features, grams, ridges, strict=True)
    ]
    found = choose(vectors, number)
    return [clip for clip, _ in found], [gain for _, gain in found]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("num_candidates", "width"), [(30, 20), (12, 40)])
def test_it_chooses_what_the_definition_chooses(seed, num_candidates, width):
    made = problem(seed, num_candidates, width)
    clips, gains = chosen_from(*made, 10)
    wanted, wanted_gains = by_loop(*made, 10)
    assert clips == wanted
    np.testing.assert_allclose(gains, wanted_gains, rtol=1e-9)


def test_rank_one_updates_equal_inverses_computed_again():
    """All candidates are chosen in some order; each gain is that of the inverse at its turn."""
    features, grams, ridges = problem(7, 60, 25)
    clips, gains = chosen_from(features, grams, ridges, 60)
    assert sorted(clips) == list(range(60))
    for turn in (0, 1, 20, 59):
        wanted = 0.0
        for f, gram, ridge in zip(features, grams, ridges, strict=True):
            before = f[clips[:turn]]
            system = gram + before.T @ before + ridge * np.eye(len(gram))
            wanted += np.log1p(f[clips[turn]] @ np.linalg.solve(system, f[clips[turn]]))
        assert gains[turn] == pytest.approx(wanted, rel=1e-9)


def test_the_gains_add_up_to_the_change_of_the_determinants():
    features, grams, ridges = problem(3)
    clips, gains = chosen_from(features, grams, ridges, 8)
    change = 0.0
    for f, gram, ridge in zip(features, grams, ridges, strict=True):
        system = gram + ridge * np.eye(len(gram))
        after = system + f[clips].T @ f[clips]
        change += np.linalg.slogdet(after)[1] - np.linalg.slogdet(system)[1]
    assert sum(gains) == pytest.approx(change, rel=1e-10)


def test_the_products_of_whitened_vectors_are_leverages():
    features, grams, ridges = problem(4, 9, 30)
    vectors = whitened(torch.from_numpy(features[0]), torch.from_numpy(grams[0]), ridges[0])
    assert vectors.shape == (9, 9)  # not [30, 9]
    inverse = np.linalg.inv(grams[0] + ridges[0] * np.eye(30))
    wanted = features[0] @ inverse @ features[0].T
    np.testing.assert_allclose(vectors.T @ vectors, wanted, atol=1e-10)


def test_the_gain_of_a_twin_falls_when_its_clip_is_chosen():
    """Two equal clips are the most informative ones; a third, different one comes between them."""
    features, grams, ridges = problem(5)
    for f in features:
        f *= 0.1
        f[3] = f[17] = 30 * f[3]
        f[8] = 20 * f[8]
    clips, gains = chosen_from(features, grams, ridges, 3)
    assert clips[0] == 3  # the first of equal gains
    assert clips[1] == 8
    s = [np.expm1(gain) for gain in gains]
    assert s[1] > 1
    alone = [
        f[17] @ np.linalg.inv(g + r * np.eye(len(g))) @ f[17]
        for f, g, r in zip(features, grams, ridges, strict=True)
    ]
    beside = chosen_from([f[[3, 17]] for f in features], grams, ridges, 2)[1]
    assert beside[1] == pytest.approx(sum(np.log1p(x / (1 + x)) for x in alone))


def test_a_modality_that_a_candidate_lacks_adds_nothing():
    features, grams, ridges = problem(6)
    features[0][4] = 0.0
    clips, gains = chosen_from(features, grams, ridges, 30)
    turn = clips.index(4)
    before = features[1][clips[:turn]]
    system = grams[1] + before.T @ before + ridges[1] * np.eye(20)
    f = features[1][4]
    assert gains[turn] == pytest.approx(np.log1p(f @ np.linalg.solve(system, f)))


def test_the_vectors_are_not_changed():
    features, grams, ridges = problem(8)
    vectors = [whitened(torch.from_numpy(features[0]), torch.from_numpy(grams[0]), ridges[0])]
    before = vectors[0].clone()
    choose(vectors, 5)
    assert torch.equal(vectors[0], before)
