"""Traps 3, 4, 5 and 8: heads grow, all state is saved and loaded, strictly; bic's layers."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cign.data.media.decode import MediaSpec
from cign.data.tasks import TaskClips, TaskSequence
from cign.methods import METHODS
from cign.methods.base import Setup
from cign.networks.training_state import inference_state
from cign.networks.triangles import packed
from cign.saved_model import build as model_building
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.model import Model
from cign.training.scoring import score_clips
from cign.utils.checkpoint import load_tree, save_tree
from cign.vocabulary import MODALITIES
from refusals import input_error
from test_resume import OPTIONS
from toy import quick_options, toy_blocks, toy_loop
from traps.runs import (
    NAMES,
    again,
    assert_same_results,
    learned,
    make,
    same,
    state_of,
)

# ------------------------------------------- trap 3: the number of classes is known from the start


class FirstTaskIsDone(Exception):  # noqa: N818
    pass


def after_first_task(name, num_tasks):
    """State, exemplars, scores after two classes where ``num_tasks`` tasks of two are planned."""
    memory = "2/class" if METHODS[name].uses_memory else "0"
    loop = toy_loop(
        name, options=quick_options(name), memory=memory, num_classes=8, num_tasks=4, per_class=6
    )
    groups = loop.clips.tasks.groups[:num_tasks]
    loop.clips = TaskClips.of(
        [(f"class {c}",) for c in loop.clips.targets.argmax(axis=1)], TaskSequence(groups)
    )
    loop.predictions.class_names = loop.clips.tasks.class_order
    loop.predictions.task_sizes = loop.clips.tasks.sizes

    def stop():
        raise FirstTaskIsDone

    loop.after_task = stop
    with pytest.raises(FirstTaskIsDone):
        loop.run()
    return loop


@pytest.mark.parametrize("name", NAMES)
def test_trap_03_the_first_task_does_not_know_how_many_classes_will_come(name):
    few, many = after_first_task(name, 2), after_first_task(name, 4)
    assert few.clips.tasks.sizes == (2, 2)
    assert many.clips.tasks.sizes == (2, 2, 2, 2)
    assert_same_results(few, many)


@pytest.mark.parametrize("name", NAMES)
def test_trap_03_outputs_are_those_of_the_classes_seen(name):
    loop = learned(name)
    for task, scores in enumerate(loop.predictions.scores):
        assert {value.shape[1] for value in scores.values()} == {2 * (task + 1)}


def test_trap_03_a_method_is_not_told_the_number_of_classes():
    assert not {f.name for f in dataclasses.fields(Setup)} & {"num_classes", "num_tasks", "tasks"}


# ------------------------------------------------------- trap 4: state outside the state dict


def tensors_in(value):
    """Whether a plain attribute holds tensors or arrays."""
    if isinstance(value, dict):
        return any(tensors_in(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(tensors_in(item) for item in value)
    return isinstance(value, torch.Tensor | np.ndarray)


@pytest.mark.parametrize("name", NAMES)
def test_trap_04_no_state_lies_outside_the_state_dict(name):
    torch_own = set(vars(torch.nn.Module()))
    for path, module in learned(name).method.named_modules():
        assert not module._non_persistent_buffers_set, path
        for key, value in vars(module).items():
            assert key in torch_own or not tensors_in(value), f"{path}.{key}"


@pytest.mark.parametrize("name", NAMES)
def test_trap_04_a_run_goes_on_from_its_file_bit_for_bit(name, tmp_path):
    stopped = make(name, tmp_path, checkpoint_every_s=0)
    steps = []  # the state goes through the file in the middle of the second task
    stopped._stopping = lambda: steps.append(stopped.place.task) or steps.count(1) >= 2
    stopped.run()
    assert stopped.place.task == 1
    assert stopped.place.step + stopped.place.epoch + stopped.place.phase > 0
    loop = again(name, tmp_path)
    assert same(state_of(loop.method), state_of(stopped.method))
    loop.run()
    assert_same_results(loop, learned(name))


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """Saves the model of a method; its blocks are those of the toy problem."""
    monkeypatch.setattr(model_building, "load_blocks", lambda *_, **__: toy_blocks().frozen())

    def save(name):
        loop = learned(name)
        model = Model(
            method=loop.method,
            groups=loop.clips.tasks.groups,
            regime="frozen",
            backbone="small",
            fingerprint="",
            spec=MediaSpec(),
        )
        save_model(model, tmp_path)
        return tmp_path

    return save


@pytest.mark.parametrize("name", NAMES)
def test_trap_04_a_loaded_model_answers_bit_for_bit(name, saved):
    loop, loaded = learned(name), load_model(saved(name)).method
    # Of symmetric sums a file has the lower triangle, and nothing else is used.
    assert same(packed(state_of(loaded)), packed(inference_state(loop.method)))
    scores = score_clips(loaded, loop.source, loop.test)
    for modality, expected in loop.predictions.scores[-1].items():
        np.testing.assert_array_equal(scores[modality], expected)


def test_trap_04_every_method_is_stopped_at_random_steps():
    assert set(OPTIONS) == set(METHODS)  # tests/test_resume.py runs over this table


# ----------------------------------------------------------------- trap 5: loading that is lenient


def some_weights(state):
    """Names of the first, a middle and the last weight."""
    names = sorted(state)
    return {names[0], names[len(names) // 2], names[-1]}


@pytest.mark.parametrize("name", NAMES)
def test_trap_05_a_checkpoint_that_lacks_a_weight_is_refused_by_its_name(name, tmp_path):
    loop = make(name, tmp_path, stop_after=1)
    loop.predictions.save(loop.predictions_path)
    loop.run()
    loop.save()
    whole = load_tree(loop.checkpoint)
    for weight in some_weights(whole["method"]):
        less = {key: value for key, value in whole["method"].items() if key != weight}
        save_tree(loop.checkpoint, {**whole, "method": less})
        with input_error("weights-mismatch", f"lacks weight '{weight}'"):
            again(name, tmp_path)
    more = {**whole["method"], "network.odd": torch.zeros(1)}
    save_tree(loop.checkpoint, {**whole, "method": more})
    with input_error("weights-mismatch", "has an unknown", "'network.odd'"):
        again(name, tmp_path)
    save_tree(loop.checkpoint, whole)
    again(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_trap_05_a_model_that_lacks_a_weight_is_refused_by_its_name(name, saved):
    folder = saved(name)
    path, about = folder / "model.safetensors", json.loads((folder / "model.json").read_text())
    whole = load_file(path)

    def rewrite(state):
        save_file(state, path)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        text = json.dumps({**about, "checksums": {"model.safetensors": checksum}})
        (folder / "model.json").write_text(text)

    for weight in some_weights(whole):
        rewrite({key: value for key, value in whole.items() if key != weight})
        with input_error("weights-mismatch", f"lacks weight '{weight}'"):
            load_model(folder)
    rewrite({**whole, "odd": torch.zeros(1)})
    with input_error("weights-mismatch", "has an unknown", "'odd'"):
        load_model(folder)
    if name in ("analytic", "cign_analytic"):  # the number of recorded clips is no network size
        rewrite({**whole, "records.hashes": torch.zeros(3, 32, dtype=torch.uint8)})
        with input_error("damaged", "the records of learned clips are inconsistent"):
            load_model(folder)
    fixed = [key for key in whole if not key.startswith("records.")]
    weight = max(fixed, key=lambda key: whole[key].ndim)
    rewrite({**whole, weight: whole[weight][:-1].clone()})
    with input_error("weights-mismatch", f"weight '{weight}' has shape"):
        load_model(folder)
    rewrite(whole)
    load_model(folder)


# -------------------------------------------- trap 8: one correction pair for all steps of bic


def test_trap_08_bic_has_one_correction_per_step():
    training = {"num_epochs": 2, "batch_size": 8, "learning_rate": 0.05}
    options = quick_options("bic", training)
    loop = toy_loop("bic", options=options, memory="16", num_classes=8, num_tasks=4)
    pairs = []

    def note():
        layers = loop.method.bias
        pairs.append([(x.scale[r].item(), x.shift[r].item()) for x in layers for r in MODALITIES])

    loop.after_task = note
    loop.run()
    assert [len(found) for found in pairs] == [3, 6, 9, 12]
    for found in pairs:
        assert found == pairs[-1][: len(found)]  # a step's pair stays as it was fitted
    assert pairs[-1][:3] == [(1.0, 0.0)] * 3
    assert len(set(pairs[-1][3:])) == 9  # three steps times three modalities, no two alike
    audio, visual = loop.source.read(loop.test)
    with torch.inference_mode():
        logits = loop.method.eval().network(audio, visual)
        scores = loop.method.predict(audio, visual).probabilities
    for r, modality in enumerate(MODALITIES):
        expected = logits[modality].clone()
        for step in range(4):
            scale, shift = pairs[-1][3 * step + r]
            own = slice(2 * step, 2 * step + 2)
            expected[:, own] = scale * logits[modality][:, own] + shift
        torch.testing.assert_close(scores[modality], expected.softmax(dim=1))
