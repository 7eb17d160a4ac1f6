"""Settings that cannot work: one sentence with a remedy, before anything is written."""

import dataclasses
import subprocess
import sys

import pytest
import yaml

from cign.cli.entry_point import main
from cign.data.store import Store
from cign.methods import METHODS

NEEDS_MEMORY = [name for name, method in METHODS.items() if method.needs_memory]
NEEDS_BLOCKS = [name for name, method in METHODS.items() if method.needs_blocks]
USES_MEMORY = [name for name, method in METHODS.items() if method.uses_memory]


@pytest.fixture
def refusal(capsys, tmp_path):
    """Run a command that must be refused; gives its sentence."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert "Traceback" not in captured.err
        (sentence,) = [line for line in captured.err.splitlines() if line.startswith("cign: ")]
        return sentence.removeprefix("cign: ")

    return run


@pytest.mark.parametrize("name", USES_MEMORY)
def test_a_memory_below_one_clip_a_class(name, refusal, world, tmp_path):
    run = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, "--method", name)
    assert refusal(*run, "--memory", 3) == (
        "a memory of 3 holds 3 clips, fewer than one for each of 4 classes: use at least 4, or 0"
    )
    assert refusal(*run, "--memory", "1kB").endswith("B, or 0")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NEEDS_MEMORY)
def test_a_method_that_needs_a_memory_without_one(name, refusal, world, tmp_path):
    run = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, "--method", name)
    wanted = f"method {name} needs exemplars: give --memory, for example 120"
    assert refusal(*run) == refusal(*run, "--memory", 0) == wanted
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NEEDS_BLOCKS)
def test_a_method_that_needs_a_transformer_on_tokens_without_one(name, refusal, world, tmp_path):
    run = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, "--method", name)
    assert refusal(*run) == (
        f"method {name} needs the input tokens of a transformer, and backbone 'small-random' "
        "provides output tokens: prepare and train with --backbone small-stem"
    )
    ends = refusal(*run, "--regime", "end-to-end")
    assert ends == f"method {name} does not run in regime end-to-end: use --regime frozen"
    prepare = ("prepare", world.clips, tmp_path / "store", "--backbone", "resnet18-random-stem")
    assert refusal(*prepare) == (
        "backbone 'resnet18-random' has no transformer blocks that prompts could enter: "
        "use small-stem"
    )
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "store").exists()


ANALYTIC = ("--method", "analytic", "--set", "width=50")

IGNORED = [
    (
        {"method": "finetune", "options": {"trunk": "linear", "depth": 3}},
        "depth is 3 but has no effect with trunk linear: leave depth out, or use trunk transformer",
    ),
    (
        {"method": "lwf", "options": {"form": "sigmoid", "temperature": 3}},
        "temperature is 3.0 but has no effect with form sigmoid: leave temperature out, "
        "or use form softmax",
    ),
    (
        {"method": "cign", "options": {"training": {"weight_decay": 0.1}}},
        "weight_decay is 0.1 but has no effect with optimizer adam: leave weight_decay out, "
        "or use optimizer adamw",
    ),
    (
        {"method": "analytic", "options": {"adaptation": {"num_epochs": 3}}},
        "adaptation trains encoders and would be ignored on cached tokens: leave it out, or use "
        "--regime end-to-end",
    ),
    (
        {"method": "finetune", "options": {"training": {"batch_size": 0}}},
        "batch_size 0 is too small: use 1 or more",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), IGNORED)
def test_an_option_that_would_be_ignored(content, sentence, refusal, world, tmp_path):
    path = tmp_path / f"{content['method']}.yaml"
    path.write_text(yaml.safe_dump(content))
    out = tmp_path / "run"
    assert refusal("train", world.store, "--out", out, "--tasks", 2, "--recipe", path) == sentence
    bench = ("bench", world.store, "--out", out, "--tasks", 2, "--methods", content["method"])
    assert refusal(*bench, "--recipes", tmp_path) == sentence
    assert not out.exists()


def test_a_bench_gone_on_with_by_another_configuration(refusal, world, tmp_path, capsys):
    recipe = {"method": "analytic", "options": {"width": 20, "ridge": [1.0]}}
    (tmp_path / "analytic.yaml").write_text(yaml.safe_dump(recipe))
    out = tmp_path / "bench"
    base = ("bench", world.store, "--out", out, "--methods", "analytic", "--no-models")
    base = (*base, "--recipes", tmp_path, "--workers", 1)
    begin = [str(part) for part in (*base, "--tasks", 2)]
    assert main(begin) == 0
    table = (out / "table.csv").read_bytes()
    remedy = ": repeat the original command, or give another --out"
    for options, was in (
        (("--tasks", 4), "--tasks 2, not 4"),
        (("--tasks", 2, "--seeds", 2), "--seeds 1, not 2"),
        (("--tasks", 2, "--orders", 3), "--orders 1, not 3"),
        (("--tasks", 2, "--memory", "0,8"), "--memory 0, not 0,8"),
        (("--tasks", 2, "--methods", "finetune"), "--methods analytic, not finetune"),
    ):
        sentence = refusal(*base, *options)
        assert sentence.startswith(f"bench {out} was begun with {was}")
        assert sentence.endswith(remedy)
    recipe["options"]["ridge"] = [2.0]
    (tmp_path / "analytic.yaml").write_text(yaml.safe_dump(recipe))
    assert refusal(*base, "--tasks", 2) == (
        f"bench {out} was begun with other options of method analytic{remedy}"
    )
    assert (out / "table.csv").read_bytes() == table


def test_a_class_that_nothing_can_be_learned_about(refusal, world, tmp_path, monkeypatch):
    """One whose training clips all lack an audio track, in a task with another that has some."""
    store = Store.open(world.store)
    first = store.class_names[0]
    heard = store.audio_ok.copy()
    heard[[clip.labels == (first,) for clip in store.table.clips]] = False
    monkeypatch.setattr(Store, "open", lambda folder: dataclasses.replace(store, audio_ok=heard))
    run = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, *ANALYTIC)
    assert refusal(*run) == (
        f"class {first!r} of task 1 has no training clip with audio and video: use "
        "--allow-missing or add clips"
    )
    assert main([str(word) for word in (*run, "--allow-missing")]) == 0


@pytest.mark.parametrize("flag", ["--bf16", "--allow-missing"])
def test_a_flag_that_the_run_was_begun_without(flag, refusal, world, tmp_path):
    run = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, *ANALYTIC)
    assert main([str(word) for word in run]) == 0
    wanted = ("train", world.store, "--out", tmp_path / "run", "--resume", flag)
    name = flag.removeprefix("--").replace("-", "_")
    assert refusal(*wanted).startswith(
        f"run {tmp_path / 'run'} was started with {name} False, not True, "
    )


def test_a_path_that_leads_nowhere(refusal, world, tmp_path):
    (tmp_path / "file").write_text("x")
    run = ("train", world.store, "--tasks", 2, "--method", "analytic", "--out")
    assert "Not a directory" in refusal(*run, tmp_path / "file" / "run")
    assert "file" in refusal(*run, tmp_path / "file")
    assert "home folder of a user that does not exist" in refusal(*run, "~nobody-of-that-name/run")


MISSING = (
    "predict nope clip.mp4",
    "evaluate nope store",
    "export nope out",
    "add nope clips",
    "remove nope label",
    "rename nope old new",
    "merge nope other",
    "resolve nope --ridge 3",
    "versions nope",
    "train nope --tasks 2 --out run",
    "prepare nope store",
    "inspect nope",
)


def test_what_is_not_there_is_said_before_torch_is_imported(tmp_path):
    """Importing it takes seconds, and whoever mistyped a name waits for them."""
    script = (
        "import sys\nfrom cign.cli.entry_point import main\nfor words in sys.argv[1:]:\n"
        "    assert main(words.split()) == 2, words\n    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *MISSING], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    sentences = done.stderr.splitlines()
    assert len(sentences) == len(MISSING)
    assert all("nope" in line and "not" in line for line in sentences)
    assert not any(tmp_path.iterdir())
