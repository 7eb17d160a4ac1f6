"""The search: which trials it makes, that it goes on, and what it must never read."""

import csv
import importlib.util

import numpy as np
import pytest
import yaml

from cign.data.store import Store
from cign.learner import Learner
from cign.training.callbacks import StopRun
from cign.tuning.axes import Range
from cign.tuning.search import JOURNAL, best_of, search
from cign.tuning.space import Space
from cign.tuning.tune import TuneConfig, tune
from cign.tuning.validation import Score, score, validation_data
from cign.utils.progress import Silent
from refusals import input_error

OPTUNA = importlib.util.find_spec("optuna") is not None
needs_optuna = pytest.mark.skipif(
    not OPTUNA, reason="optuna is not installed: `pip install optuna`"
)
AXES = {"width": (10, 20, 30, 40, 50), "batch_size": (5, 6)}


def space_of(axes=None, method="analytic"):
    return Space(method=method, recipe={}, axes=axes or AXES)


def scorer(made, fails=()):
    """The objective is highest at a width of 30; keeps the options of each trial."""

    def scored(options, callback):
        made.append((options["width"], options["batch_size"]))
        if len(made) in fails:
            raise KeyboardInterrupt
        value = 100.0 - abs(options["width"] - 30) - options["batch_size"]
        return Score(percent={"audio_visual": value, "audio": 1.0, "visual": 2.0}, seconds=0.1)

    return scored


@needs_optuna
def test_a_grid_is_tried_completely_and_once(tmp_path):
    made = []
    results = search(space_of(), scorer(made), tmp_path, sampler="grid")
    assert len(made) == len(set(made)) == 10
    assert made != sorted(made)  # in random order, so that a part of it is a sample
    best = best_of(results)
    assert (best.point, best.value) == ({"width": 30, "batch_size": 5}, 95.0)
    assert search(space_of(), scorer(made), tmp_path, sampler="grid") == results
    assert len(made) == 10


@needs_optuna
@pytest.mark.parametrize("sampler", ["tpe", "grid", "random"])
def test_an_interrupted_search_makes_the_same_trials(sampler, tmp_path):
    whole, parts = [], []
    how = {"sampler": sampler, "num_trials": 7, "seed": 3}
    space = space_of(AXES if sampler == "grid" else {**AXES, "caution": Range(low=0.1, high=0.9)})
    expected = search(space, scorer(whole), tmp_path / "whole", **how)
    for fails in ((4,), (6,)):
        with pytest.raises(KeyboardInterrupt):
            search(space, scorer(parts, fails), tmp_path / "parts", **how)
    results = search(space, scorer(parts), tmp_path / "parts", **how)
    assert parts[3] == parts[4]  # the interrupted trial is made again
    assert len(parts) == 9
    assert len(results) == 7
    assert [one.point for one in results] == [one.point for one in expected]


@needs_optuna
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_samplers_take_lists_and_ranges_and_repeat_nothing(sampler, tmp_path):
    axes = {"width": (10, 20, 30), "batch_size": (5,), "caution": (0.5,)}
    made = []
    results = search(space_of(axes), scorer(made), tmp_path / "a", sampler=sampler, num_trials=9)
    assert len(made) == len(results) == 3  # there are no more points
    ranged = {**axes, "most_selecting": Range(low=10, high=1000, log=True, whole=True)}
    ranged["caution"] = Range(low=0.1, high=0.9)
    results = search(space_of(ranged), scorer(made), tmp_path / "b", sampler=sampler, num_trials=4)
    assert all(isinstance(one.point["most_selecting"], int) for one in results)
    assert len({one.point["caution"] for one in results}) == 4


@needs_optuna
def test_a_seed_decides_the_trials(tmp_path):
    points = {}
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = []
        search(
            space_of(), scorer(made), tmp_path / place, sampler="random", num_trials=5, seed=seed
        )
        points[place] = made
    assert points["a"] == points["b"] != points["c"]


@needs_optuna
def test_a_diverged_trial_is_recorded_and_cannot_win(tmp_path):
    def scored(options, callback):
        if options["width"] == 30:
            return Score(percent=None, seconds=0.1)
        return scorer([])(options, callback)

    results = search(space_of(), scored, tmp_path, sampler="grid")
    assert [one.state for one in results].count("diverged") == 2
    assert best_of(results).point["width"] in (20, 40)


