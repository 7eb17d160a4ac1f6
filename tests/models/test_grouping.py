"""The grouping against a plain-loop version in float64, written from its definition."""

import math

import pytest
import torch

from cign.layers.growing import TokenMixing
from cign.networks.grouping import Grouping, MeanComparison, assign
from refusals import input_error

B, N, C, D, HEADS = 2, 5, 3, 8, 4


def linear(layer, x):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def layer_norm(layer, x):
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    scale, shift = layer.weight.tolist(), layer.bias.tolist()
    return [
        (v - mean) / math.sqrt(variance + layer.eps) * s + t
        for v, s, t in zip(x, scale, shift, strict=True)
    ]


def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def mlp(layers, x):
    return linear(layers[2], [gelu(v) for v in linear(layers[0], x)])


def softmax(x):
    exps = [math.exp(v - max(x)) for v in x]
    return [e / sum(exps) for e in exps]


def add(x, y):
    return [a + b for a, b in zip(x, y, strict=True)]


def attention(block, queries, keys):
    q = [linear(block.query, x) for x in queries]
    kv = [linear(block.key_value, x) for x in keys]
    k, v = [x[:D] for x in kv], [x[D:] for x in kv]
    size = D // HEADS
    out = []
    for query in q:
        row = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            scores = [
                sum(a * b for a, b in zip(query[part], key[part], strict=True)) / math.sqrt(size)
                for key in k
            ]
            weights = softmax(scores)
            row += [
                sum(w * value[part][d] for w, value in zip(weights, v, strict=True))
                for d in range(size)
            ]
        out.append(linear(block.out, row))
    return out


def reference(g, features, tokens, kind):
    """One clip: features [N][D] and tokens [C][D] as lists."""
    features = [layer_norm(g.norm_features, f) for f in features]
    tokens = [layer_norm(g.norm_tokens, t) for t in tokens]
    tokens = [
        add(t, a)
        for t, a in zip(tokens, attention(g.cross.attention, tokens, features), strict=True)
    ]
    tokens = [add(t, mlp(g.cross.mlp, layer_norm(g.cross.norm_mlp, t))) for t in tokens]
    tokens = [layer_norm(g.cross.norm_out, t) for t in tokens]
    q = [linear(g.query, f) for f in features]
    k = [linear(g.key, t) for t in tokens]
    v = [linear(g.value, f) for f in features]
    shares = []
    for n in range(N):
        row = softmax(
            [sum(a * b for a, b in zip(q[n], k[i], strict=True)) / math.sqrt(D) for i in range(C)]
        )
        if kind == "hard":
            row = [1.0 if x == max(row) else 0.0 for x in row]
        shares.append(row)
    out = []
    for i in range(C):
        total = sum(shares[n][i] for n in range(N)) + 1
        mean = [sum(shares[n][i] * v[n][d] for n in range(N)) / total for d in range(D)]
        embedding = add(tokens[i], linear(g.out, mean))
        out.append(add(embedding, mlp(g.mlp, layer_norm(g.norm_embedding, embedding))))
    return out, tokens, shares


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_grouping_matches_plain_loops_in_float64(kind):
    torch.manual_seed(0)
    grouping = Grouping(D, HEADS, assignment=kind).double().eval()
    for parameter in grouping.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # norms too: no identity hides an error
    features, tokens = torch.randn(B, N, D).double(), torch.randn(B, C, D).double()
    result = grouping(features, tokens)
    for b in range(B):
        wanted = reference(grouping, features[b].tolist(), tokens[b].tolist(), kind)
        for value, expected in zip(result, wanted, strict=True):
            torch.testing.assert_close(
                value[b], torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10
            )


