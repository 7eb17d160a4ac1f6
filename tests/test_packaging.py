"""What the package says of itself is the same everywhere, and nothing in it is invented."""

import tomllib
from pathlib import Path

import yaml

from cign import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version_and_of_the_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"] == __version__
    assert cited["license"] == PROJECT["license"]
    (paper,) = cited["references"]
    assert [one["family-names"] for one in paper["authors"]] == ["Mo", "Pian", "Tian"]
    assert paper["year"] == 2023
    assert paper["identifiers"][0]["value"] == "arXiv:2309.05281"


def test_no_address_is_given_that_nobody_knows():
    assert "urls" not in PROJECT
    assert not {"url", "repository-code", "doi"} & set(
        yaml.safe_load((ROOT / "CITATION.cff").read_text())
    )


def test_the_changelog_has_the_changes_to_come():
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("#")
    ]
    assert headings[:2] == ["# Changelog", "## [Unreleased]"]
    assert set(headings[2:]) >= {"### Added", "### Changed", "### Fixed"}


def test_what_is_required_is_pinned_for_the_tests():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    for requirement in PROJECT["dependencies"]:
        name = requirement.partition(">=")[0].partition("[")[0].lower()
        assert name in pinned, name


def test_every_extra_is_described():
    page = (ROOT / "docs" / "install.md").read_text()
    for extra in PROJECT["optional-dependencies"]:
        assert f"| `{extra}` |" in page
