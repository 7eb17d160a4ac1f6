"""Every command and script of the pages on logging, tuning and registries."""

import importlib
import importlib.util
import re
import shlex
import sys

import pytest
import torch

from cign.cli.entry_point import main
from cign.learner import Learner
from pages import DOCS

from .page_commands import commands

QUICK = ["--set", "training.num_epochs=2", "--set", "training.batch_size=8"]
PACKAGES = ("tensorboard", "mlflow", "wandb", "optuna")


@pytest.fixture
def work(tiny, tmp_path, monkeypatch):
    """A folder with `work/store` and `clip.mp4`, as the pages have it."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/logged.db")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "store").symlink_to(tiny[1])
    (tmp_path / "clip.mp4").symlink_to(min((tiny[0] / "test").rglob("*.mp4")))
    return tmp_path


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: `pip install {' '.join(missing)}`")


def run(line, capsys, *more):
    words = shlex.split(line)[1:]
    assert main([*words, *more]) == 0, f"{line}: {capsys.readouterr().err}"


def scripts(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


def line_with(page, part):
    (line,) = (one for one in commands(DOCS / page) if part in one)
    return line


def test_the_pages_have_the_commands_that_are_run_here():
    assert len(commands(DOCS / "logging.md")) == 4
    assert len(commands(DOCS / "tuning.md")) == 4


def test_runs_are_logged_to_tables(work, capsys):
    small = ["training.num_epochs=2", "training.batch_size=2"]  # more than 10 steps
    run(line_with("logging.md", "--log-every"), capsys, "--set", small[0], "--set", small[1])
    for name in ("steps", "epochs", "tasks"):
        assert (work / "work/run/log" / f"{name}.csv").stat().st_size > 100, name
    example = re.search(r"^```csv\n(.*?)\n", (DOCS / "logging.md").read_text(), re.M)
    assert (work / "work/run/log/tasks.csv").read_text().startswith(example[1] + "\n")


def test_runs_are_logged_to_tensorboard_and_mlflow(work, capsys):
    needs("tensorboard", "mlflow")
    run(line_with("logging.md", "tensorboard"), capsys, *QUICK)
    assert list((work / "work/shown/tensorboard/tasks").iterdir())
    assert (work / "work/shown/log/mlflow.json").exists()
    assert "switched off" not in capsys.readouterr().err


def test_a_bench_logs_each_run(work, capsys):
    line = line_with("logging.md", "bench").replace("finetune,ncm", "ncm")  # for time
    run(line, capsys, "--workers", "1")
    (table,) = (work / "work/bench/runs").glob("ncm-*/log/tasks.csv")
    assert "last_audio_visual" in table.read_text()


def test_a_callback_of_the_page_is_told(work, capsys, monkeypatch):
    (script,) = scripts("logging.md")
    (work / "stop_rule.py").write_text(script)
    monkeypatch.syspath_prepend(str(work))
    try:
        run(line_with("logging.md", "--callback"), capsys)
        assert "task 2: " in capsys.readouterr().out
        (work / "stop_rule.py").write_text(script.replace("> 50", ">= -100"))
        sys.modules.pop("stop_rule")
        importlib.invalidate_caches()
        line = line_with("logging.md", "--callback").replace("watched", "stopped")
        assert main(shlex.split(line)[1:]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "a callback ended the run (0.0 % forgotten): work/stopped holds" in said
    finally:
        sys.modules.pop("stop_rule", None)


def test_a_method_is_tuned_and_trained_with_the_recipe(work, capsys):
    needs("optuna")
    for line in commands(DOCS / "tuning.md"):
        run(line, capsys, *(QUICK[:2] if "tune" in line and "analytic" not in line else ()))
    for name in ("recipe.yaml", "trials.csv", "study.journal", "tune.json"):
        assert (work / "work/tuned" / name).exists()
    (script,) = scripts("tuning.md")
    exec(script, {})
    assert "'width':" in capsys.readouterr().out


def test_models_go_to_registries_as_the_page_says(work, tiny, capsys):
    options = {"width": 30}
    Learner("cign_analytic", options=options).learn(tiny[1], out="work/run", progress=False)
    mlflow_script, hub_script = scripts("registries.md")
    exec(hub_script, {})
    assert Learner.load("work/saved").classes == Learner.load("work/run").classes
    needs("mlflow")
    exec(mlflow_script, {})
    assert "label" in capsys.readouterr().out


def test_every_extra_and_package_of_the_pages_is_declared():
    text = "".join((DOCS / name).read_text() for name in ("logging.md", "tuning.md"))
    assert all(f"pip install {name}`" in text for name in PACKAGES)
