"""The tool that tests the range of dependency versions."""

import tomllib
from itertools import chain
from pathlib import Path

import pytest

from benchmark_scripts import tool

ROOT = Path(__file__).parents[1]
dependency_range = tool("dependency_range")


def test_every_declared_package_has_its_lowest_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = dependency_range.lowest()
    assert "torch" not in found  # named by its own option
    assert len(found) >= len(project["dependencies"]) - 1
    assert found["jsonargparse"] == "4.40"  # with an extra in brackets
    extras = chain.from_iterable(project["optional-dependencies"].values())
    declared = [*project["dependencies"], *extras]
    for name, version in found.items():
        assert any(one.lower().startswith(name) and f">={version}" in one for one in declared)


def test_a_pinned_version_is_found_or_named():
    assert dependency_range.pinned("torch")[0].isdigit()
    with pytest.raises(SystemExit, match="no-such-package is not in constraints"):
        dependency_range.pinned("no-such-package")


def test_the_page_names_failed_tests_and_missing_packages():
    row = {"kind": "lowest", "tests": "tests", "passed": 5, "skipped": 1, "minutes": 2.0}
    results = {
        "lowest": {**row, "failed": ["tests.a.test_b"], "versions": {"python": "3", "torch": "2"}},
        "newest": {**row, "failed": [], "versions": {"python": "3", "torch": "2", "av": "18"}},
    }
    page = dependency_range.page(results)
    assert "| lowest | 3 | 2 | 5 | 1 | 1 | tests | 2.0 |" in page
    assert "| av | - | 18 |" in page
    assert page.endswith("Failed: \n- lowest: `tests.a.test_b`\n")
