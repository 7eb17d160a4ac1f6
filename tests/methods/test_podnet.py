"""PODNet: inner maps, imprinted proxies, balanced fine-tuning, saving."""

import numpy as np
import pytest
import torch

from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.losses.pooled import pod_flat, pod_spatial
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.podnet import balanced_clips
from cign.metrics.incremental import summarise
from cign.networks.proxies import ProxyHead, cluster_centres
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData
from cign.utils.progress import Silent
from cign.vocabulary import MODALITIES
from refusals import input_error
from test_gradients import batch_of, phase
from toy import SHAPE, toy_loop, toy_method

SMALL = {"depth": 2, "num_heads": 2}
TRAINED = {
    **SMALL,
    "depth": 1,
    "initial_scale": 5.0,
    "training": {"num_epochs": 8, "batch_size": 16, "learning_rate": 3e-3},
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def grown(options):
    method = toy_method("podnet", options)
    method.grow(3)
    method.grow(2)
    return method


def test_on_cached_tokens_the_inner_maps_are_the_blocks_outputs():
    method, batch = grown(SMALL), batch_of(5, num_old=3)
    network, maps = method.network.eval(), []
    network.features(batch.audio, batch.visual, on_map=lambda *pair: maps.append(pair))
    assert [name for name, _ in maps] == ["audio", "audio", "visual", "visual"]
    project, transformer = network.visual_trunk
    x = transformer.blocks[0](project(batch.visual))
    torch.testing.assert_close(maps[2][1], x)
    torch.testing.assert_close(maps[3][1], transformer.blocks[1](x))


def test_a_model_that_did_not_change_is_at_no_distance_and_a_changed_one_is():
    method, batch = grown({**SMALL, "drop_path": 0.0}), batch_of(5, num_old=3)
    names = [f"{m}_{kind}" for m in ("audio", "visual") for kind in ("spatial", "flat")]
    losses = method.learn(batch, phase())
    for name in names:
        assert losses[name].item() == pytest.approx(0.0, abs=1e-10)
    with torch.no_grad():
        for parameter in method.network.audio_trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    losses = method.learn(batch, phase())
    assert losses["audio_spatial"].item() > 1e-3
    assert losses["audio_flat"].item() > 1e-3
    assert losses["visual_spatial"].item() == pytest.approx(0.0, abs=1e-10)


def test_weights_of_the_distillation_grow_with_the_classes():
    batch, values = batch_of(5, num_old=3), []
    for options in ({"adaptive": False, "flat_weight": 1.0}, {"flat_weight": 2.0}):
        method = grown({**SMALL, "drop_path": 0.0, **options})
        with torch.no_grad():
            for parameter in method.network.audio_trunk.parameters():
                parameter.mul_(1.3)
        values.append(method.learn(batch, phase())["audio_flat"].item())
        old = method.teacher.frozen.features(batch.audio, batch.visual)["audio"]
        now = method.network.features(batch.audio, batch.visual)["audio"]
    assert values[0] == pytest.approx(pod_flat(old, now).item(), rel=1e-5)
    assert values[1] == pytest.approx(2.0 * (5 / 2) ** 0.5 * values[0], rel=1e-5)


def test_with_the_linear_trunk_cached_tokens_leave_nothing_to_distil():
    losses = grown({"trunk": "linear"}).learn(batch_of(5, num_old=3), phase())
    assert not any(name.endswith("spatial") for name in losses)
    assert losses["audio_flat"].item() == pytest.approx(0.0, abs=1e-10)
    assert not losses["audio_flat"].requires_grad


class Notes(Silent):
    """Keeps the sentences that a run shows."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_a_run_says_that_nothing_is_distilled(tiny):
    store, progress = Store.open(tiny[1]), Notes()
    for trunk, number in (("linear", 1), ("transformer", 0)):
        config = RunConfig.of(
            "podnet",
            options={"trunk": trunk},
            tasks=split_into_tasks(store.class_names, 2).groups,
            backbone="small-random",
            memory="8",
        )
        progress.texts.clear()
        build_loop(config, TrainingData.open(config, store), progress)
        found = [text for text in progress.texts if "distils nothing" in text]
        assert len(found) == number


class TinyBackbone(torch.nn.Module):
    """Something to train in place of encoders."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(SHAPE.audio_dim))

    def audio_tokens(self, audio):
        return audio * self.scale

    visual_tokens = audio_tokens


def test_end_to_end_the_encoders_tokens_are_distilled_with_any_trunk():
    method = toy_method("podnet", {"trunk": "linear"}, backbone=TinyBackbone())
    method.grow(3)
    method.grow(2)
    with torch.no_grad():
        method.network.encoder.backbone.scale[:8] = 2.0
    losses, batch = method.learn(batch_of(5, num_old=3), phase()), batch_of(5)
    weight = 3.0 * (5 / 2) ** 0.5
    changed = batch.visual * method.network.encoder.backbone.scale
    expected = weight * pod_spatial(batch.visual, changed, SHAPE.visual_grid)
    torch.testing.assert_close(losses["visual_spatial"], expected)
    losses["visual_spatial"].backward()
    assert method.network.encoder.backbone.scale.grad.any()


def test_the_balanced_phase_trains_the_heads_alone():
    method = grown(SMALL)
    balanced = Phase(name="balanced", indices=np.arange(4), options=TrainingOptions())
    losses = method.learn(batch_of(5, num_old=3), balanced)
    assert set(losses) == {"audio", "visual", "audio_visual"}
    torch.stack(list(losses.values())).sum().backward()
    reached = {n for n, p in method.named_parameters() if p.grad is not None}
    assert reached
    assert all(name.startswith("network.heads.") for name in reached)


def test_phases_are_balanced_and_the_same_whenever_they_are_asked_for():
    loop = toy_loop("podnet", options=TRAINED, memory="10", num_tasks=3)
    loop.memory.by_class = {c: np.array([1, 2, 4]) + 12 * c for c in range(2)}
    data = loop._task_data(1)
    clips = balanced_clips(data)
    assert set(clips) <= set(data.new)
    assert np.bincount(data.class_of(clips), minlength=4).tolist() == [0, 0, 3, 3]
    assert np.array_equal(clips, balanced_clips(data))
    names = [p.name for p in loop.method.phases(data)]
    assert names == ["train", "balanced"]
    loop.memory.by_class = {}
    assert [p.name for p in loop.method.phases(loop._task_data(0))] == ["train"]


def test_cluster_centres_find_the_clusters():
    rng = np.random.default_rng(0)
    directions = np.eye(6)[:4]
    x = np.repeat(directions, 10, axis=0) + 0.01 * rng.normal(size=(40, 6))
    x *= rng.uniform(0.5, 5.0, size=(40, 1))  # length must not matter
    centres = cluster_centres(x.astype(np.float32), 4, seed=1)
    nearest = (centres @ directions.T).max(axis=0)
    assert (nearest > 0.999).all()


def test_imprinted_proxies_are_centres_and_a_poor_class_repeats_its_own():
    head = ProxyHead(4, num_proxies=3, scale=1.0)
    head.grow(2)
    head.grow(3)
    before = [chunk.detach().clone() for chunk in head.chunks]
    rich = np.repeat(np.eye(4)[:3], 5, axis=0).astype(np.float32)
    poor = np.array([[0.0, 0.0, 0.0, 2.0]], dtype=np.float32)
    head.imprint([rich, poor, poor[:0]], seed=0)
    assert torch.equal(head.chunks[0], before[0])
    new = head.chunks[1].detach()
    assert torch.allclose(new[0].sort(dim=0).values[-1], torch.tensor([1.0, 1, 1, 0]), atol=1e-6)
    assert torch.allclose(new[1], torch.tensor([0.0, 0, 0, 1]).expand(3, 4), atol=0.05)
    assert len(torch.unique(new[1], dim=0)) == 3
    assert torch.equal(new[2], before[1][2])


def test_it_forgets_less_than_fine_tuning_and_reloads_to_the_same_scores():
    ours = toy_loop("podnet", options=TRAINED, memory="12", per_class=24)
    ours.run()
    plain = {k: v for k, v in TRAINED.items() if k != "initial_scale"}
    other = toy_loop("finetune", options={**plain, "trunk": "transformer"}, per_class=24)
    other.run()
    for modality in ("audio", "visual"):
        a, b = (summarise(loop.predictions)[modality] for loop in (ours, other))
        assert a["last"] > b["last"] + 10
        assert a["forgetting"] < b["forgetting"] - 20
    again = toy_method("podnet", TRAINED)
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


def test_the_learned_scale_stays_above_zero_where_the_loss_would_push_it_below():
    # Momentum and a high rate: without a bound the scale turns negative, the loss is zero and
    # most test clips are mistaken.
    rough = {
        **SMALL,
        "depth": 1,
        "drop_path": 0.0,
        "initial_scale": 3.0,
        "training": {
            "num_epochs": 20,
            "batch_size": 16,
            "learning_rate": 0.05,
            "optimizer": "sgd",
        },
        "balanced_training": {"num_epochs": 2, "learning_rate": 0.05, "optimizer": "sgd"},
    }
    loop = toy_loop("podnet", options=rough, memory="4/class", noise=2.0)
    loop.run()
    scales = [loop.method.head(modality).scale.item() for modality in MODALITIES]
    assert min(scales) >= 1.0
    modalities = summarise(loop.predictions)
    assert modalities["audio_visual"]["last"] > 50.0


def test_a_scale_that_is_not_above_zero_is_refused():
    with input_error("bad-value", "initial_scale", "0"):
        toy_method("podnet", {"initial_scale": 0.0})
