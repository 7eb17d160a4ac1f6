"""Runs on every stream: what methods read, resuming, commands, benches."""

import json
import random

import numpy as np
import pytest
import torch
import yaml

from cign import Learner
from cign.data.tasks import TaskClips, TaskSequence
from cign.methods import METHODS, method_class
from cign.metrics.few_shot import summarise
from cign.metrics.incremental import seen_accuracy
from cign.metrics.predictions import Predictions
from cign.runs.arrival import ArrivalConfig
from cign.runs.configuration import RunConfig
from refusals import input_error
from test_resume import OPTIONS
from toy import quick_options, toy_loop, toy_method
from traps.runs import assert_same_results

FEW = {"stream": "fewshot", "shots": 3, "base_classes": 4}
BLURRY = {"stream": "blurry", "blurry_share": 0.3}
ONLINE = {"stream": "online", "evaluations": 3}
STREAMS = {"blurry": BLURRY, "online": ONLINE, "fewshot": FEW}
FINETUNE = {"training": {"num_epochs": 2, "batch_size": 8}}


def make(name, stream, folder=None, **kwargs):
    return toy_loop(
        name,
        options=OPTIONS[name],
        memory="12",
        folder=folder,
        seed=3,
        arrival=STREAMS[stream],
        per_class=24 if stream == "online" else 12,
        **kwargs,
    )


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cases():
    return [
        (name, stream)
        for stream in STREAMS
        for name in METHODS
        if not method_class(name).stream_reason(stream, "frozen")
    ]


@pytest.mark.parametrize(("name", "stream"), cases())
def test_stopped_and_resumed_gives_the_same_bits(name, stream, tmp_path):
    unbroken = make(name, stream, tmp_path / "unbroken")
    unbroken.run()
    for scores in unbroken.predictions.scores:
        assert all(np.isfinite(x).all() for x in scores.values())
    rng = random.Random(f"{name} {stream}")
    folder = tmp_path / "broken"
    loop = make(name, stream, folder, checkpoint_every_s=0, stop_after=rng.randint(1, 2))
    loop.run()
    stops = 0
    while loop.place.task < loop.clips.tasks.num_tasks:
        stops += 1
        torch.manual_seed(rng.randint(0, 10**6))  # what went on before must not matter
        loop = make(name, stream, folder, checkpoint_every_s=0, stop_after=rng.randint(1, 7))
        loop.predictions = (
            Predictions.load(loop.predictions_path)
            if loop.predictions_path.exists()
            else loop.predictions
        )
        loop.resume()
        loop.run()
    assert stops >= 1
    assert_same_results(loop, unbroken)
    if stream == "online":
        assert loop.online.points == unbroken.online.points
        assert len(loop.online.points) == 3 * 3


@pytest.mark.parametrize(("name", "stream"), cases())
def test_a_method_reads_the_clips_that_have_arrived(name, stream):
    loop = make(name, stream)
    reads, read = [], loop.source.read

    class Watched:
        bytes_per_clip, ahead = loop.source.bytes_per_clip, 0
        availability = loop.source.availability

        def read(self, indices):
            reads.append((loop.place.task, indices.tolist()))
            return read(indices)

    loop.source, loop.test_source = Watched(), loop.source
    held = {0: set()}
    loop.after_task = lambda: held.update({loop.place.task: set(loop.memory.indices.tolist())})
    loop.run()
    arrived = {}
    for task in range(loop.clips.tasks.num_tasks):
        arrived[task] = {int(i) for i in loop.train if loop.clips.arrival[i] == task}
    for task, indices in reads:
        allowed = arrived[task] | held[task]
        if loop.method.replays_everything:
            allowed = set().union(*(arrived[k] for k in range(task + 1)))
        if loop.memory.budget.amount:
            allowed |= set(loop.memory.indices.tolist()) & arrived[task]
        assert set(indices) <= allowed
    seen = set().union(*(indices for _, indices in reads))
    assert seen == set(loop.train.tolist())


# ------------------------------------------------------------------------- commands


