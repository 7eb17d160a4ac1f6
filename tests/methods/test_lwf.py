"""LwF: its losses from its own outputs, its teacher, and what it holds."""

import numpy as np
import pytest
import torch

from cign.metrics.incremental import summarise
from refusals import input_error
from test_gradients import batch_of, phase
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2}}


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def grown(options):
    """A method at its second task whose weights have left those of its teacher."""
    method = toy_method("lwf", options)
    method.grow(3)
    method.grow(2)
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return method.eval()


@pytest.mark.parametrize("classes", ["new", "all"])
def test_soft_max_form_against_loops(classes):
    options = {"classes": classes, "temperature": 3.0, "distillation_weight": 0.7}
    method, batch = grown(options), batch_of(5, num_old=3)
    losses = method.learn(batch, phase())
    for modality in ("audio", "visual", "audio_visual"):
        now = method.network(batch.audio, batch.visual)[modality].detach().double().numpy()
        old = method.teacher.frozen(batch.audio, batch.visual)[modality].double().numpy()
        assert old.shape[1] == 3
        entropy = distance = 0.0
        for b in range(len(now)):
            label, is_old = int(batch.labels[b]), bool(batch.from_memory[b])
            first = 0 if is_old or classes == "all" else 3
            entropy -= np.log(softmax(now[b, first:])[label - first])
            distance -= (softmax(old[b] / 3) * np.log(softmax(now[b, :3] / 3))).sum()
        assert losses[modality].item() == pytest.approx(entropy / len(now), rel=1e-5)
        value = losses[f"{modality}_distillation"].item()
        assert value == pytest.approx(0.7 * distance / len(now), rel=1e-5)


def test_sigmoid_form_against_loops():
    method, batch = grown({"form": "sigmoid"}), batch_of(5, num_old=3)
    losses = method.learn(batch, phase())
    now = method.network(batch.audio, batch.visual)["visual"].detach().double().numpy()
    old = method.teacher.frozen(batch.audio, batch.visual)["visual"].double().numpy()
    wanted = batch.targets.double().numpy()
    wanted[:, :3] = 1 / (1 + np.exp(-old))
    p = 1 / (1 + np.exp(-now))
    expected = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean()
    assert losses["visual"].item() == pytest.approx(expected, rel=1e-5)
    assert set(losses) == {"audio", "visual", "audio_visual"}
    scores = method.predict(batch.audio, batch.visual).probabilities["visual"]
    np.testing.assert_allclose(scores.detach().numpy(), p, rtol=1e-5)


def test_teacher_is_the_model_before_the_task_and_stays_it():
    loop = toy_loop("lwf", options=TRAIN)
    before = {}
    plain = loop.method.before_task

    def before_task(data):
        if loop.method.teacher:
            before[data.task] = loop.method.teacher.frozen.state_dict()
            before[data.task] = {k: v.clone() for k, v in before[data.task].items()}
            for key, value in before[data.task].items():
                assert torch.equal(value, loop.method.network.state_dict()[key])
        plain(data)

    loop.method.before_task = before_task
    loop.run()
    assert sorted(before) == [1, 2]
    for key, value in before[2].items():
        assert torch.equal(value, loop.method.teacher.frozen.state_dict()[key])
    assert not any(p.requires_grad for p in loop.method.teacher.frozen.parameters())


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_forgets_less_than_finetune(form):
    forgetting = {}
    for method, options in (("finetune", TRAIN), ("lwf", {**TRAIN, "form": form})):
        loop = toy_loop(method, options=options, per_class=30, num_classes=8, num_tasks=4)
        loop.run()
        modalities = summarise(loop.predictions)
        forgetting[method] = [modalities[r]["forgetting"] for r in ("audio", "visual")]
    assert sum(forgetting["finetune"]) > 70
    assert sum(forgetting["lwf"]) < sum(forgetting["finetune"]) - 40


def test_several_labels_need_the_sigmoid_form():
    with input_error("unsupported", "use form sigmoid"):
        toy_method("lwf", {}, multi_label=True)
    toy_method("lwf", {"form": "sigmoid"}, multi_label=True)