def test_hard_assignment_is_one_hot_with_the_soft_gradient():
    scores = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 6, 3, dtype=torch.float64)
    hard = assign(scores, "hard", training=False)
    assert torch.equal(
        hard.detach().round(), torch.nn.functional.one_hot(scores.argmax(-1), 3).double()
    )
    torch.testing.assert_close(hard.sum(-1), torch.ones(4, 6).double())
    (hard_gradient,) = torch.autograd.grad((hard * weights).sum(), scores)
    soft = assign(scores, "soft", training=False)
    (soft_gradient,) = torch.autograd.grad((soft * weights).sum(), scores)
    torch.testing.assert_close(hard_gradient, soft_gradient)


def test_hard_assignment_in_training_samples_the_softmax():
    torch.manual_seed(1)
    scores = torch.tensor([1.0, 0.0, -1.0]).expand(20000, 1, 3)
    shares = assign(scores, "hard", training=True).mean(dim=(0, 1))
    # 20,000 draws: a standard error of 0.0035 at most.
    torch.testing.assert_close(shares, scores[0, 0].softmax(-1), atol=0.015, rtol=0)


def test_unknown_assignment_is_named():
    with input_error("unknown-name", "assignment", "'firm'", "soft, hard"):
        Grouping(D, HEADS, assignment="firm")


def test_without_grouping_tokens_are_compared_with_the_mean_feature():
    torch.manual_seed(5)
    compare = MeanComparison(D).double()
    torch.nn.init.normal_(compare.bias)
    features = torch.randn(B, N, D, dtype=torch.float64)
    tokens = torch.randn(B, C, D, dtype=torch.float64)
    with torch.no_grad():
        scores, grouped = compare(features, tokens)
    for b in range(B):
        normed = [layer_norm(compare.norm_features, f) for f in features[b].tolist()]
        mean = [sum(column) / N for column in zip(*normed, strict=True)]
        query = linear(compare.query, mean)
        for i, token in enumerate(tokens[b].tolist()):
            key = linear(compare.key, layer_norm(compare.norm_tokens, token))
            wanted = sum(q * k for q, k in zip(query, key, strict=True)) / math.sqrt(D)
            assert scores[b, i].item() == pytest.approx(wanted + compare.bias.item(), abs=1e-10)
    # Nothing is assigned: every feature counts alike for every class.
    assert torch.allclose(grouped.assignment, torch.full((B, N, C), 1 / C, dtype=torch.float64))


def test_token_mixing_is_an_mlp_across_the_token_axis():
    torch.manual_seed(6)
    mixing = TokenMixing(hidden=7)
    mixing.grow(2)
    mixing.grow(1)
    torch.nn.init.normal_(mixing.inputs[1])
    mixing = mixing.double()
    tokens = torch.randn(B, C, D, dtype=torch.float64)
    with torch.no_grad():
        mixed = mixing(tokens)
    inputs = torch.cat(list(mixing.inputs)).tolist()  # [C][H]
    outputs = mixing.outputs.weight().tolist()  # [C][H]
    shifts = torch.cat(list(mixing.outputs.biases)).tolist()
    bias = mixing.bias.tolist()
    for b in range(B):
        for d in range(D):
            column = tokens[b, :, d].tolist()
            hidden = [
                gelu(sum(column[c] * inputs[c][h] for c in range(C)) + bias[h]) for h in range(7)
            ]
            for c in range(C):
                wanted = sum(hidden[h] * outputs[c][h] for h in range(7)) + shifts[c]
                assert mixed[b, c, d].item() == pytest.approx(wanted, abs=1e-10)


def test_growing_leaves_what_is_mixed_into_old_tokens_as_it_was():
    torch.manual_seed(7)
    grouping = Grouping(D, HEADS, token_mixing=True)
    grouping.grow(2)
    tokens = torch.randn(B, 3, D)
    before = grouping.mixing(tokens[:, :2])
    grouping.grow(1)
    assert torch.equal(grouping.mixing(tokens)[:, :2], before)
    assert not torch.equal(grouping.mixing(tokens)[:, 2], torch.zeros(B, D))
