"""The search for the options of methods, and the recipes that say what is searched."""

import importlib
import json
import shutil

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS
from cign.data.exemplar_memory import MemoryBudget
from cign.methods import METHODS, default_recipe
from cign.metrics.predictions import Predictions
from cign.utils.options import configure, read_recipe

with pytest.MonkeyPatch.context() as _patch:
    _patch.syspath_prepend(BENCHMARKS)
    search, trials, results, tune = map(
        importlib.import_module, ("tuning_search", "tuning_trials", "tuning_results", "tune")
    )
TUNED = trials.tuned_methods()


def ladder(**axes):
    return search.Space(axes=axes, start={name: values[0] for name, values in axes.items()})


def test_search_finds_an_optimum_and_tries_its_neighbours():
    space = search.Space(axes={"a": range(9), "b": range(9)}, start={"a": 1, "b": 7})
    found = search.Search(
        space=space, score=lambda p: -((p["a"] - 5) ** 2) - (p["b"] - 4) ** 2, budget=99
    )
    best = found.run()
    assert best == {"a": 5, "b": 4}
    assert found.open_steps(best) == []
    for name in ("a", "b"):
        for step in (-1, 1):
            assert search.key({**best, name: best[name] + step}) in found.scores


def test_search_stops_at_its_budget_and_says_what_is_open():
    space = search.Space(axes={"a": range(100), "b": range(9)}, start={"a": 0, "b": 4})
    found = search.Search(space=space, score=lambda p: p["a"] + p["b"], budget=5)
    best = found.run()
    assert len(found.scores) == 5
    assert best == {"a": 4, "b": 4}
    assert found.open_steps(best) == ["a", "b"]


def test_search_does_not_go_on_where_the_score_is_equal_or_falls():
    space = search.Space(axes={"a": range(10)}, start={"a": 5})
    found = search.Search(space=space, score=lambda p: 0.0, budget=99)
    assert found.run() == {"a": 5}
    assert [json.loads(text)["a"] for text in found.scores] == [5, 6, 4]


def test_all_values_of_an_option_without_an_order_are_tried():
    space = ladder(kind=["x", "y", "z"], switch=[True, False])
    found = search.Search(
        space=space, score=lambda p: ("yxz".index(p["kind"])) + 2 * p["switch"], budget=99
    )
    best = found.run()
    assert best == {"kind": "z", "switch": True}
    assert len(found.scores) == 4
    assert found.open_steps(best) == []


def test_a_step_to_a_base_sets_what_belongs_to_it():
    space = search.Space(
        axes={"base": ["p", "q"], "rate": [1, 2, 3]},
        start={"base": "p", "rate": 1},
        implied={"p": {"rate": 1}, "q": {"rate": 3}},
    )
    found = search.Search(space=space, score=lambda p: (p["base"] == "q") + p["rate"], budget=99)
    assert found.run() == {"base": "q", "rate": 3}
    assert search.key({"base": "q", "rate": 1}) not in found.scores


def test_points_that_are_not_allowed_are_no_steps():
    space = search.Space(axes={"a": range(9)}, start={"a": 0}, allows=lambda p: p["a"] % 2 == 0)
    found = search.Search(space=space, score=lambda p: p["a"], budget=99)
    assert found.run() == {"a": 8}
    assert len(found.scores) == 5


def test_all_methods_but_the_published_one_are_tuned():
    assert set(METHODS) - set(TUNED) == {"cign"}


@pytest.mark.parametrize("name", TUNED)
def test_what_is_searched_is_valid(name):
    tuning = default_recipe(name).tuning
    assert set(tuning) <= {"memory", "bases", "axes", "fixed"}
    space = trials.space_of(name)
    assert set(space.axes) <= set(space.start)
    configure(METHODS[name].Options, trials.options_of(name, space.start), "start")
    reached = [
        point
        for axis in space.axes
        for direction in space.steps(space.start, axis)
        for point in direction
    ]
    filled = [
        configure(METHODS[name].Options, trials.options_of(name, point), "trial")
        for point in [space.start, *reached]
    ]
    assert all(one != other for i, one in enumerate(filled) for other in filled[:i])
    for axis, values in space.axes.items():  # the search has room on both sides
        if axis.startswith("training."):
            assert values[0] <= space.start[axis] < values[-1]
    budgets = [MemoryBudget.parse(memory).amount for memory in tuning["memory"]]
    assert budgets == sorted(budgets)
    assert not (METHODS[name].needs_memory and 0 in budgets)
    assert METHODS[name].uses_memory or budgets == [0]


def test_options_of_a_trial_are_laid_over_its_base():
    point = {"base": "linear", "training.learning_rate": 1.0, "training.weight_decay": 0.3}
    found = trials.options_of("finetune", point)
    wanted = {**trials.shared()["training"], "learning_rate": 1.0, "weight_decay": 0.3}
    assert found == {"trunk": "linear", "training": wanted}


@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
def test_a_recipe_that_selects_from_the_clips_is_tried_as_it_is(name):
    assert not trials.varies_something(name)
    assert trials.options_of(name, trials.space_of(name).start) == default_recipe(name).options
    assert trials.varies_something("joint")


