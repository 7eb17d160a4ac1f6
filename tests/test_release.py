"""`make release`: what it refuses, and what an interruption leaves."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmark_scripts import tool

ROOT = Path(__file__).parents[1]
release = tool("release")


def git(folder, *words):
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *user, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    """A repository of version 1.0 that can be released."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "pyproject.toml").write_text('[project]\nname = "toy"\nversion = "1.0"\n')
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [1.0] - 2026-01-02\n")
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "First")
    return tree


def test_a_tree_in_order_is_accepted(tree):
    release.check_tree(tree, "1.0", rehearse=False)


def test_uncommitted_changes_are_refused(tree):
    (tree / "new.py").write_text("")
    with pytest.raises(release.RefusedError, match=r"uncommitted changes \(\?\? new.py\)"):
        release.check_tree(tree, "1.0", rehearse=True)


@pytest.mark.parametrize(("version", "said"), [("1.1.dev0", "in development"), ("1.1", "heading")])
def test_a_version_that_is_not_described_is_refused_but_can_be_rehearsed(tree, version, said):
    with pytest.raises(release.RefusedError, match=said):
        release.check_tree(tree, version, rehearse=False)
    release.check_tree(tree, version, rehearse=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, release.RefusedError])
def test_an_interrupted_release_leaves_no_folder(tree, tmp_path, monkeypatch, error):
    def build(root, folder):
        (folder / "toy-1.0.tar.gz").write_bytes(b"half")
        raise error

    monkeypatch.setattr(release, "build", build)
    with pytest.raises(error):
        release.release(tree, tmp_path / "dist")
    assert list((tmp_path / "dist").iterdir()) == []


def test_what_a_killed_release_left_is_removed_and_a_version_never_changes(
    tree, tmp_path, monkeypatch
):
    out = tmp_path / "dist"
    (out / ".unfinished-0.9").mkdir(parents=True)

    def build(root, folder):
        (folder / "toy-1.0.tar.gz").write_bytes(b"sdist")
        (folder / "toy-1.0-py3-none-any.whl").write_bytes(b"wheel")
        return sorted(folder.iterdir())

    monkeypatch.setattr(release, "build", build)
    for name in ("check_wheel", "check_sdist"):
        monkeypatch.setattr(release, name, lambda root, path: None)
    run = release.run

    def ran(*command, **options):
        if "sbom" in command:
            Path(command[-1]).write_text("{}")
        return "" if str(command[0]) == sys.executable else run(*command, **options)

    monkeypatch.setattr(release, "run", ran)
    done = release.release(tree, out)
    assert [path.name for path in out.iterdir()] == ["1.0"]
    lines = [line.split() for line in (done / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {path.name for path in done.iterdir()} - {"SHA256SUMS"}
    for found, name in lines:
        assert found == hashlib.sha256((done / name).read_bytes()).hexdigest()
    with pytest.raises(release.RefusedError, match="does not change"):
        release.release(tree, out)


def test_bytes_that_differ_when_built_again_are_refused(tree, tmp_path, monkeypatch):
    first = tmp_path / "toy-1.0.tar.gz"
    first.write_bytes(b"one")

    def build(root, folder):
        shutil.copy(first, folder)
        (folder / first.name).write_bytes(b"two")
        return sorted(folder.iterdir())

    monkeypatch.setattr(release, "build", build)
    with pytest.raises(release.RefusedError, match="other bytes when built again"):
        release.check_twice(tree, [first])


def test_a_wheel_without_a_file_of_the_package_is_refused(tree, tmp_path):
    (tree / "src" / "toy").mkdir(parents=True)
    (tree / "src" / "toy" / "recipe.yaml").write_text("a: 1\n")
    git(tree, "add", ".")
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("toy/__init__.py", "")
    with pytest.raises(
        release.RefusedError, match=r"lacks 1 files of the package: toy/recipe.yaml"
    ):
        release.check_wheel(tree, wheel)


@pytest.mark.slow
def test_a_release_of_this_tree_can_be_rehearsed(tmp_path):
    pytest.importorskip("twine")
    pytest.importorskip("build")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", ROOT, clone)
    command = [sys.executable, clone / "tools" / "release.py", "--rehearse", "--out", tmp_path]
    said = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    names = {Path(line.split()[0]).suffix for line in said.stdout.splitlines()}
    assert names == {"", ".whl", ".gz", ".json"}
