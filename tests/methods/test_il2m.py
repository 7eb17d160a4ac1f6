"""IL2M: statistics of scores, and where and how they rectify."""

import numpy as np
import pytest
import torch

from cign.methods.finetune import Finetune
from cign.methods.il2m import rectify
from cign.metrics.incremental import summarise
from cign.training.scoring import score_clips
from refusals import input_error
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2}}
MODALITIES = ("audio", "visual", "audio_visual")


def test_rectify_scales_old_scores_only_where_a_new_class_wins():
    scores = torch.tensor([[0.3, 0.1, 0.6], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6]]).double()
    factors = torch.tensor([3.0, 0.5]).double()
    got = rectify(scores, factors)
    # Row 0: 0.9, 0.05, 0.6 -> the old class wins. Row 1: an old class had won: left alone.
    expected = [[0.9, 0.05, 0.6], [0.5, 0.1, 0.4], [0.6, 0.1, 0.6]]
    for row, wanted in zip(got.tolist(), expected, strict=True):
        assert row == pytest.approx([x / sum(wanted) for x in wanted])
    torch.testing.assert_close(rectify(scores, factors[:0]), scores)


def raw_scores(method, source, clips):
    """The soft-max before rectifying."""
    kept, type(method).predict = type(method).predict, Finetune.predict
    try:
        return score_clips(method, source, clips)
    finally:
        type(method).predict = kept


def test_statistics_and_factors_over_four_tasks_against_loops():
    loop = toy_loop("il2m", options=TRAIN, memory="16", num_classes=8, num_tasks=4, noise=2.0)
    method, notes = loop.method, []
    plain = method.after_task

    def after_task(data):
        plain(data)
        notes.append((data, raw_scores(method, loop.source, loop.train)))

    method.after_task = after_task
    loop.run()
    label = loop.clips.targets.argmax(axis=1)
    place = {clip: i for i, clip in enumerate(loop.train)}
    for row, modality in enumerate(MODALITIES):
        first, confidence = {}, []
        for data, scores in notes:
            p = scores[modality].astype(np.float64)
            tops = [p[place[i]].max() for i in data.new]
            confidence.append(sum(tops) / len(tops))
            for c in range(data.num_old, data.num_classes):
                own = [p[place[i], c] for i in data.new if label[i] == c]
                first[c] = sum(own) / len(own)
        data, scores = notes[-1]
        p = scores[modality].astype(np.float64)
        factors = []
        for c in range(6):
            now = [p[place[i], c] for i in data.memory if label[i] == c]
            assert now
            task = c // 2
            factors.append(first[c] / (sum(now) / len(now)) * confidence[-1] / confidence[task])
        np.testing.assert_allclose(method.factors()[row].numpy(), factors, rtol=1e-4)
        np.testing.assert_allclose(method.confidence[row].numpy(), confidence, rtol=1e-4)
        assert np.abs(np.array(factors) - 1).max() > 0.1
        raw = raw_scores(method, loop.source, loop.test)[modality].astype(np.float64)
        for got, before in zip(loop.predictions.scores[-1][modality], raw, strict=True):
            wanted = before.copy()
            if before.argmax() >= 6:
                wanted[:6] *= factors
                wanted /= wanted.sum()
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_first_task_is_left_alone():
    method = toy_method("il2m", TRAIN)
    method.grow(3)
    audio, visual = torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    for modality, scores in method.predict(audio, visual).probabilities.items():
        torch.testing.assert_close(
            scores, Finetune.predict(method, audio, visual).probabilities[modality]
        )


def test_a_class_without_exemplars_keeps_its_scores():
    loop = toy_loop("il2m", options=TRAIN, memory="12")
    loop.run()
    data = loop._task_data(2)
    object.__setattr__(data, "memory", loop.memory.by_class[0])
    loop.method.after_task(data)
    same = loop.method.confidence[:, 2] / loop.method.confidence[:, 0]
    torch.testing.assert_close(loop.method.factors()[:, 1], same)


