"""AV-CIL: attention, features and losses by plain loops over clips, frames and channels."""

import math

import pytest
import torch

from av_cil_toy import FRAMES, grown, moved
from cign.losses.separated import separated_cross_entropy
from cign.networks.encoder import Encoder
from cign.networks.guided import GuidedNetwork
from cign.vocabulary import MODALITIES
from test_gradients import batch_of, phase


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def norm(x):
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in x) / len(x) + 1e-5)
    return [(value - mean) / deviation for value in x]


def layer(module, x, activation):
    rows = zip(module.weight.tolist(), module.bias.tolist(), strict=True)
    return [
        activation(sum(w * value for w, value in zip(row, x, strict=True)) + bias)
        for row, bias in rows
    ]


def softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def relu(x):
    return max(x, 0.0)


def weights_of(scores):
    """Soft-max of each column of products [token][channel]."""
    columns = [softmax(column) for column in zip(*scores, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def weighted(weights, rows):
    return [
        sum(w[channel] * row[channel] for w, row in zip(weights, rows, strict=True))
        for channel in range(len(rows[0]))
    ]


def times(query, rows):
    return [[q * k for q, k in zip(query, row, strict=True)] for row in rows]


@pytest.mark.parametrize("common_dim", [None, 5])
def test_attention_and_features_by_loops(common_dim):
    network = GuidedNetwork(Encoder(FRAMES), common_dim=common_dim)
    batch = batch_of(2)
    got = network.requires_grad_(False).read(batch.audio, batch.visual)
    for b in range(len(batch.audio)):
        audio = norm(mean(batch.audio[b].tolist()))
        tokens = batch.visual[b].tolist()
        query = layer(network.audio_attention, audio, math.tanh)
        spatial, of_frames, keys_of_frames = [], [], []
        for frame in (tokens[:2], tokens[2:]):
            keys = [layer(network.visual_attention, norm(token), math.tanh) for token in frame]
            spatial.append(weights_of(times(query, keys)))
            of_frames.append(weighted(spatial[-1], frame))
            keys_of_frames.append(weighted(spatial[-1], keys))
        temporal = weights_of(times(query, keys_of_frames))
        attended = norm(weighted(temporal, of_frames))
        near = {"rtol": 1e-3, "atol": 1e-4}
        torch.testing.assert_close(got.log_spatial[b].exp(), torch.tensor(spatial), **near)
        torch.testing.assert_close(got.log_temporal[b].exp(), torch.tensor(temporal), **near)
        a = layer(network.audio_projection, audio, relu)
        guided = layer(network.visual_projection, attended, relu)
        plain = layer(network.visual_projection, norm(mean(tokens)), relu)
        fused = [x + y for x, y in zip(a, guided, strict=True)]
        torch.testing.assert_close(got.guided[b], torch.tensor(guided), **near)
        for modality, expected in zip(MODALITIES, (a, plain, fused), strict=True):
            torch.testing.assert_close(got.features[modality][b], torch.tensor(expected), **near)


def kl(old, now):
    """KL of two lists of logarithms."""
    return sum(math.exp(p) * (p - q) for p, q in zip(old, now, strict=True))


def test_losses_of_a_batch_by_loops():
    options = {"instance_weight": 0.4, "class_weight": 0.7, "attention_weight": 1.5}
    method = moved(grown({**options, "spatial_share": 0.3}))
    method.network.requires_grad_(False)
    batch = batch_of(5, num_old=3)
    got = method.learn(batch, phase())
    now = method.network.read(batch.audio, batch.visual)
    old = method.teacher.frozen.read(batch.audio, batch.visual)
    audio, visual = now.features["audio"].double().tolist(), now.guided.double().tolist()
    labels, n = batch.labels.tolist(), len(batch.labels)
    instance = contrast = 0.0
    for i in range(n):
        cosines = [
            sum(x * y for x, y in zip(audio[i], v, strict=True))
            / math.hypot(*audio[i])
            / math.hypot(*v)
            for v in visual
        ]
        log_p = [math.log(p) for p in softmax([cosine / 0.05 for cosine in cosines])]
        instance -= log_p[i] / n
        contrast -= sum(log_p[j] for j in range(n) if labels[j] == labels[i]) / n**2
    assert got["instance"].item() == pytest.approx(0.4 * instance, rel=1e-4)
    assert got["class"].item() == pytest.approx(0.7 * contrast, rel=1e-4)
    spatial = temporal = 0.0
    counted = [i for i in range(n) if labels[i] < 3]  # exemplars
    for i in counted:
        for channel in range(16):
            for frame in range(2):
                maps = (m.log_spatial[i, frame, :, channel].tolist() for m in (old, now))
                spatial += kl(*maps) / len(counted)
            maps = (m.log_temporal[i, :, channel].tolist() for m in (old, now))
            temporal += kl(*maps) / len(counted)
    assert min(spatial, temporal) > 1e-3
    expected = 1.5 * (0.3 * spatial + 0.7 * temporal)
    assert got["attention"].item() == pytest.approx(expected, rel=1e-3)
    temperature = 2.0
    for modality, value in method.network.classify(now.features).items():
        torch.testing.assert_close(got[modality], separated_cross_entropy(value, batch.targets, 3))
        head = method.teacher.frozen.heads[modality]
        distance = 0.0
        for i in range(n):
            pair = (head(old.features[modality])[i], value[i, :3])
            logs = [
                [math.log(p) for p in softmax([x / temperature for x in one.tolist()])]
                for one in pair
            ]
            distance += temperature**2 * kl(*logs) / n
        assert got[f"{modality}_distillation"].item() == pytest.approx(distance, rel=1e-3)
