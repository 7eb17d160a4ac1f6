"""The version of this package's code: git commit and local changes, recorded with each result."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 30.0

CodeVersion = dict[str, Any]
"""``version`` of the package, git ``commit`` and ``dirty``; the last two None if unknown."""


def code_version(package: Path = PACKAGE, *more: Path) -> CodeVersion:
    """Version, git commit and dirty flag of the code in a folder.

    It runs git, so call it once per run and not at import.

    Args:
        package: Folder of the package's source. Its commit counts only if git tracks the folder: an
            installed package in an ignored folder of another checkout has none.
        more: Other files or folders of the checkout that the result depends on.

    Returns:
        ``version``: of the installed package. ``commit``: 40 hexadecimal digits, None without git
        or outside a checkout. ``dirty``: whether the folder or ``more`` has uncommitted changes or
        new files that git does not ignore; None without a commit.
    """
    known: CodeVersion = {"version": metadata.version("cign"), "commit": None, "dirty": None}
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return known
    where = ["--", ".", *(str(path.resolve()) for path in more)]
    status = _git(package, "status", "--porcelain=v2", "--branch", "--untracked-files=all", *where)
    if status is None:
        return known
    lines = status.splitlines()
    heads = [line.split()[2] for line in lines if line.startswith("# branch.oid ")]
    if not heads or heads[0] == "(initial)":
        return known
    return known | {"commit": heads[0], "dirty": any(not line.startswith("#") for line in lines)}


def is_same_code(one: object, other: object) -> bool:
    """Whether two versions are certainly equal: the same commit without local changes."""
    return (
        isinstance(one, Mapping)
        and isinstance(other, Mapping)
        and one.get("commit") is not None
        and one.get("commit") == other.get("commit")
        and one.get("dirty") is False
        and other.get("dirty") is False
    )


def count_versions(runs: Iterable[Sequence[CodeVersion]]) -> list[dict[str, Any]]:
    """Count runs by the versions they were made with, the most frequent first.

    Args:
        runs: The versions of each run: several if it was resumed with different code, none if it
            was made before they were recorded.

    Returns:
        ``versions`` and ``runs``, the number of runs that were made with exactly these.
    """
    counted: list[dict[str, Any]] = []
    for versions in map(list, runs):
        same = next((one for one in counted if one["versions"] == versions), None)
        if same is None:
            counted.append({"versions": versions, "runs": 1})
        else:
            same["runs"] += 1
    return sorted(counted, key=lambda one: -one["runs"])


def statement(counted: Sequence[Mapping[str, Any]]) -> str:
    """The commits that runs were made at, as a sentence.

    Args:
        counted: Result of `count_versions`.
    """
    each = []
    for one in counted:
        versions = ", then ".join(map(described, one["versions"])) or "unknown commit"
        each.append(f"{one['runs']} run{'s' if one['runs'] > 1 else ''}: {versions}")
    return f"Code: {'; '.join(each)}."


def warning(counted: Sequence[Mapping[str, Any]]) -> str:
    """A warning unless all runs were made at one commit without local changes; else empty.

    Args:
        counted: Result of `count_versions`.
    """
    found = [version for one in counted for version in one["versions"]]
    commits = {version["commit"] for version in found}
    reasons = {
        "different commits": len(commits - {None}) > 1,
        "uncommitted changes": any(version["dirty"] for version in found),
        "unknown code": None in commits or any(not one["versions"] for one in counted),
    }
    given = [reason for reason, holds in reasons.items() if holds]
    return f"Caution: runs were made with {' and '.join(given)}." if given else ""


def described(version: CodeVersion) -> str:
    """A version in words: its commit, or the version of the package if that is unknown."""
    if version["commit"] is None:
        return f"unknown commit of version {version['version']}"
    changed = " with uncommitted changes" if version["dirty"] else ""
    return f"commit {version['commit'][:10]}{changed}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in a folder; None if it fails or git is not installed."""
    # A git hook sets GIT_DIR and others, which would select another repository.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=_TIMEOUT_S, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