def test_classes_of_one_clip():
    """A mean over one clip is its score, and the confidence of a task of one clip its highest."""
    options = {"training": {**TRAIN["training"], "num_epochs": 1}}
    loop = toy_loop("il2m", options=options, memory="3", num_classes=3, num_tasks=3)
    loop.run()
    method, data = loop.method, loop._task_data(2)
    one = np.array([data.new[4]])
    object.__setattr__(data, "new", one)
    object.__setattr__(data, "memory", np.array([loop.memory.by_class[c][0] for c in (0, 1)]))
    initial, confidence = method.initial_means.clone(), method.confidence.clone()
    method.after_task(data)
    clips = np.concatenate([one, data.memory])
    scores = raw_scores(method, loop.source, clips)
    for row, modality in enumerate(MODALITIES):
        new, first, second = scores[modality].astype(np.float64)
        found = method.initial_means[row].tolist()
        assert found == pytest.approx([*initial[row, :2].tolist(), new[2]], rel=1e-5)
        assert method.current_means[row].tolist()[:2] == pytest.approx([first[0], second[1]])
        wanted = [*confidence[row, :2].tolist(), new.max()]
        assert method.confidence[row].tolist() == pytest.approx(wanted, rel=1e-5)
        factors = [
            initial[row, c].item() / now * new.max() / confidence[row, c].item()
            for c, now in enumerate((first[0], second[1]))
        ]
        assert method.factors()[row].tolist() == pytest.approx(factors, rel=1e-4)


def test_statistics_are_taken_without_stochastic_depth():
    trunk = {"trunk": "transformer", "width": 16, "num_heads": 2, "depth": 2, "drop_path": 0.9}
    options = {"training": {**TRAIN["training"], "num_epochs": 2}, **trunk}
    loop = toy_loop("il2m", options=options, memory="6", num_classes=4, num_tasks=2)
    loop.run()
    method, data = loop.method, loop._task_data(1)
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    method.train().after_task(data)
    scores = raw_scores(method, loop.source, data.new)
    for row, modality in enumerate(MODALITIES):
        highest = scores[modality].max(axis=1).mean()
        assert method.confidence[row, -1].item() == pytest.approx(highest, rel=1e-4)


def test_rectifying_helps_where_old_classes_lose():
    last = {}
    for name in ("finetune", "il2m"):
        loop = toy_loop(
            name, options=TRAIN, memory="16", per_class=30, noise=2.0, num_classes=8, num_tasks=4
        )
        loop.run()
        modalities = summarise(loop.predictions)
        last[name] = [modalities[r]["last"] for r in ("audio", "visual")]
    assert sum(last["il2m"]) > sum(last["finetune"]) + 3


def test_logits_are_rectified_and_averaged_as_in_the_authors_code():
    options = {**TRAIN, "scores": "logits"}
    loop = toy_loop("il2m", options=options, memory="16", num_classes=8, num_tasks=4, noise=2.0)
    loop.run()
    method, data = loop.method.eval(), loop._task_data(3)
    label = loop.clips.targets.argmax(axis=1)

    def logits(clips):
        audio, visual = loop.source.read(clips)
        with torch.no_grad():
            return method.network(audio, visual)["visual"].double().numpy()

    new, row = logits(data.new), MODALITIES.index("visual")
    confidence = new.max(axis=1).mean()
    assert method.confidence[row, -1].item() == pytest.approx(confidence, rel=1e-5)
    for c in (6, 7):
        mean = new[label[data.new] == c][:, c].mean()
        assert method.initial_means[row, c].item() == pytest.approx(mean, rel=1e-4)
    # What the old classes' exemplars are given now was taken before the new ones were chosen.
    factors = method.factors()[row].double().numpy()
    changed = 0
    for got, before in zip(loop.predictions.scores[-1]["visual"], logits(loop.test), strict=True):
        wanted = before.copy()
        if before.argmax() >= 6:
            wanted[:6] *= factors
            changed += 1
        wanted = np.exp(wanted - wanted.max())
        np.testing.assert_allclose(got, wanted / wanted.sum(), rtol=1e-3, atol=1e-6)
    assert changed


def test_other_scores_are_refused():
    with input_error("unknown-name", "ranks"):
        toy_method("il2m", {"scores": "ranks"})


def test_several_labels_are_refused():
    with input_error("unsupported", "il2m"):
        toy_method("il2m", {}, multi_label=True)
