"""Suspicious labels, against training again without the source, and planted errors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.inference.leave_one_out import LearnedPredictions
from cign.labelling.auditing import audit_labels, support_of
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions
from cign.methods.loo_estimate import predictions_left_out
from cign.vocabulary import MODALITIES, UNIMODAL
from methods.test_loo_estimate import (
    NUM_CLASSES,
    Clips,
    duets,
    long_tail,
    plain,
    probabilities_of,
    retrained,
)

CLASSES = tuple(f"class {c}" for c in range(NUM_CLASSES))


def learned(clips):
    """The predictions of all clips by a method that learned them."""
    every = np.arange(len(clips))
    found = predictions_left_out(clips.learned(every), clips.all())
    names = [tuple(CLASSES[c] for c in np.flatnonzero(row)) for row in found.targets.numpy()]
    return LearnedPredictions(
        clips=tuple(
            Clip(id=f"{i}.mp4", path=Path(f"/{i}.mp4"), labels=labels, split="train")
            for i, labels in enumerate(names)
        ),
        left_out=clips.all(),
        found=found,
        source=clips.source,
    )


def wanted_support(clips):
    """Geometric mean of the probabilities by methods trained without the sources; [n, C]."""
    logits, _ = retrained(clips, "cign_analytic")
    audio, visual = (probabilities_of(logits[m], clips.several) for m in UNIMODAL)
    mean = np.sqrt(audio * visual)
    if clips.several:
        return mean / (mean + np.sqrt((1 - audio) * (1 - visual)))
    return mean / mean.sum(axis=1, keepdims=True)


def test_support_equals_training_again_without_the_source():
    clips = plain()
    predictions = learned(clips)
    audit = audit_labels(predictions, CLASSES, multi_label=False)
    support, targets = wanted_support(clips), predictions.targets
    usual = np.array([support[targets[:, c], c].mean() for c in range(NUM_CLASSES)])
    own, relative = support[targets], support[targets] / usual[targets.argmax(axis=1)]
    assert [one.clip for one in audit.doubts] == np.argsort(relative, kind="stable").tolist()
    for one in audit.doubts:
        others = [c for c in range(NUM_CLASSES) if not targets[one.clip, c]]
        best = max(others, key=lambda c: support[one.clip, c])
        assert (one.kind, one.suggested) == ("replace", CLASSES[best])
        assert one.score == pytest.approx(1 / (1 + relative[one.clip]), abs=1e-6)
        assert one.support == pytest.approx(own[one.clip], abs=1e-6)
        assert one.suggested_support == pytest.approx(support[one.clip, best], abs=1e-6)
        assert one.is_suspicious == (relative[one.clip] < 1 / NUM_CLASSES)
        assert one.is_suspicious == (one.score > audit.threshold)


def test_with_several_labels_each_clip_has_a_wrong_and_a_missing_one():
    clips = duets()
    predictions = learned(clips)
    audit = audit_labels(predictions, CLASSES, multi_label=True)
    support, targets = wanted_support(clips), predictions.targets
    counted = predictions.is_counted
    support, targets = support[counted], targets[counted]
    wanted = {}
    for row, i in enumerate(np.flatnonzero(counted)):
        for kind, says in (("remove", targets), ("add", ~targets)):
            p = support if kind == "remove" else 1 - support
            relative = {
                c: p[row, c] / p[says[:, c], c].mean() for c in np.flatnonzero(says[row]).tolist()
            }
            name = CLASSES[min(relative, key=relative.get)]
            names = (name, "") if kind == "remove" else ("", name)
            wanted[i, kind] = *names, min(relative.values())
    assert {(one.clip, one.kind) for one in audit.doubts} == set(wanted)
    for one in audit.doubts:
        label, suggested, value = wanted[one.clip, one.kind]
        assert (one.label, one.suggested) == (label, suggested)
        assert one.score == pytest.approx(1 / (1 + value), abs=1e-5)  # of float32 logits
    scores = [one.score for one in audit.doubts]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 100


def with_labels(clips, wrong):
    """The same tokens, where some clips have another label."""
    labels = [
        (wrong.get(i, CLASSES.index(clips.clips.tasks.class_order[row.argmax()])),)
        for i, row in enumerate(clips.clips.targets)
    ]
    changed = Clips(labels, clips.clips.sources)
    changed.tokens, changed.source = clips.tokens, clips.source
    return changed


def test_planted_errors_come_first():
    labels = [(int(row.argmax()),) for row in plain().clips.targets]
    clips = Clips(labels, plain().clips.sources, noise=0.5)
    rng = np.random.default_rng(5)
    right = clips.clips.targets.argmax(axis=1)
    wrong = {
        int(i): int((right[i] + rng.integers(1, NUM_CLASSES)) % NUM_CLASSES)
        for i in rng.choice(len(clips), 6, replace=False)
    }
    audit = audit_labels(learned(with_labels(clips, wrong)), CLASSES, multi_label=False)
    first = audit.doubts[: len(wrong)]
    assert {one.clip: one.suggested for one in first} == {i: CLASSES[right[i]] for i in wrong}
    assert set(wrong) <= {one.clip for one in audit.suspicious}
    assert len(audit.suspicious) < 2 * len(wrong)


def test_clips_of_a_source_do_not_support_each_others_wrong_label():
    """Both clips of a recording are mislabelled in the same way."""
    clips = plain()
    right = clips.clips.targets.argmax(axis=1)
    wrong = {i: int((right[i] + 1) % NUM_CLASSES) for i in (20, 21)}
    assert clips.clips.sources[20] == clips.clips.sources[21]
    audit = audit_labels(learned(with_labels(clips, wrong)), CLASSES, multi_label=False)
    assert {one.clip for one in audit.doubts[:2]} == {20, 21}
    assert audit.left_out == "sources"


def test_clips_of_a_class_with_one_source_are_not_judged():
    predictions = learned(long_tail())
    audit = audit_labels(predictions, CLASSES, multi_label=False)
    last = {i for i, clip in enumerate(predictions.clips) if clip.labels == CLASSES[-1:]}
    assert set(audit.not_judged) == last
    assert last
    assert last.isdisjoint(one.clip for one in audit.doubts)
    assert audit.to_dict()["not_judged"] == [predictions.clips[i].id for i in sorted(last)]


@pytest.mark.parametrize("multi_label", [False, True])
def test_background_has_no_label_to_doubt(multi_label):
    """It has no label that could be wrong; with several labels, one may be missing."""
    predictions = learned(duets() if multi_label else plain())
    before = audit_labels(predictions, CLASSES, multi_label=multi_label)
    background = [3, 10]
    predictions.found.targets[background] = False
    audit = audit_labels(predictions, CLASSES, multi_label=multi_label)
    doubted = [one for one in audit.doubts if one.clip in background]
    assert {one.kind for one in doubted} == ({"add"} if multi_label else set())
    assert all(one.label == "" for one in doubted)
    assert not set(background) & set(audit.not_judged)
    others = {one.clip for one in before.doubts} - set(background)
    assert {one.clip for one in audit.doubts} - set(background) == others


def test_a_clip_without_a_modality_is_judged_by_the_other():
    probabilities = {
        "audio": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
        "visual": np.array([[0.4, 0.6], [0.5, 0.5], [0.6, 0.4]]),
        "audio_visual": np.array([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]]),
    }
    has = np.array([True, True, False]), np.array([True, False, True])
    found = support_of(probabilities, *has, multi_label=False)
    both = np.sqrt([0.9 * 0.4, 0.1 * 0.6])
    np.testing.assert_allclose(found[:, 0], [both[0] / both.sum(), 0.2, 0.6], rtol=1e-6)
    several = support_of(probabilities, *has, multi_label=True)
    odds = np.sqrt((0.9 / 0.1) * (0.4 / 0.6))
    np.testing.assert_allclose(several[:, 0], [odds / (1 + odds), 0.2, 0.6], rtol=1e-6)


def test_probabilities_close_to_0_are_ranked():
    """1 minus a tiny probability is 1; the order is still that of the probabilities."""
    values = torch.tensor([[1e-20, 1.0], [1e-30, 1.0], [1e-25, 1.0], [0.9, 0.1]]).double()
    found = LeftOutPredictions(
        probabilities=dict.fromkeys(MODALITIES, values),
        targets=torch.tensor([[True, False]] * 4),
        has_class_left=torch.ones(4, dtype=torch.bool),
        is_singular=torch.zeros(4, dtype=torch.bool),
        are_all=True,
    )
    clips = tuple(
        Clip(id=f"{i}.mp4", path=Path(f"/{i}.mp4"), labels=("a",), split="train") for i in range(4)
    )
    left_out = ClipsToLeaveOut(
        indices=np.arange(4), sources=[(clip.source,) for clip in clips], batches=lambda i: iter(())
    )
    source = ArraySource(lambda i: i, lambda i: i, 0)
    predictions = LearnedPredictions(clips=clips, left_out=left_out, found=found, source=source)
    audit = audit_labels(predictions, ("a", "b"), multi_label=False)
    assert [one.clip for one in audit.doubts] == [1, 2, 0, 3]
    assert [one.is_suspicious for one in audit.doubts] == [True, True, True, False]
    assert audit.left_out == "clips"
