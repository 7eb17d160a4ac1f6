"""The audio-visual prediction as the option `fusion` says, compared with formulas in loops."""

import math

import numpy as np
import pytest
import torch

from cign.layers.fusion import Fusion, fuse, scores_of
from cign.methods import METHODS
from cign.methods.output import Output, with_fusion
from cign.methods.registry import default_recipe, method_class
from cign.utils.options import configure
from refusals import input_error
from toy import quick_options, toy_loop, toy_tokens

CLASSES = 4


def probabilities(multi_label, seed=0, num_clips=6):
    rng = np.random.default_rng(seed)
    p = rng.random((2, num_clips, CLASSES))
    return p if multi_label else p / p.sum(axis=2, keepdims=True)


def soft_max(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def expected(audio, visual, kind, temperature, multi_label):
    """The fused probabilities of one clip."""
    if multi_label:
        odds = [[math.log(p / (1 - p)) for p in one] for one in (audio, visual)]
        if kind == "product":
            return [1 / (1 + math.exp(-(a + v) / temperature)) for a, v in zip(*odds, strict=True)]
        both = [[1 / (1 + math.exp(-x / temperature)) for x in one] for one in odds]
        return [(a + v) / 2 for a, v in zip(*both, strict=True)]
    if kind == "product":
        powers = [(a * v) ** (1 / temperature) for a, v in zip(audio, visual, strict=True)]
        return [power / sum(powers) for power in powers]
    both = [soft_max([math.log(p) / temperature for p in one]) for one in (audio, visual)]
    return [(a + v) / 2 for a, v in zip(*both, strict=True)]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["mean", "product"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_fused_probabilities_follow_their_formula(kind, temperature, multi_label, from_logits):
    audio, visual = probabilities(multi_label)
    given = {"audio": torch.tensor(audio), "visual": torch.tensor(visual)}
    logits = {}
    if from_logits:  # a constant added to all logits of a clip changes no soft-max
        logits = {m: torch.logit(p) if multi_label else p.log() + 3.0 for m, p in given.items()}
        logits["audio_visual"] = torch.full_like(given["audio"], torch.nan)
    own = torch.full_like(given["audio"], torch.nan)
    output = Output(probabilities={**given, "audio_visual": own}, logits=logits)
    fusion = Fusion(kind=kind, temperature=temperature)
    found = with_fusion(output, fusion, multi_label=multi_label)
    wanted = [
        expected(a, v, kind, temperature, multi_label) for a, v in zip(audio, visual, strict=True)
    ]
    np.testing.assert_allclose(found.probabilities["audio_visual"], wanted, rtol=2e-6)
    for modality in ("audio", "visual"):
        assert found.probabilities[modality] is given[modality]
    if from_logits:
        fused = found.logits["audio_visual"]
        again = fused.sigmoid() if multi_label else fused.softmax(dim=1)
        np.testing.assert_allclose(again, wanted, rtol=2e-5)


def test_own_fusion_changes_nothing():
    output = Output(probabilities={"audio_visual": torch.ones(1, 2)})
    assert with_fusion(output, Fusion(), multi_label=False) is output


@pytest.mark.parametrize("kind", ["mean", "product"])
def test_impossible_classes_and_single_classes_are_fused(kind):
    scores = {
        "audio": scores_of(torch.tensor([[1.0, 0.0, 0.0]]), multi_label=False),
        "visual": scores_of(torch.tensor([[0.0, 1.0, 0.0]]), multi_label=False),
    }
    found = fuse(scores, Fusion(kind=kind), multi_label=False)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]], atol=1e-6)
    alone = {name: torch.tensor([[-2.0]]) for name in scores}
    assert fuse(alone, Fusion(kind=kind), multi_label=False).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"kind": "best"}, "unknown-name"),
        ({"kind": "mean", "temperature": 0.0}, "bad-value"),
        ({"kind": "mean", "temperature": math.inf}, "bad-value"),
        ({"temperature": 2.0}, "conflicting-options"),
    ],
)
def test_wrong_values_are_refused(values, code):
    with input_error(code, "fusion" if code != "conflicting-options" else "temperature"):
        options = {**default_recipe("finetune").options, "fusion": values}
        configure(method_class("finetune").Options, options, "recipe")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("l2p", "dualprompt")])
def test_every_method_takes_the_fusion(name):
    memory = "12" if method_class(name).needs_memory else "0"
    fusion = {"kind": "mean", "temperature": 4.0}
    own, mean = (
        toy_loop(name, options=quick_options(name, **more), num_tasks=2, memory=memory)
        for more in ({}, {"fusion": fusion})
    )
    _, audio, visual = (torch.from_numpy(part) for part in toy_tokens()[:3])
    for loop in (own, mean):
        loop.run()
        loop.method.eval()
    with torch.no_grad():
        before, after = own.method.predict(audio, visual), mean.method(audio, visual)
    for modality in ("audio", "visual"):
        assert torch.equal(before.probabilities[modality], after.probabilities[modality])
    p = [before.probabilities[m].double().clamp_min(1e-38) ** 0.25 for m in ("audio", "visual")]
    wanted = sum(part / part.sum(dim=1, keepdim=True) for part in p) / 2
    np.testing.assert_allclose(after.probabilities["audio_visual"], wanted, atol=2e-5)
    scored = mean.predictions.scores[-1]["audio_visual"]
    np.testing.assert_allclose(scored, wanted[mean.test], atol=2e-5)