def test_the_best_fusion_is_found_from_the_predictions():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    visual = rng.random((300, 4)) * 0.1 + np.eye(4)[truth]
    scores = {"audio": rng.random((300, 4)), "visual": visual, "audio_visual": rng.random((300, 4))}
    scores = {m: (s / s.sum(axis=1, keepdims=True)).astype(np.float32) for m, s in scores.items()}
    predictions = Predictions(
        clip_ids=[str(i) for i in range(300)],
        labels=[(f"c{c}",) for c in truth],
        class_names=("c0", "c1", "c2", "c3"),
        task_sizes=(4,),
    )
    predictions.add_task(scores)
    own = trials.fused_last(predictions, trials.Fusion())
    product = trials.fused_last(predictions, trials.Fusion(kind="product"))
    assert own == 100 * np.mean(scores["audio_visual"].argmax(axis=1) == truth)
    assert product == 100 * np.mean((scores["audio"] * scores["visual"]).argmax(axis=1) == truth)
    assert product > own


@pytest.fixture(scope="module")
def lwf(tmp_path_factory, tiny):
    """The finished search of a method with few trials."""
    work = tmp_path_factory.mktemp("tuning")
    space = search.Space(
        axes={"training.learning_rate": [1e-3, 1e-2], "form": ["sigmoid", "softmax"]},
        start={"base": "linear", "training.learning_rate": 1e-3, "form": "sigmoid"},
        implied={},
    )
    with pytest.MonkeyPatch.context() as patch:
        common = {
            **trials.shared(),
            "training": {"num_epochs": 2, "batch_size": 8, "optimizer": "adamw"},
        }
        patch.setattr("cign.tuning.bases.shared", lambda: common)
        patch.setattr(trials, "NUM_TASKS", 2)
        patch.setattr(trials, "space_of", lambda name: space)
        one = tune.Trials(method="lwf", memory="0", store=tiny[1], work=work)
        assert results.rows_of(one) == []  # nothing is made
        one.search().run()
        yield one, results.rows_of(one)


def test_a_search_is_continued_from_its_files(lwf):
    one, rows = lwf
    files = sorted(one.folder.glob("*.json"))
    assert len(files) == len(rows) >= 3
    times = [file.stat().st_mtime_ns for file in files]
    assert results.rows_of(one) == rows
    assert [file.stat().st_mtime_ns for file in files] == times
    assert [row["trial"] for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row["chosen"] == "yes" for row in rows) == 1
    best = next(row for row in rows if row["chosen"])
    assert best["audio_visual"] == max(row["audio_visual"] for row in rows)


def test_the_choice_is_written_and_the_search_stays(lwf, tmp_path):
    one, rows = lwf
    path = shutil.copy(results.RECIPES / "lwf.yaml", tmp_path / "lwf.yaml")
    before = read_recipe(path)
    best = next(row for row in rows if row["chosen"])
    options = results.chosen_options(one)
    other = {**options, "fusion": {"kind": "mean", "temperature": 3.0}}
    results.write_recipe(path, {"0": (best, options), "120": (best, other)})
    after = read_recipe(path)
    assert after.tuning == before.tuning
    assert path.read_text().startswith("#")
    assert after.options["training"] == options["training"]
    rate = options["training"]["learning_rate"] * options["training"]["encoder_rate"]
    assert rate == pytest.approx(results.ENCODER_RATE, rel=1e-2)
    assert after.with_memory == {"fusion": other["fusion"]}
    assert after.options_for("5/class")["fusion"] == other["fusion"]
    assert after.options_for("0")["fusion"] == options["fusion"]
    assert after.options["classes"] == before.options["classes"]
    assert set(after.sources) >= {"training", "fusion", "with_memory", "classes"}


def test_the_page_has_a_row_for_each_search_and_the_archive_its_trials(lwf, tmp_path, monkeypatch):
    one, rows = lwf
    monkeypatch.setattr(tune, "ARCHIVE", tmp_path / "runs" / "tuning.tar.xz")
    codes = [{"version": "1.0", "commit": "a" * 40, "dirty": False}] * 3
    results.write_results(rows, codes, tmp_path)
    text = (tmp_path / "tuning.md").read_text()
    assert "3 runs: commit aaaaaaaaaa" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| lwf")]
    best = next(row for row in rows if row["chosen"])
    assert f"| {best['audio_visual']} |" in line
    assert len((tmp_path / "tuning.csv").read_text().splitlines()) == 1 + len(rows)
    tune.archive(one.work)
    tune.restore(tmp_path / "again")
    found = sorted(p.name for p in (tmp_path / "again" / "trials" / "lwf-m0").iterdir())
    assert found == sorted(p.name for p in one.folder.iterdir())


def test_recipes_are_in_the_package_or_beside_the_module(tmp_path, monkeypatch):
    assert results.recipe_path("lwf") == results.RECIPES / "lwf.yaml"
    (tmp_path / "one_method.py").write_text(
        "from cign.methods.finetune import Finetune\nclass Plain(Finetune):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert results.recipe_path("one_method:Plain") == tmp_path / "plain.yaml"
