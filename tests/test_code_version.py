"""The version of the code: commit of a checkout and whether it has local changes."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

from cign.utils.code_version import (
    PACKAGE,
    code_version,
    count_versions,
    is_same_code,
    statement,
    warning,
)

A, B = "a" * 40, "b" * 40
UNKNOWN = {"version": metadata.version("cign"), "commit": None, "dirty": None}


def version(commit, dirty=False):
    return {"version": "1.0", "commit": commit, "dirty": dirty}


def git(folder, *arguments):
    named = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    environment = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *named, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package and a script in a repository with one commit."""
    package = tmp_path / "repository" / "src" / "thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("x = 1\n")
    root = tmp_path / "repository"
    (root / "script.py").write_text("y = 1\n")
    (root / ".gitignore").write_text("__pycache__\nvenv\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return package


def root_of(package):
    return package.parents[1]


def test_a_clean_checkout_has_its_commit(package):
    commit = git(package, "rev-parse", "HEAD")
    assert code_version(package) == UNKNOWN | {"commit": commit, "dirty": False}
    assert len(commit) == 40


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "part.py").write_text("x = 2\n"),
        lambda package: (package / "part.py").unlink(),
        lambda package: (package / "new.py").write_text(""),
        lambda package: git(package, "rm", "-q", "--cached", "part.py"),
    ],
    ids=["edited", "deleted", "new", "staged"],
)
def test_a_change_of_the_package_is_dirty(package, change):
    change(package)
    assert code_version(package)["dirty"] is True
    assert code_version(package)["commit"] == git(package, "rev-parse", "HEAD")


def test_ignored_files_and_files_elsewhere_do_not_count_unless_named(package):
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "part.pyc").write_text("")
    script = root_of(package) / "script.py"
    script.write_text("y = 2\n")
    assert code_version(package)["dirty"] is False
    assert code_version(package, script)["dirty"] is True


def test_an_installed_package_in_an_ignored_folder_of_a_checkout_has_no_commit(package):
    installed = root_of(package) / "venv" / "thing"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code_version(installed) == UNKNOWN


def test_outside_a_checkout_and_before_the_first_commit_there_is_none(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    assert code_version(tmp_path) == UNKNOWN
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert code_version(tmp_path) == UNKNOWN


def test_without_git_there_is_none(package, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(package) == UNKNOWN


def test_the_repository_of_a_running_hook_is_not_taken_for_that_of_the_package(
    package, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit = git(package, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert code_version(package)["commit"] == commit


def test_the_default_is_the_imported_package():
    assert (PACKAGE / "utils" / "code_version.py").is_file()
    assert code_version() == code_version(PACKAGE)


def test_importing_the_package_starts_no_program():
    code = (
        "import subprocess, os\n"
        "def refuse(*a, **k): raise SystemExit('a program was started')\n"
        "subprocess.Popen.__init__ = refuse\n"
        "import cign.learner, cign.bench, cign.utils.code_version\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_one_clean_commit_is_certainly_the_same_code():
    assert is_same_code(version(A), version(A))
    assert not is_same_code(version(A), version(B))
    assert not is_same_code(version(A, dirty=True), version(A, dirty=True))
    assert not is_same_code(version(None, None), version(None, None))
    assert not is_same_code("0123456789abcdef", version(A))


def test_runs_are_counted_by_their_versions():
    counted = count_versions([[version(A)], [version(B)], [version(B)], [version(A), version(B)]])
    assert [(one["runs"], len(one["versions"])) for one in counted] == [(2, 1), (1, 1), (1, 2)]
    assert statement(counted) == (
        f"Code: 2 runs: commit {'b' * 10}; 1 run: commit {'a' * 10}; "
        f"1 run: commit {'a' * 10}, then commit {'b' * 10}."
    )


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([[version(A)], [version(A)]], ""),
        ([], ""),
        ([[version(A)], [version(B)]], "different commits"),
        ([[version(A), version(B)]], "different commits"),
        ([[version(A, dirty=True)]], "uncommitted changes"),
        ([[version(A)], [version(None, None)]], "unknown code"),
        ([[]], "unknown code"),
        ([[version(A, dirty=True)], [version(B)]], "different commits and uncommitted changes"),
    ],
)
def test_a_warning_names_what_makes_runs_incomparable(runs, said):
    expected = f"Caution: runs were made with {said}." if said else ""
    assert warning(count_versions(runs)) == expected