@needs_optuna
def test_trials_below_the_median_are_pruned(tmp_path):
    from cign.training.callbacks import TaskEnd

    ends = []

    def scored(options, callback):
        for task in (1, 2):
            value = float(options["width"]) - task
            metrics = {"last_audio_visual": value}
            try:
                callback.on_task_end(TaskEnd(number=task, step=1, classes=(), metrics=metrics))
            except StopRun:
                ends.append((options["width"], task))
                raise
        return Score(percent={"audio_visual": value}, seconds=0.1)

    results = search(space_of(), scored, tmp_path, sampler="grid", prune=True)
    pruned = [one for one in results if one.state == "pruned"]
    assert pruned
    assert len(pruned) == len(ends)
    assert all(task == 1 for _, task in ends)
    assert best_of(results).point["width"] == 50


# Validation clips


def config_of(store, vary=AXES):
    return TuneConfig(space=space_of(vary), tasks=2)


@needs_optuna
def test_the_objective_is_the_accuracy_on_validation_clips(tiny, tmp_path):
    """A run in a store whose test clips are these validation clips has the same accuracy."""
    store = Store.open(tiny[1])
    tuned = tune(config_of(store, {"width": (20, 30)}), store, tmp_path / "out", sampler="grid")
    learner = Learner("analytic", options={"width": tuned.best.point["width"]})
    learner.learn(store, tasks=2, progress=False)
    found = learner.evaluate(store, split="val")["modalities"]
    assert tuned.best.percent == {name: found[name]["last"] for name in tuned.best.percent}
    assert tuned.num_validation == len(store.indices("val")) == 8


def test_no_trial_reads_a_test_clip(tiny):
    store = Store.open(tiny[1])
    config = config_of(store).run_config(store)
    data = validation_data(config, store)
    assert set(data.test) == set(store.indices("val"))
    assert not set(data.test) & set(store.indices("test"))
    for indices in (store.indices("test")[:1], np.arange(len(store.table.clips))):
        with pytest.raises(AssertionError, match="must not read test clips"):
            data.source.read(indices)
    data.source.read(store.indices("train"))
    assert score(config, data, Silent()).value is not None


def test_a_store_without_validation_clips_is_refused(tiny, monkeypatch):
    store = Store.open(tiny[1])
    indices = store.indices
    monkeypatch.setattr(
        Store, "indices", lambda self, split: indices(split)[: 0 if split == "val" else None]
    )
    with input_error("no-clips", "no validation clip of 4 of 4 classes", "split val"):
        validation_data(config_of(store).run_config(store), store)


# The command


@needs_optuna
def test_the_command_goes_on_and_writes_a_recipe_for_train(tiny, cign, tmp_path):
    out = tmp_path / "tuned"
    line = ("tune", tiny[1], "--out", out, "--method", "finetune", "--tasks", 2)
    line += ("--set", "training.num_epochs=1", "--vary", "trunk=linear", "--sampler", "random")
    code, text, err = cign(*line, "--trials", 2)
    assert code == 0, err
    assert "best: trial" in text
    assert "trial 2 of 2" in err
    before = (out / "trials.csv").read_text()
    code, text, err = cign(*line, "--trials", 3)
    assert code == 0, err
    assert (out / "trials.csv").read_text().startswith(before)
    assert "trial 3 of 3" in err
    assert "trial 2 of" not in err
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    best = max(rows, key=lambda row: (float(row["last_audio_visual"]), -int(row["trial"])))
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    rate = recipe["options"]["training"]["learning_rate"]
    assert rate == float(best["training.learning_rate"])
    assert recipe["sources"]["training.learning_rate"].endswith("of 3 of `cign tune`")
    run = tmp_path / "run"
    code, _, err = cign("train", tiny[1], "--out", run, "--recipe", out / "recipe.yaml")
    assert code == 0, err
    saved = yaml.safe_load((run / "config.yaml").read_text())["options"]
    assert saved["training"]["num_epochs"] == 1
    # Another search does not go on in the same folder.
    code, _, err = cign(*line, "--seed", 1)
    assert code == 2
    assert "holds a search with other settings" in " ".join(err.split())
    assert (out / JOURNAL).exists()


def test_what_cannot_be_searched_is_refused(tiny, cign, tmp_path, monkeypatch):
    def refused(*words):
        code, _, err = cign("tune", tiny[1], "--out", tmp_path / "out", *words)
        assert code == 2
        return " ".join(err.split())

    find = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "optuna" else find(name)
        )
        assert "`pip install optuna`, or the extra `tune`" in refused("--method", "lwf")
    if OPTUNA:
        assert "give --method NAME" in refused()
        assert "not a sampler: use one of tpe, grid, random" in refused("--sampler", "best")
        said = refused("--method", "er", "--set", "depht=1")
        assert "er has no option 'depht': did you mean 'depth'?" in said
        said = refused("--method", "er", "--vary", "training.schedule=step,cosine")
        assert "schedule is 'step': use one of constant" in said
    assert not (tmp_path / "out").exists()
