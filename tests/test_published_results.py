"""Published tables carry the hash of the code they rest on; a slow test says which are old."""

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.bench.made_with import code_of


def publish():
    return script("publish")


def published():
    pages = sorted((BENCHMARKS / "results").glob("*.md"))
    return [page.stem for page in pages if "\nCode: `" in page.read_text()]


def test_the_hash_follows_methods_and_recipes(monkeypatch, tmp_path):
    module = publish()
    before = module.hash_of(["finetune", "analytic"])
    assert before == module.hash_of(["analytic", "finetune"])
    assert before != module.hash_of(["finetune"])
    page = "# T\n\nCode: `{}` (x).\n\nMethods: analytic, finetune.\n"
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    (tmp_path / "new.md").write_text(page.format(before))
    (tmp_path / "old.md").write_text(page.format("0" * 16))
    assert module.check("new")
    assert not module.check("old")


def test_a_table_of_which_a_run_is_older_than_the_code_is_older(monkeypatch, tmp_path):
    module = publish()
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    current = module.hash_of(["finetune"])
    now, other = code_of("finetune"), "0" * 16
    for name, codes in (("mixed", [other, now]), ("one", [now]), ("other", [other])):
        np.savez(tmp_path / f"{name}.npz", **{"metrics.json": '{"method": "finetune"}'}, code=codes)
    older = script("kept_runs").older_runs(tmp_path)
    assert older == ["mixed", "other"]
    page = f"# T\n\nCode: `{current}` (x).\n\nMethods: finetune.\n"
    (tmp_path / "new.md").write_text(page)
    (tmp_path / "mixed.md").write_text(f"{page}\n{module.OLDER.format(len(older))}\n")
    assert module.check("new")
    assert not module.check("mixed")


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
def test_published_table_is_as_old_as_the_code(name):
    if not publish().check(name):
        pytest.fail(f"benchmarks/results/{name}.md is older than its code: run its command again")
