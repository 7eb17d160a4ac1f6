"""Published tables record the commits and recipes of their runs, to compare with today's."""

import json
import subprocess

import pytest

from benchmark_scripts import BENCHMARKS, script

RESULTS = BENCHMARKS / "results"


def publish():
    return script("publish")


def published():
    return sorted(path.stem for path in RESULTS.glob("*.json") if path.with_suffix(".md").exists())


def test_the_record_has_commits_and_recipes(two_tables):
    module, _, table = two_tables
    record = module.record_of(table)
    assert record["code"] == table["code"]
    assert record["methods"] == table["config"]["methods"]
    assert record["regime"] == "frozen"


@pytest.fixture
def two_tables(tmp_path, monkeypatch):
    """The script with its results in a new folder, recipes, and a table of two methods made now."""
    module = publish()
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    text = "method: analytic\noptions: {width: 30, ridge: [1.0], batch_size: 8}\n"
    (recipes / "analytic.yaml").write_text(text)
    config = module.BenchConfig(
        stores=(tmp_path,), methods=("finetune", "analytic"), tasks=(1,), recipes=recipes
    )
    methods = {entry.name: module.plain_entry(entry) for entry in module.read_entries(config)}
    head = git("rev-parse", "HEAD")
    versions = [{"version": "1.0", "commit": head, "dirty": False}]
    table = {
        "code": [{"versions": versions, "runs": 3}],
        "config": {"methods": methods, "regime": "frozen"},
    }
    return module, recipes, table


def git(*arguments):
    command = ["git", "-C", str(BENCHMARKS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not in a git checkout")
    return done.stdout.strip()


def test_a_table_of_this_commit_and_these_recipes_is_up_to_date(two_tables):
    module, recipes, table = two_tables
    (module.RESULTS / "new.json").write_text(json.dumps(module.record_of(table)))
    assert module.commits_of("new") == [git("rev-parse", "HEAD")]
    assert module.check("new", recipes) == []


def test_a_changed_recipe_is_named(two_tables):
    module, recipes, table = two_tables
    (module.RESULTS / "new.json").write_text(json.dumps(module.record_of(table)))
    path = recipes / "analytic.yaml"
    path.write_text(path.read_text().replace("width: 30", "width: 40"))
    assert module.changed_recipes("new", recipes) == ["analytic"]
    assert module.check("new", recipes) == ["the recipe of analytic has changed since its runs"]


def test_an_option_added_later_at_its_default_is_no_change(two_tables):
    module, recipes, table = two_tables
    del table["config"]["methods"]["finetune"][1]["training"]["max_grad_norm"]
    (module.RESULTS / "new.json").write_text(json.dumps(module.record_of(table)))
    assert module.changed_recipes("new", recipes) == []


def test_a_commit_outside_the_history_is_named(two_tables):
    module, recipes, table = two_tables
    table["code"][0]["versions"][0]["commit"] = "0" * 40
    (module.RESULTS / "new.json").write_text(json.dumps(module.record_of(table)))
    if module.is_in_history("0" * 40) is None:
        pytest.skip("a shallow clone")
    assert module.check("new", recipes) == [f"commit {'0' * 40} is not in the history"]


def test_a_shallow_clone_does_not_know_its_history(tmp_path):
    module, head = publish(), git("rev-parse", "HEAD")
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{BENCHMARKS.parent}", str(clone)],
        check=True,
        capture_output=True,
    )
    assert module.is_in_history(head, clone) is None
    assert module.is_in_history(head, tmp_path) is None  # not a repository
    assert module.is_in_history(head) in (True, None)


def test_each_recipe_that_has_read_the_test_clips_is_counted_once(monkeypatch, tmp_path):
    module = publish()
    monkeypatch.setattr(module, "RESULTS", tmp_path)

    def said(regime, **ridges):
        methods = {label: ["analytic", {"ridge": ridge}] for label, ridge in ridges.items()}
        return module.evaluated_recipes({"regime": regime, "methods": methods})

    once = "One recipe of each method has been evaluated on these test clips"
    assert said("frozen", one=1.0, other=1.0) == f"{once}."
    assert said("frozen", one=2.0) == f"{once}, except: one 2."
    assert said("frozen", one=1.0, other=1.0) == f"{once}, except: one 2."
    assert said("end-to-end", one=3.0) == f"{once}."


@pytest.mark.slow
@pytest.mark.parametrize("name", published())
def test_the_commits_of_a_published_table_are_in_the_history(name):
    module = publish()
    commits = module.commits_of(name)
    assert commits, f"benchmarks/results/{name}.json has no commit"
    found = {commit: module.is_in_history(commit) for commit in commits}
    if None in found.values():
        pytest.skip("the history is not available here")
    assert [commit for commit, known in found.items() if not known] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", published())
def test_the_recipes_of_a_published_table_are_those_of_its_runs(name, tmp_path):
    module, recipes = publish(), BENCHMARKS / "recipes"
    if name == "end_to_end":  # made by the same program as for `make table-end-to-end`
        generator, recipes = script("end_to_end"), tmp_path
        for method in generator.METHODS:
            generator.save(generator.recipe(method, 3e-4), tmp_path / f"{method}.yaml")
    assert module.changed_recipes(name, recipes) == []
