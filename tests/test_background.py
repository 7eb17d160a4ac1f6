"""Background and weights through training, additions, merging, evaluation and files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cign.cli.entry_point import main
from cign.data.clips import ClipTable
from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.learner import Learner
from cign.methods.capabilities import num_background
from cign.methods.sums import same_sums
from cign.saved_model.files import read_about
from cign.training.distributed.sums import partial_sums
from cign.vocabulary import UNIMODAL
from refusals import input_error
from toy import FIXED, toy_loop

OPTIONS = {**FIXED["cign_analytic"], "width": 60, "precision": "float64"}
CLASSES = ("ape", "bee", "cat", "dog")
ALL = (*CLASSES, "none")
NUM_TRAIN, NUM_VAL, NUM_TEST = 8, 2, 4


def features(names, seed=0, **columns):
    """Features of clips of some classes or of none, with splits."""
    draw = np.random.default_rng(seed)
    each = NUM_TRAIN + NUM_VAL + NUM_TEST
    kinds = np.repeat([ALL.index(name) for name in names], each)
    found = {}
    for kind, (num_tokens, dim) in {"audio": (2, 16), "visual": (3, 24)}.items():
        centres = 4 * np.eye(len(ALL), dim)[kinds][:, None]
        found[kind] = (centres + draw.normal(size=(len(kinds), num_tokens, dim))).astype("float32")
    splits = ["train"] * NUM_TRAIN + ["val"] * NUM_VAL + ["test"] * NUM_TEST
    return {
        **found,
        "labels": [names[i // each] for i in range(len(kinds))],
        "split": splits * len(names),
        "id": [f"clip {seed}/{i}" for i in range(len(kinds))],
        **columns,
    }


def store_of(folder, arrays, **how):
    prepare_features(arrays, folder, encoders="toy", progress=False, **how)
    return Store.open(folder)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores of the same clips with background, without it, and of background alone."""
    folder, every = tmp_path_factory.mktemp("stores"), features(ALL)
    is_none = [name == "none" for name in every["labels"]]

    def part(wanted):
        rows = [row for row, one in enumerate(is_none) if one == wanted]
        return {name: [values[row] for row in rows] for name, values in every.items()} | {
            kind: every[kind][rows] for kind in UNIMODAL
        }

    return {
        "with": store_of(folder / "with", every),
        "plain": store_of(folder / "plain", part(False)),
        "only": store_of(folder / "only", part(True), min_classes=1, require_train=False),
    }


def learned(store, tasks=1, method="cign_analytic", **how):
    options = OPTIONS if method == "cign_analytic" else None
    return Learner(method, backbone="features:toy", options=options).learn(
        store, tasks=tasks, progress=False, **how
    )


def assert_same_solution(found, wanted):
    assert found.classes == wanted.classes
    for modality in UNIMODAL:
        mine, theirs = found.model.method.of(modality), wanted.model.method.of(modality)
        torch.testing.assert_close(mine.weights, theirs.weights, rtol=1e-5, atol=1e-6)
        pair = [one.fitted_gram.tril() for one in (mine, theirs)]
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-10)
    assert num_background(found.model.method) == num_background(wanted.model.method)


def test_background_arrives_with_the_first_task_and_the_order_does_not_matter(stores):
    at_once, by_task = learned(stores["with"]), learned(stores["with"], tasks=2)
    assert num_background(at_once.model.method) == NUM_TRAIN
    assert_same_solution(by_task, at_once)
    plain = learned(stores["plain"])
    for modality in UNIMODAL:
        gram, other = (x.model.method.gram(modality) for x in (at_once, plain))
        torch.testing.assert_close(gram.tril(), other.tril(), rtol=1e-12, atol=1e-12)
    assert torch.equal(at_once.model.method.class_clips, plain.model.method.class_clips)
    assert at_once.model.kept.counts() == plain.model.kept.counts()


