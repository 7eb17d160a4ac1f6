"""Published tables carry the hash of the code they rest on; a slow test says which are old."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def publish():
    spec = importlib.util.spec_from_file_location("publish", BENCHMARKS / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.slow
@pytest.mark.parametrize("name", published())
def test_published_table_is_as_old_as_the_code(name):
    if not publish().check(name):
        pytest.fail(f"benchmarks/results/{name}.md is older than its code: run its command again")