def test_an_online_run_is_recorded_shown_and_resumed(tiny, cign, tmp_path):
    out = tmp_path / "run"
    words = ("--tasks", 2, "--stream", "online", "--evaluations", 2)
    code, said, error = cign("train", tiny[1], "--out", out, "--method", "analytic", *words)
    assert code == 0, error
    assert "area under the curve" in said
    online = json.loads((out / "metrics.json").read_text())["online"]
    points = online["points"]
    assert [(one["task"], one["num_clips"]) for one in points] == [
        (1, 10),
        (1, 12),
        (2, 22),
        (2, 24),
    ]
    for modality, numbers in online["modalities"].items():
        sizes = zip(points, (10, 2, 10, 2), strict=True)
        total = sum(one["percent"][modality] * size for one, size in sizes)
        assert numbers["auc_online"] == pytest.approx(total / 24)
    code, said, _ = cign("metrics", out)
    assert code == 0
    assert "auc_online" in said
    code, _, error = cign("train", tiny[1], "--out", out, "--resume", "--evaluations", 4)
    assert code == 2
    assert "evaluations 2, not 4" in error
    assert cign("train", tiny[1], "--out", out, "--resume")[0] == 0
    assert json.loads((out / "metrics.json").read_text())["online"] == online


def test_a_few_shot_run_is_recorded_shown_and_resumed(tiny, cign, tmp_path):
    out = tmp_path / "run"
    words = ("--tasks", 2, "--stream", "fewshot", "--shots", 2, "--base-classes", 3)
    code, said, error = cign("train", tiny[1], "--out", out, "--method", "analytic", *words)
    assert code == 0, error
    assert "harmonic mean" in said
    metrics = json.loads((out / "metrics.json").read_text())
    assert [len(group) for group in metrics["tasks"]] == [3, 1]
    assert sorted(metrics["num_train_per_class"].values()) == [2, 6, 6, 6]
    assert metrics["store"]["num_train"] == 20
    predictions = Predictions.load(out / "predictions.parquet")
    assert metrics["few_shot"]["modalities"] == summarise(predictions)
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["arrival"]["stream"] == "fewshot"
    assert "<dt>stream</dt><dd>fewshot</dd>" in (out / "report.html").read_text()
    code, said, _ = cign("metrics", out)
    assert code == 0
    assert "harmonic_mean" in said
    for changed in (("--stream", "tasks"), ("--shots", 3), ("--base-classes", 2)):
        code, _, error = cign("train", tiny[1], "--out", out, "--resume", *changed)
        assert code == 2
        assert "resuming cannot change it" in error
    assert cign("train", tiny[1], "--out", out, "--resume")[0] == 0


def test_bad_streams_are_refused_before_anything_is_written(tiny, cign, tmp_path):
    out = tmp_path / "run"
    for words, says in (
        (("--stream", "fewshot"), "--tasks 2 or more"),
        (("--stream", "fewshot", "--tasks", 2, "--base-classes", 4), "--base-classes"),
        (("--stream", "fewshot", "--tasks", 2, "--base-classes", 9), "--base-classes"),
        (("--stream", "fewshot", "--tasks", 2, "--shots", 0), "--shots"),
        (("--stream", "fewshot", "--tasks", 2, "--base-classes", -1), "--base-classes"),
        (("--stream", "blurry"), "--tasks 2 or more"),
        (("--stream", "blurry", "--tasks", 2, "--blurry-share", 0.95), "in its own task"),
        (("--stream", "blurry", "--tasks", 2, "--blurry-share", 0.01), "no clip recurs"),
        (("--stream", "blurry", "--tasks", 2, "--blurry-share", 0), "blurry_share"),
        (("--stream", "blurry", "--tasks", 2, "--blurry-share", -1), "--blurry-share"),
        (("--blurry-share", 0.2), "--stream blurry"),
        (("--stream", "online", "--evaluations", 0), "--evaluations"),
        (("--evaluations", 3), "--stream online"),
        (("--shots", 2), "--stream fewshot"),
        (("--stream", "blury"), "'blury'"),
    ):
        code, _, error = cign("train", tiny[1], "--out", out, "--method", "analytic", *words)
        assert code == 2, words
        assert says in error
        assert not out.exists()