def test_background_is_added_alone(stores):
    learner = learned(stores["plain"])
    before = {m: learner.model.method.gram(m).clone() for m in UNIMODAL}
    addition = learner.add(stores["only"])
    assert (addition.new, addition.known, addition.background) == ({}, {}, NUM_TRAIN)
    assert addition.estimate is None
    assert f"{NUM_TRAIN} clips of background" in learner.model.changes[-1]["text"]
    assert learner.classes == CLASSES
    assert_same_solution(learner, learned(stores["with"]))
    for modality, gram in before.items():
        assert torch.equal(learner.model.method.gram(modality), gram)
    more = learned(stores["plain"])
    more.add(stores["with"])
    assert num_background(more.model.method) == NUM_TRAIN


def test_background_of_merged_models_adds_up(stores):
    first, second = learned(stores["with"]), learned(stores["plain"])
    for one, other in ((first, second), (second, first)):
        merged = Learner("cign_analytic")
        merged.model = replace(one.model)
        report = merged.merge(other)
        assert report.background == NUM_TRAIN
        assert num_background(merged.model.method) == NUM_TRAIN
    twice = Learner("cign_analytic")
    twice.model = replace(first.model)
    assert twice.merge(first).background == 2 * NUM_TRAIN


def test_files_of_a_model_with_and_without_background(stores, tmp_path, capsys):
    for name in ("with", "plain"):
        learner = learned(stores[name])
        learner.save(tmp_path / name)
        loaded = Learner.load(tmp_path / name)
        assert same_sums(loaded.model.method, learner.model.method)
        assert num_background(loaded.model.method) == num_background(learner.model.method)
        keys = list(load_file(tmp_path / name / "model.safetensors"))
        has = any("background" in key for key in keys if not key.startswith("records."))
        assert has == (name == "with")
        assert ("background" in read_about(tmp_path / name)) == has
        assert ("Background: 8 clips" in (tmp_path / name / "README.md").read_text()) == has
        assert main(["versions", str(tmp_path / name)]) == 0
        assert ("background clips" in capsys.readouterr().out) == has
    learner = Learner.load(tmp_path / "with")
    learner.resolve({"audio": {"ridge": 50.0}})
    assert num_background(learner.model.method) == NUM_TRAIN


