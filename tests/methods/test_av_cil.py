"""AV-CIL: attention and losses by plain loops, what they train, batches, silent clips, saving."""

import dataclasses
import math

import pytest
import torch

from cign.losses.separated import separated_cross_entropy
from cign.methods import method_class
from cign.methods.base import Setup
from cign.metrics.incremental import summarise
from cign.networks.encoder import Encoder
from cign.networks.guided import GuidedNetwork
from cign.utils.options import configure
from refusals import input_error
from test_gradients import batch_of, phase
from toy import SHAPE, toy_loop, toy_method

LINEAR = {"training": {"num_epochs": 12, "batch_size": 16, "learning_rate": 1e-2}}
FRAMES = dataclasses.replace(SHAPE, visual_grid=(1, 2))  # two frames of two tokens
READINGS = ("audio", "visual", "audio_visual")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def grown(options=None):
    """After a first task of 3 classes, at the start of a second one of 2; two frames a clip."""
    cls = method_class("av_cil")
    filled = configure(cls.Options, options or {}, "options")
    method = cls(Setup(shape=FRAMES), filled)
    method.grow(3)
    method.grow(2)
    return method


def moved(method):
    """Weights as after some steps of the second task, the model before the task unchanged."""
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if parameter.requires_grad and not name.startswith("teacher"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method


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
        for reading, expected in zip(READINGS, (a, plain, fused), strict=True):
            torch.testing.assert_close(got.features[reading][b], torch.tensor(expected), **near)


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
    for reading, value in method.network.classify(now.features).items():
        torch.testing.assert_close(got[reading], separated_cross_entropy(value, batch.targets, 3))
        head = method.teacher.frozen.heads[reading]
        distance = 0.0
        for i in range(n):
            pair = (head(old.features[reading])[i], value[i, :3])
            logs = [
                [math.log(p) for p in softmax([x / temperature for x in one.tolist()])]
                for one in pair
            ]
            distance += temperature**2 * kl(*logs) / n
        assert got[f"{reading}_distillation"].item() == pytest.approx(distance, rel=1e-3)


def test_only_the_fused_reading_depends_on_both_modalities():
    for options in (LINEAR, {**LINEAR, "trunk": "transformer", "depth": 1, "num_heads": 2}):
        method, batch = grown(options).eval(), batch_of(5)
        with torch.no_grad():
            base = method.predict(batch.audio, batch.visual).probabilities
            heard = method.predict(batch.audio.flip(0), batch.visual).probabilities
            seen = method.predict(batch.audio, batch.visual.flip(0)).probabilities
        assert torch.equal(base["visual"], heard["visual"])
        assert torch.equal(base["audio"], seen["audio"])
        for other in (heard, seen):
            assert not torch.allclose(base["audio_visual"], other["audio_visual"])


def trained_by(method, batch, *losses):
    """Names of the parameters that some losses give a gradient."""
    method.zero_grad()
    found = method.learn(batch, phase())
    torch.stack([found[name] for name in losses]).sum().backward()
    return {
        name.removeprefix("network.").split(".")[0]
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


def test_projections_are_contrasted_and_classified_and_the_attention_has_its_own():
    method, batch = moved(grown()), batch_of(5, num_old=3)
    projections = {"audio_projection", "visual_projection"}
    attention = {"audio_attention", "visual_attention"}
    assert trained_by(method, batch, "instance") == projections | attention
    assert trained_by(method, batch, "class") == projections | attention
    assert trained_by(method, batch, "attention") == attention
    assert trained_by(method, batch, "audio_visual") == projections | attention | {"heads"}
    assert trained_by(method, batch, "audio") == {"audio_projection", "heads"}
    assert trained_by(method, batch, "visual") == {"visual_projection", "heads"}


def test_first_task_is_learned_by_cross_entropy_alone():
    batch = batch_of(3)
    for start, extra in (("second", set()), ("first", {"instance", "class"})):
        method = toy_method("av_cil", {"constraints_from": start})
        method.grow(3)
        assert set(method.learn(batch, phase())) == {*READINGS, *extra}


def test_a_weight_of_zero_removes_a_part():
    batch, zero = batch_of(5, num_old=3), {"class_weight": 0.0, "logit_weight": 0.0}
    losses = moved(grown(zero)).learn(batch, phase())
    assert losses["class"].item() == 0.0
    assert losses["instance"].item() > 0.0
    assert "audio_distillation" not in losses


def batches_of(monkeypatch, memory, **options):
    """Task, size and number of exemplars of each batch of a run."""
    seen, cls = [], method_class("av_cil")
    learn = cls.learn

    def spy(self, batch, phase):
        seen.append((len(self.class_counts), len(batch.labels), int(batch.from_memory.sum())))
        return learn(self, batch, phase)

    monkeypatch.setattr(cls, "learn", spy)
    training = {"num_epochs": 2, "batch_size": 12}
    toy_loop("av_cil", options={"training": training, **options}, memory=memory).run()
    return seen


def test_a_third_of_each_batch_are_exemplars(monkeypatch):
    seen = batches_of(monkeypatch, "12")
    assert {old for task, _, old in seen if task == 1} == {0}
    # 16 new clips make two batches of 8.
    assert {(size, old) for task, size, old in seen if task > 1} == {(12, 4)}


def test_a_batch_has_no_more_exemplars_than_there_are(monkeypatch):
    seen = batches_of(monkeypatch, "6", old_share=0.75)  # the share is nine
    assert {old for task, _, old in seen if task > 1} == {6}


def test_silent_and_single_clips_have_finite_losses_and_gradients():
    method = moved(grown())
    batch = batch_of(5, num_old=3)
    silent = dataclasses.replace(batch, audio=torch.zeros_like(batch.audio))
    dark = dataclasses.replace(silent, visual=torch.zeros_like(batch.visual))
    one = type(batch)(**{field: value[:1] for field, value in vars(batch).items()})
    for clips in (silent, dark, one):
        method.zero_grad()
        losses = method.learn(clips, phase())
        torch.stack(list(losses.values())).sum().backward()
        grads = [p.grad for p in method.parameters() if p.grad is not None]
        assert all(bool(grad.isfinite().all()) for grad in grads)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        with torch.no_grad():
            scores = method.predict(clips.audio, clips.visual).probabilities
        assert all(bool(value.isfinite().all()) for value in scores.values())


def test_wrong_options_are_refused():
    with input_error("bad-value", "similarity_temperature"):
        toy_method("av_cil", {"similarity_temperature": 0.0})
    with input_error("unknown-name", "class_mean"):
        toy_method("av_cil", {"class_mean": "clips"})
    with input_error("unknown-name", "constraints_from"):
        toy_method("av_cil", {"constraints_from": "third"})
    for share in (-0.1, 1.5):
        with input_error("bad-value", "spatial_share"):
            toy_method("av_cil", {"spatial_share": share})
    for share in (0.0, 1.0):
        with input_error("bad-value", "av_cil", "old_share"):
            toy_method("av_cil", {"old_share": share})


def test_constraints_bring_sound_and_picture_of_a_class_together():
    aligned = []
    for weight in (0.0, 1.0):
        options = {**LINEAR, "instance_weight": 0.0, "class_weight": weight}
        if weight:
            options |= {"class_mean": "positives", "similarity_temperature": 0.1}
        loop = toy_loop("av_cil", options=options, memory="12")
        loop.run()
        audio, visual = loop.source.read(loop.test)
        with torch.no_grad():
            out = loop.method.eval().network.read(audio, visual)
        cosines = torch.nn.functional.cosine_similarity(
            out.features["audio"][:, None], out.guided[None], dim=2
        )
        labels = torch.from_numpy(loop.clips.class_of(loop.test))
        same = labels[:, None] == labels[None]
        aligned.append(float(cosines[same].mean() - cosines[~same].mean()))
    assert abs(aligned[0]) < 0.25
    assert aligned[1] > aligned[0] + 0.4


def test_it_forgets_less_than_fine_tuning_and_reloads_to_the_same_scores():
    ours = toy_loop("av_cil", options=LINEAR, memory="12", per_class=24)
    ours.run()
    plain = toy_loop("finetune", options=LINEAR, per_class=24)
    plain.run()
    a, b = summarise(ours.predictions)["audio"], summarise(plain.predictions)["audio"]
    assert a["last"] > b["last"] + 10
    assert a["forgetting"] < b["forgetting"] - 20
    again = toy_method("av_cil", LINEAR)
    for size in ours.method.class_counts:
        again.grow(size)
    again.load_state_dict(ours.method.state_dict())
    batch = batch_of(6)
    with torch.no_grad():
        expected = ours.method.eval().predict(batch.audio, batch.visual).probabilities
        for modality, value in (
            again.eval().predict(batch.audio, batch.visual).probabilities.items()
        ):
            assert torch.equal(value, expected[modality])
