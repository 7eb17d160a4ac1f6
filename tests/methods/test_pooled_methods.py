"""What all methods on pooled tokens do with clips and classes that lack something."""

import numpy as np
import pytest
import torch

from cign.methods.pooled import NO_CLIPS
from pooled_runs import labels_of, logits, run, run_changed
from refusals import run_error
from toy import toy_tokens

METHODS = {
    "ncm": {},
    "ncm euclidean": {"metric": "euclidean"},
    "ncm centred": {"centre": True},
    "slda": {},
    "slda counts": {"prior": "counts"},
    "ranpac": {"width": 40},
    "fecam": {},
    "fecam plain": {"normalise": False, "power": 1.0},
}
CASES = [pytest.param(name.split()[0], options, id=name) for name, options in METHODS.items()]


def accuracy(loop, modality="audio_visual", some=None):
    """Share of test clips that are recognised."""
    labels = labels_of(loop, loop.test)
    right = loop.predictions.scores[-1][modality].argmax(axis=1) == labels
    return right[slice(None) if some is None else some(labels)].mean()


def check_finite(loop):
    for scores in loop.predictions.scores:
        for values in scores.values():
            assert np.isfinite(values).all()
            np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-5)
    for name, value in loop.method.state_dict().items():
        assert value.isfinite().all(), name


def unchanged(labels, audio, visual):
    pass


@pytest.mark.parametrize(("name", "options"), CASES)
def test_all_classes_are_recognised_without_forgetting(name, options):
    loop = run(name, **options)
    check_finite(loop)
    for modality in ("audio", "visual", "audio_visual"):
        assert accuracy(loop, modality) > 0.9
    assert not list(loop.method.parameters())


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("num_tasks", [1, 6])
def test_single_clips_of_classes(name, options, num_tasks):
    def first(labels, positions):
        return np.unique(labels, return_index=True)[1]

    loop = run_changed(name, unchanged, num_tasks=num_tasks, train=first, **options)
    assert len(loop.train) == 6
    check_finite(loop)
    assert accuracy(loop) > 0.8


@pytest.mark.parametrize(("name", "options"), CASES)
def test_one_class_of_a_single_clip_among_others(name, options):
    def some(labels, positions):
        rare = np.flatnonzero(labels == 4)
        return np.concatenate([positions[labels != 4], rare[:1]])

    loop = run_changed(name, unchanged, train=some, **options)
    check_finite(loop)
    assert accuracy(loop, some=lambda labels: labels != 4) > 0.85


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_class_without_clips_is_never_the_answer(name, options):
    loop = run_changed(name, unchanged, train=lambda labels, positions: labels != 4, **options)
    check_finite(loop)
    column = loop.clips.tasks.class_order.index("class 4")
    for values in logits(loop, loop.test).values():
        assert (values[:, column] == NO_CLIPS).all()
    for scores in loop.predictions.scores[-1].values():
        assert (scores[:, column] == 0).all()
    assert accuracy(loop, some=lambda labels: labels != column) > 0.85


@pytest.mark.parametrize(("name", "options"), CASES)
def test_identical_clips_of_each_class(name, options):
    def same(labels, audio, visual):
        for c in range(6):
            audio[labels == c], visual[labels == c] = audio[labels == c][0], visual[labels == c][0]

    loop = run_changed(name, same, **options)
    check_finite(loop)
    assert accuracy(loop) == 1.0


@pytest.mark.parametrize(("name", "options"), CASES)
def test_one_modality_that_is_the_same_in_all_clips(name, options):
    def same(labels, audio, visual):
        audio[:] = audio[0]

    loop = run_changed(name, same, **options)
    check_finite(loop)
    assert accuracy(loop) > 0.9


@pytest.mark.parametrize(("name", "options"), CASES)
def test_silent_clips_count_for_the_other_modality_alone(name, options):
    def silent(labels, audio, visual):
        audio[::2] = 0

    loop = run_changed(name, silent, **options)
    check_finite(loop)
    heard = np.flatnonzero(loop.train % 2)
    method, order = loop.method, loop.clips.tasks.class_order
    labels = labels_of(loop, loop.train)
    counts = {name: sums.counts.tolist() for name, sums in method.class_sums.items()}
    assert counts["audio"] == np.bincount(labels[heard], minlength=6).tolist()
    assert counts["visual"] == np.bincount(labels, minlength=6).tolist()
    assert counts.get("audio_visual", counts["audio"]) == counts["audio"]
    # The audio statistics are those of a run without the silent clips.
    alone = run_changed(
        name, unchanged, train=lambda labels, positions: positions[loop.train % 2 == 1], **options
    )
    assert order == alone.clips.tasks.class_order
    is_heard = loop.test % 2 == 1
    if name != "ranpac":  # which selects its strength with other clips
        found, expected = (logits(one, loop.test)["audio"] for one in (loop, alone))
        np.testing.assert_allclose(
            found[is_heard], expected[is_heard], rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )
    found = logits(loop, loop.test[~is_heard])
    assert (found["audio"] == 0).all()
    np.testing.assert_array_equal(found["audio_visual"], found["visual"])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_clip_without_both_modalities_has_no_preference(name, options):
    loop = run(name, **options)
    _, audio, visual = (torch.from_numpy(part[:2]) for part in toy_tokens())
    with torch.no_grad():
        found = loop.method.predict(torch.zeros_like(audio), torch.zeros_like(visual))
    for values in found.probabilities.values():
        torch.testing.assert_close(values, torch.full((2, 6), 1 / 6))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_run_in_which_nothing_is_heard(name, options):
    def silent(labels, audio, visual):
        audio[:] = 0

    loop = run_changed(name, silent, **options)
    check_finite(loop)
    assert accuracy(loop, "visual") > 0.9


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tokens_that_are_not_finite_are_named(name, options, value):
    def broken(labels, audio, visual):
        visual[4, 0, 0] = value

    with run_error("singular", name, "visual"):
        run_changed(name, broken, **options)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_scores_do_not_depend_on_order_or_number_of_clips_in_a_batch(name, options):
    loop = run(name, **options)
    together = logits(loop, loop.test)
    for modality, values in together.items():
        singly = np.concatenate([logits(loop, loop.test[[i]])[modality] for i in range(24)])
        np.testing.assert_allclose(singly, values, rtol=0, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize(("name", "options"), CASES)
def test_embeddings_are_the_pooled_tokens(name, options):
    loop = run(name, **options)
    audio, visual = loop.source.read(loop.test)
    x = torch.cat([audio.float().mean(dim=1), visual.float().mean(dim=1)], dim=1)
    power = loop.method.options.power
    torch.testing.assert_close(loop.method.embed(audio, visual), x.sign() * x.abs() ** power)
