"""Where commands compute: what is refused, what is shown, and that all tensors are there."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from cign.app.service import Service
from cign.cli.commands import COMMANDS
from cign.errors import InputError
from cign.learner import Learner
from cign.methods import METHODS
from cign.utils.devices import available_devices, device_of, is_device_name, move_to, resolve_device
from fake_gpu import GPU, OnGpu, fake_gpu
from refusals import input_error
from toy import FIXED

from .adding import refused

COMPUTE = (
    *("prepare", "train", "bench", "evaluate", "predict", "add", "app", "export", "demo"),
    *("serve", "forget", "next", "audit", "thresholds"),
)
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_names_of_devices():
    named = [text for text in ("auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps", "") if text]
    assert all(map(is_device_name, named))
    assert not any(map(is_device_name, ("", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0")))
    assert resolve_device("cpu") == "cpu"
    assert "cpu" in available_devices()


@NO_GPU
def test_a_missing_device_is_one_sentence():
    assert resolve_device() == resolve_device("auto") == "cpu"
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError) as caught:
            Learner(device=name)
        sentence = str(caught.value)
        assert sentence.startswith(f"device '{name}' is not available")
        assert sentence.endswith(": use cpu or auto")
    with input_error("unknown-name", "'gpu'", "auto, cpu, cuda, cuda:N or mps"):
        Learner(device="gpu")


@NO_GPU
def test_every_command_that_computes_refuses_a_missing_device(cign, world, model, tmp_path):
    """In a sentence, and before anything is written."""
    (clip, *_) = world.test_clips()
    lines = {
        "prepare": (world.clips, tmp_path / "store", "--backbone", "small-random"),
        "train": (world.store, "--out", tmp_path / "run"),
        "bench": (world.store, "--out", tmp_path / "b", "--methods", "analytic", "--tasks", 2),
        "evaluate": (world.run, world.store),
        "predict": (world.run, clip),
        "add": (model, world.clips / "test"),
        "export": (world.run, tmp_path / "exported"),
        "demo": ("--out", tmp_path / "demo"),
        "serve": (world.run, "--port", 0),
        "forget": (model, world.clips),
        "next": (world.run, world.clips, "--number", 2),
        "audit": (world.run, world.store),
        "thresholds": (model, world.store),
    }
    assert set(lines) | {"app"} == set(COMPUTE)
    for name, words in lines.items():
        code, out, err = cign(name, *words, "--device", "cuda:3")
        assert (code, out) == (2, ""), name
        assert err.startswith("cign: device 'cuda:3' is not available"), name
        assert len(err.splitlines()) == 1, name
        refused(cign(name, *words, "--device", "gpu"), "--device: 'gpu' is not a device: use auto")
    assert not list(tmp_path.glob("[!m]*"))
    with input_error("missing-device", "'cuda:3'"):
        Service(model, device="cuda:3")


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_compute_take_a_device(name, cign):
    assert ("--device NAME" in cign(name, "--help")[1]) == (name in COMPUTE)


def test_the_device_is_shown_first(cign, world):
    (clip, *_) = world.test_clips()
    threads = torch.get_num_threads()
    shown = f"device: cpu, {threads} thread{'' if threads == 1 else 's'}"
    code, out, err = cign("predict", world.run, clip, "--device", "cpu", "--json")
    assert code == 0
    assert err.splitlines()[0] == shown
    assert json.loads(out)
    assert cign("evaluate", world.run, world.store, "--device", "cpu")[2].splitlines()[0] == shown


def test_what_only_looks_needs_no_torch_for_a_wrong_device_name():
    script = (
        "import sys\nfrom cign.cli.entry_point import main\n"
        "assert main(['predict', 'm', 'x.mp4', '--device', 'gpu']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_closed_forms_are_refused_where_there_is_no_float64():
    module = torch.nn.Linear(2, 2)
    assert move_to(module, "cpu") is module
    module.needs_float64, module.name = True, "cign_analytic"
    with input_error("unsupported", "cign_analytic"):
        move_to(module, "mps")
    assert {name for name, cls in METHODS.items() if cls.needs_float64} == {
        "analytic",
        "cign_analytic",
        "fecam",
        "ncm",
        "ranpac",
        "slda",
    }


# On a GPU that is imitated, an operation that mixes devices fails, as does reading a value from it.


def test_the_imitation_refuses_what_a_gpu_would():
    with fake_gpu():
        here, there = torch.ones(2), torch.ones(2).to("cuda:0")
        assert there.device == GPU
        assert (there + 1).device == GPU
        with pytest.raises(RuntimeError, match="one device"):
            here + there
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
        assert (there * 2).cpu().tolist() == [2.0, 2.0]
        assert device_of(torch.nn.Linear(2, 2).to("cuda:0")) == GPU


def learned(runs, name, device):
    return Learner.load(runs / name, device=device)


@pytest.mark.parametrize("name", ["cign_analytic", "analytic", "finetune"])
def test_a_model_predicts_on_its_device(runs, world, name):
    files = world.test_clips()
    here = list(learned(runs, name, "cpu").predict(files))
    seen = []
    with fake_gpu():
        learner = learned(runs, name, "cuda:0")
        assert learner.model.device == GPU
        assert all(isinstance(x, OnGpu) for x in learner.model.method.state_dict().values())
        maps = lambda _, clip, found: seen.append(found)  # noqa: E731
        there = list(learner.predict(files, observer=maps))
        assert device_of(learner._encoders()) == GPU
    assert there == here
    assert len(seen) == len(files)


@pytest.mark.parametrize("name", ["cign_analytic", "finetune"])
def test_a_model_is_evaluated_on_its_device(runs, old_store, name):
    here = learned(runs, name, "cpu").evaluate(old_store)
    with fake_gpu():
        assert learned(runs, name, "cuda:0").evaluate(old_store) == here


def test_classes_are_added_and_removed_on_the_device(runs, tables, tiny, tmp_path):
    def changed(device):
        learner = learned(runs, "cign_analytic", device)
        addition = learner.add(tables[1], media=[tiny[0]], num_workers=0)
        assert learner.model.device.type == device.partition(":")[0]
        place = tmp_path / device.replace(":", "-")
        learner.save(place)
        learner.remove(learner.model.classes[0])
        return addition, place, learner.model.unknown

    here, place, rule = changed("cpu")
    with fake_gpu():
        there, other, there_rule = changed("cuda:0")
    assert (there.new, there.cost, there.new_accuracy) == (here.new, here.cost, here.new_accuracy)
    assert there_rule == rule
    weights = "model.safetensors"
    assert (other / weights).read_bytes() == (place / weights).read_bytes()


@pytest.mark.parametrize("name", ["cign_analytic", "analytic"])
def test_a_closed_form_is_trained_on_the_device(old_store, world, name, tmp_path):
    several = {"ridge": [1.0, 10.0], "temperature": [0.1, 0.2]}
    if name == "cign_analytic":
        several["contrast"] = [0.5, 0.0]
    options = {**FIXED[name], **several, "width": 60}

    def trained(device):
        learner = Learner(name, options=options, device=device)
        learner.learn(old_store, tasks=2, out=tmp_path / device.replace(":", "-"))
        assert learner.model.device.type == device.partition(":")[0]
        return learner, list(learner.predict(world.test_clips()[:3]))

    here, answers = trained("cpu")
    with fake_gpu():
        there, same = trained("cuda:0")
    assert same == answers
    assert there.metrics["modalities"] == here.metrics["modalities"]
    assert (tmp_path / "cuda-0" / "config.yaml").read_text().count("device: cuda:0") == 1


@NO_GPU
def test_a_run_of_a_machine_with_a_gpu_goes_on_without_one_if_told(cign, old_store, tmp_path):
    run = tmp_path / "run"
    options = ("--recipe", tmp_path / "r.yaml", "--tasks", 2)
    (tmp_path / "r.yaml").write_text("method: analytic\noptions: {width: 60}\n")
    assert cign("train", old_store, "--out", run, *options)[0] == 0
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    again = ("train", old_store, "--out", run, "--resume")
    refused(cign(*again), "device 'cuda' is not available", "cpu")
    code, _, err = cign(*again, "--device", "cpu")
    assert code == 0
    assert err.startswith("device: cpu")


def test_tokens_are_made_on_the_device(cign, world, tmp_path):
    words = ("prepare", world.clips, tmp_path / "store", "--backbone", "small-random")
    with fake_gpu():
        code, _, err = cign(*words, "--workers", 0, "--device", "cuda:0")
    assert code == 0, err
    assert err.splitlines()[0] == "device: cuda:0, Imitation"
    for kind in ("audio", "visual"):
        file = f"tokens/small-random/{kind}.npy"
        assert np.array_equal(np.load(tmp_path / "store" / file), np.load(world.store / file))


def test_what_is_exported_lies_on_the_cpu_wherever_the_model_answers(runs, world, tmp_path):
    learner = learned(runs, "cign_analytic", "cpu")
    wanted = learner.export(tmp_path / "cpu", format="torch", clips=world.test_clips()[:2])
    with fake_gpu():
        learner = learned(runs, "cign_analytic", "cuda:0")
        found = learner.export(tmp_path / "gpu", format="torch", clips=world.test_clips()[:2])
    assert found.checks == wanted.checks


def test_the_app_answers_on_the_device(runs, world):
    (clip, *_) = world.test_clips()

    def answer(device):
        service = Service(runs / "cign_analytic", device=device)
        service.warm_up()
        return service.answer(clip).prediction

    with fake_gpu():
        there = answer("cuda:0")
    assert there == answer("cpu")
