"""EWC: Fisher information, penalties over tasks, and what they hold."""

import numpy as np
import pytest
import torch

from cign.errors import InputError
from cign.methods.ewc import log_likelihood
from cign.metrics.incremental import summarise
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2}}


def begun(name="ewc", options=None):
    """A loop whose method has classes, and the data of its first task."""
    loop = toy_loop(name, options={**TRAIN, **(options or {})})
    loop.method.grow(2)
    return loop.method, loop._task_data(0)


def features_and_probabilities(method, data, modality):
    """In float64 NumPy: x [N, D], p [N, C], one-hot labels [N, C]."""
    (batch,) = data.batches(data.new)
    x = method.network.features(batch.audio, batch.visual)[modality].double().numpy()
    head = method.network.heads[modality]
    logits = x @ head.weight().detach().double().numpy().T
    logits += torch.cat(list(head.biases)).detach().double().numpy()
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return x, e / e.sum(axis=1, keepdims=True), batch.targets.numpy().astype(float)


@pytest.mark.parametrize("modality", ["audio", "visual", "audio_visual"])
def test_fisher_of_true_labels_is_the_mean_square_of_the_derivative(modality):
    method, data = begun(options={"fisher_labels": "true"})
    x, p, y = features_and_probabilities(method, data, modality)
    fisher = method.fisher(data)
    weight, bias = np.zeros((2, x.shape[1])), np.zeros(2)
    for i in range(len(x)):
        for c in range(2):
            bias[c] += (p[i, c] - y[i, c]) ** 2 / len(x)
            weight[c] += ((p[i, c] - y[i, c]) * x[i]) ** 2 / len(x)
    np.testing.assert_allclose(fisher[f"heads.{modality}.weights.0"], weight, rtol=1e-4)
    np.testing.assert_allclose(fisher[f"heads.{modality}.biases.0"], bias, rtol=1e-4)


def test_fisher_of_sampled_labels_has_the_expectation_under_the_prediction():
    method, data = begun()
    x, p, _ = features_and_probabilities(method, data, "audio")
    exact = np.zeros((2, x.shape[1]))
    for c in range(2):  # E[(p - y)^2] = p (1 - p)
        exact[c] = ((p[:, c] * (1 - p[:, c]))[:, None] * x**2).mean(axis=0)
    torch.manual_seed(0)
    drawn = torch.stack([method.fisher(data)["heads.audio.weights.0"] for _ in range(40)])
    error = drawn.std(dim=0) / 40**0.5
    assert ((drawn.mean(dim=0) - torch.from_numpy(exact)).abs() < 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("labels", ["sampled", "true", "predicted"])
@pytest.mark.parametrize("multi", [False, True])
def test_log_likelihood_of_confident_outputs_is_zero_for_what_they_say(labels, multi):
    logits = torch.tensor([[40.0, -40.0, -40.0]])
    targets = torch.tensor([[True, False, False]])
    assert log_likelihood(logits, targets, labels, multi).item() == pytest.approx(0, abs=1e-6)
    wrong = log_likelihood(logits, ~targets, "true", multi).item()
    assert wrong == pytest.approx(-120 if multi else -80, rel=1e-6)


def test_penalty_is_the_sum_of_one_for_each_task_up_to_a_constant():
    loop = toy_loop("ewc", options={**TRAIN, "strength": 7.0})
    method, seen = loop.method, []
    plain = method.consolidate

    def consolidate(fisher):
        seen.append((fisher, {n: p.detach().clone() for n, p in method._learnable().items()}))
        plain(fisher)

    method.consolidate = consolidate
    loop.run()
    assert len(seen) == 3
    parameters = method._learnable()
    gaps = []
    for _ in range(3):
        for parameter in parameters.values():
            torch.nn.init.normal_(parameter)
        apart = 0.0
        for fisher, anchors in seen:
            for name, f in fisher.items():
                distance = parameters[name].double() - anchors[name].double()
                apart += 0.5 * (f.double() * distance**2).sum().item()
        gaps.append(apart - method.penalty().item())
    assert apart > 10 * abs(max(gaps) - min(gaps))
    assert max(gaps) - min(gaps) < 1e-4 * apart


def test_first_task_has_no_penalty_and_later_ones_have():
    loop = toy_loop("ewc", options={**TRAIN, "strength": 7.0})
    loop.run()
    assert ["penalty" in entry for entry in loop.losses] == [False] * 4 + [True] * 8


def test_online_importance_fades_and_its_anchor_moves():
    loop = toy_loop("ewc_online", options={**TRAIN, "decay": 0.5})
    method, seen = loop.method, []
    plain = method.consolidate
    method.consolidate = lambda fisher: (seen.append(fisher), plain(fisher))
    loop.run()
    name = "heads.visual.weights.0"
    expected = seen[0][name].double() * 0.25 + seen[1][name].double() * 0.5 + seen[2][name]
    torch.testing.assert_close(method.importance.importance(name).double(), expected)
    assert torch.equal(method.importance.anchor(name), method.network.get_parameter(name))
    assert method.penalty().item() == 0
    with torch.no_grad():
        method.network.get_parameter(name).add_(2.0)
    wanted = 0.5 * 0.5 * 4.0 * expected.sum().item()  # 1/2 gamma F* (2)^2
    assert method.penalty().item() == pytest.approx(wanted, rel=1e-5)


def test_fisher_on_a_number_of_clips_takes_so_many():
    method, data = begun(options={"num_fisher_clips": 3})
    sizes = []
    plain = data.batches
    object.__setattr__(data, "batches", lambda clips: (sizes.append(len(clips)), plain(clips))[1])
    method.fisher(data)
    assert sizes == [3]


def test_several_labels_are_bernoulli_variables():
    method = toy_method("ewc", TRAIN, multi_label=True)
    method.grow(2)
    data = toy_loop("ewc", options=TRAIN)._task_data(0)
    fisher = method.fisher(data)
    assert all(value.isfinite().all() and value.any() for value in fisher.values())


@pytest.mark.parametrize("name", ["ewc", "ewc_online"])
def test_forgets_less_than_finetune(name):
    forgetting = {}
    for method in ("finetune", name):
        options = TRAIN if method == "finetune" else {**TRAIN, "strength": 100.0}
        loop = toy_loop(method, options=options, per_class=30, num_classes=8, num_tasks=4)
        loop.run()
        modalities = summarise(loop.predictions)
        forgetting[method] = [modalities[r]["forgetting"] for r in ("audio", "visual")]
    assert sum(forgetting["finetune"]) > 70
    assert sum(forgetting[name]) < sum(forgetting["finetune"]) - 40


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ewc", {"num_fisher_clips": 0}, "num_fisher_clips 0 is too small"),
        ("ewc_online", {"decay": 0.0}, r"decay 0.0 must be in \(0, 1\]"),
        ("ewc_online", {"decay": 1.5}, r"decay 1.5 must be in \(0, 1\]"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        toy_method(name, options)