def test_evaluation_counts_false_alarms(stores, tmp_path, capsys):
    learned(stores["plain"]).save(tmp_path / "plain")
    learned(stores["with"]).save(tmp_path / "with")
    found = {}
    for name in ("plain", "with"):
        out = tmp_path / f"{name}.json"
        command = ["evaluate", str(tmp_path / name), str(stores["with"].folder), "--out", str(out)]
        assert main([*command, "--json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)["background"]
        rows = [one for one in json.loads(out.read_text()) if one["true_label"] == "none"]
        assert len(rows) == found[name]["num_clips"] == NUM_TEST
        assert sum(not row["is_unknown"] for row in rows) == found[name]["called_known"]
        assert {row["correct"] for row in rows} == {None}
    assert found["with"]["called_known"] <= found["plain"]["called_known"]
    assert main(command[:3]) == 0
    assert f"of {NUM_TEST} clips are called a known" in " ".join(capsys.readouterr().out.split())


def test_other_methods_leave_background_out(stores, tmp_path, capsys):
    finetune = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    states = []
    for name in ("with", "plain"):
        run = tmp_path / name
        learner = Learner("finetune", backbone="features:toy", options=finetune)
        learner.learn(stores[name], out=run, progress=True)
        states.append(learner.model.method.state_dict())
    assert "does not learn background: 8 training clips" in " ".join(
        capsys.readouterr().err.split()
    )
    for key, values in states[0].items():
        assert torch.equal(values, states[1][key]), key
    with input_error("no-clips", "background"):
        learned(stores["plain"], method="ncm").add(stores["only"])
    addition = learned(stores["plain"], method="ncm").add(stores["with"])
    assert addition.background == 0
    assert any("does not learn background" in note for note in addition.notes)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A store with weights and shares, and background; every clip is a source of its own."""
    arrays = features(ALL, seed=1)
    arrays["weight"] = np.random.default_rng(2).uniform(0.2, 1.0, len(arrays["labels"])).tolist()
    labels = arrays["labels"]
    for row in range(0, len(labels), 3):
        if labels[row] != "none" and arrays["split"][row] == "train":
            labels[row] = f"{labels[row]}:0.7|{CLASSES[row % 4 - 1]}:0.1"
        if labels[row].partition(":")[0] == labels[row].rpartition("|")[2].partition(":")[0]:
            labels[row] = labels[row].partition("|")[0]
    return store_of(tmp_path_factory.mktemp("weighted") / "store", arrays)


def test_methods_that_cannot_weight_refuse(weighted, tmp_path, stores, capsys):
    for name in ("finetune", "ncm"):
        with input_error("unsupported", name, "clip 1/0", "analytic"):
            Learner(name, backbone="features:toy").learn(weighted, progress=False)
    with input_error("unsupported", "ncm", "cign_analytic"):
        learned(stores["plain"], method="ncm").add(weighted)
    command = ["bench", str(weighted.folder), "--out", str(tmp_path / "bench")]
    assert main([*command, "--methods", "finetune", "--tasks", "1"]) == 2
    assert "finetune takes clips of weight 1" in capsys.readouterr().err


def test_weights_are_added(weighted, stores):
    learner, parts = learned(stores["plain"]), (learned(stores["plain"]), learned(weighted))
    learner.add(weighted)
    names = parts[1].classes
    for modality in UNIMODAL:
        first, second = (part.model.method.of(modality).fitted_gram.tril() for part in parts)
        found = learner.model.method.of(modality).fitted_gram.tril()
        torch.testing.assert_close(found, first + second, rtol=1e-12, atol=1e-10)
    second = parts[1].model.method.class_clips[[names.index(name) for name in learner.classes]]
    wanted = parts[0].model.method.class_clips + second
    torch.testing.assert_close(learner.model.method.class_clips, wanted)
    assert num_background(learner.model.method) == num_background(parts[1].model.method)


def test_weights_are_learned_at_once_and_task_by_task(weighted):
    at_once = learned(weighted)
    method = at_once.model.method
    clips = [one for one in weighted.table.clips if one.split == "train"]
    wanted = dict.fromkeys(CLASSES, 0.0)
    for one in clips:
        for name, share in zip(one.labels, one.shares or (1.0,) * len(one.labels), strict=True):
            wanted[name] += one.weight * share
    np.testing.assert_allclose(method.class_clips, [wanted[name] for name in at_once.classes])
    background = sum(one.weight for one in clips if not one.labels)
    assert num_background(method) == pytest.approx(background)
    assert not method.setup.multi_label
    by_task = learned(weighted, tasks=2)
    assert num_background(by_task.model.method) == pytest.approx(background)
    names = list(by_task.classes)
    for modality in UNIMODAL:
        mine, theirs = by_task.model.method.of(modality), method.of(modality)
        columns = [at_once.classes.index(name) for name in names]
        torch.testing.assert_close(mine.weights, theirs.weights[:, columns], rtol=1e-4, atol=1e-5)


def test_leaving_out_identifies_weighted_clips(weighted, stores):
    learner = learned(weighted)
    found = learner.evaluate(weighted, loo=True)["loo"]
    assert found["num_learned"] == len(CLASSES) * NUM_TRAIN
    with input_error("store-mismatch", "train clips"):
        learner.evaluate(stores["with"], loo=True)
    other = learned(stores["with"])
    assert other.evaluate(stores["with"], loo=True)["loo"]["num_learned"] == 4 * NUM_TRAIN
    with input_error("store-mismatch", "background", "8"):
        other.evaluate(stores["plain"], loo=True)
    plain = learned(stores["plain"])  # a store may have background that the model did not learn
    assert plain.evaluate(stores["with"], loo=True)["loo"]["num_learned"] == 4 * NUM_TRAIN


def test_background_and_clips_with_weights_are_forgotten(stores, weighted):
    learner = learned(stores["plain"])
    before = {key: value.clone() for key, value in learner.model.method.state_dict().items()}
    learner.add(stores["only"])
    assert num_background(learner.model.method) > 0
    forgotten = learner.forget(stores["only"], only_learned=True)
    assert forgotten.num_background == forgotten.num_clips > 0
    assert forgotten.clips == {}
    after = learner.model.method.state_dict()
    assert num_background(learner.model.method) == 0
    for key, value in before.items():
        if key.endswith(("_gram", "_cross", "class_clips")):
            torch.testing.assert_close(after[key], value, rtol=0, atol=0)
        elif key.endswith(".weights") and not key.startswith("records."):
            torch.testing.assert_close(after[key], value, rtol=1e-5, atol=1e-6)
    learner = learned(weighted)
    first, counts = learner.classes[0], learner.model.method.class_clips.clone()
    forgotten = learner.forget(weighted, class_name=first)
    assert forgotten.removed == (first,)
    method = learner.model.method
    assert bool((method.class_clips < counts[1:]).all())  # its clips had shares of others
    recorded = method.records.class_clips(len(counts) - 1)
    torch.testing.assert_close(method.class_clips, recorded, rtol=1e-12, atol=0)


def with_background(loop, every=3):
    """A loop in which some training clips of the first task are background."""
    clips = loop.clips
    background = np.zeros(len(clips.targets), dtype=bool)
    background[loop.train[::every]] = True
    loop.clips = replace(
        clips,
        targets=clips.targets & ~background[:, None],
        task_of_clip=np.where(background, -1, clips.task_of_clip),
        arrival=np.where(background, 0, clips.arrival),
        background=background,
    )
    return loop


def test_a_resumed_run_with_background_is_bit_exact(tmp_path):
    options = {**FIXED["cign_analytic"], "width": 20, "batch_size": 8}
    whole = with_background(toy_loop("cign_analytic", options=options))
    whole.run()
    how = {"options": options, "folder": tmp_path, "checkpoint_every_s": 0.0}
    with_background(toy_loop("cign_analytic", stop_after=2, **how)).run()
    resumed = with_background(toy_loop("cign_analytic", **how))
    resumed.resume()
    assert resumed.place.task == 0 or resumed.place.step
    resumed.run()
    wanted, found = whole.method.state_dict(), resumed.method.state_dict()
    assert wanted.keys() == found.keys()
    assert "background_clips" in wanted
    for name, values in wanted.items():
        assert torch.equal(values, found[name]), name


def test_processes_without_background_clips_have_the_same_sums():
    options = {**FIXED["cign_analytic"], "width": 20}
    loops = [with_background(toy_loop("cign_analytic", options=options)) for _ in range(2)]
    names = []
    for loop in loops:
        data = loop._task_data(0)
        loop.method.grow(data.num_new)
        loop.method.before_task(data)
        names.append([name for name, _ in loop.method.named_buffers()])
        assert len(partial_sums(loop.method, {}, absorbs=True)) > 4
    labelled = data.new[data.class_of(data.new) >= 0]
    for batch in data.batches(labelled[:5]):  # this process has no background in its part
        loops[1].method.absorb(batch)
    assert names[0] == names[1] == [name for name, _ in loops[1].method.named_buffers()]
    background = [x for x in partial_sums(loops[1].method, {}, absorbs=True) if not x.any()]
    assert background


def relabelled(store, labels):
    """A store of the same clips whose labels of some clips are others, by name."""
    clips = tuple(
        replace(clip, labels=labels.get(clip.id, clip.labels)) for clip in store.table.clips
    )
    names = tuple(dict.fromkeys(name for clip in clips for name in clip.labels))
    return replace(store, table=ClipTable(clips=clips, class_names=names))


def test_background_that_is_learned_again_as_a_class_and_the_reverse(stores):
    names = [clip.id for clip in stores["with"].table.clips if clip.split == "train"]
    none = [c.id for c in stores["with"].table.clips if c.split == "train" and not c.labels]
    right = {none[0]: ("bee",), none[1]: ("cat",), names[0]: ()}
    corrected = relabelled(stores["with"], right)
    found = learned(stores["with"])
    addition = found.add(corrected, replace=True)
    assert addition.num_replaced == len(names)
    wanted = learned(corrected)
    assert found.model.method.num_background == NUM_TRAIN - 1
    assert_same_solution(found, wanted)
    for modality in UNIMODAL:
        pair = [one.model.method.gram(modality).tril() for one in (found, wanted)]
        torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-10)