def test_a_branch_of_a_drawn_stream_keeps_its_seed(tiny, tmp_path):
    out = tmp_path / "run"
    few = {"stream": "fewshot", "shots": 2}
    Learner("finetune", options=FINETUNE, **few).learn(tiny[1], tasks=3, out=out, keep_tasks=True)
    with input_error("resume-mismatch", "seed 0", "leave seed out"):
        Learner(seed=1).learn(tiny[1], branch_from=f"{out}@1", out=tmp_path / "other")
    branch = Learner().learn(tiny[1], branch_from=f"{out}@1", out=tmp_path / "same")
    first = json.loads((out / "metrics.json").read_text())
    assert branch.metrics["modalities"] == first["modalities"]


def test_a_branch_of_a_blurry_stream_keeps_its_tasks(tiny, tmp_path):
    out = tmp_path / "run"
    blurry = {"stream": "blurry", "blurry_share": 0.2}
    Learner("finetune", options=FINETUNE, **blurry).learn(
        tiny[1], tasks=3, out=out, keep_tasks=True
    )
    first, *later = RunConfig.load(out).tasks
    tasks = TaskSequence((first, *reversed(later)))
    with input_error("resume-mismatch", "blurry", "leave the tasks out"):
        Learner().learn(tiny[1], tasks=tasks, branch_from=f"{out}@1", out=tmp_path / "other")
    with input_error("resume-mismatch", "stream blurry", "tasks"):
        Learner(stream="tasks", blurry_share=0.1).learn(
            tiny[1], branch_from=f"{out}@1", out=tmp_path / "other"
        )


def test_a_bench_has_one_stream(tiny, cign, tmp_path):
    out = tmp_path / "bench"
    command = ("bench", tiny[1], "--out", out, "--methods", "analytic", "--tasks", 2)
    stream = ("--stream", "fewshot", "--shots", 2)
    more = ("--workers", 1, "--no-models")
    code, _, error = cign(*command, *stream, *more)
    assert code == 0, error
    assert "Stream of the training clips: fewshot." in (out / "table.md").read_text()
    (run,) = (out / "runs").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["config"]["stream"] == "fewshot"
    assert metrics["store"]["num_train"] == 2 * 6 + 2 * 2
    code, _, error = cign(*command, *more)
    assert code == 2
    assert "--stream fewshot, not tasks" in error
    code, _, error = cign(*command, "--shots", 2, *more)
    assert code == 2
    assert "--stream fewshot" in error


# ------------------------------------------------------------------------- several labels


def several_labels(name, stream):
    """A loop on clips of which every third also has the next class."""
    loop = toy_loop(name, options=quick_options(name), memory="12", per_class=24, seed=3)
    names, labels = loop.clips.tasks.class_order, loop.clips.targets.argmax(axis=1)
    of_clip = [
        tuple(sorted({names[c], names[(c + 1) % 6]} if i % 4 == 0 else {names[c]}))
        for i, c in enumerate(labels)
    ]
    arrival = ArrivalConfig(**STREAMS[stream])
    clips = TaskClips.of(of_clip, arrival.cut(names, 3, 0))
    loop.clips = clips = arrival.drawn(clips, loop.train, 3)
    loop.train = loop.train[clips.arrival[loop.train] >= 0]
    loop.method = toy_method(name, quick_options(name), multi_label=True)
    loop.online = arrival.online()
    loop.predictions = Predictions(
        clip_ids=[str(i) for i in loop.test],
        labels=[of_clip[i] for i in loop.test],
        class_names=names,
        task_sizes=clips.tasks.sizes,
    )
    return loop


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    "name", [n for n in METHODS if method_class(n).supports_multi_label and n != "joint"]
)
def test_clips_of_several_labels_arrive_on_every_stream(name, stream):
    if method_class(name).stream_reason(stream, "frozen"):
        pytest.skip("refused")
    if name == "lwf":
        pytest.skip("its other form supports several labels")
    loop = several_labels(name, stream)
    assert loop.clips.is_multi_label
    loop.run()
    assert loop.place.task == 3
    for scores in loop.predictions.scores:
        assert all(np.isfinite(x).all() for x in scores.values())
    if stream == "online":
        last = loop.online.points[-1].percent["audio"]
        assert last == pytest.approx(100 * seen_accuracy(loop.predictions, "audio")[-1])
        assert len(loop.online.points) == 9
