"""Build a release: wheel, sdist, bill of materials and checksums in ``dist/VERSION``.

    python tools/release.py
    python tools/release.py --rehearse   also of a version in development

The tree must be committed, the version without `.dev`, and its heading in CHANGELOG.md.

Requires the extra `release`. Both files are built from the committed tree, twice, and must be the
same bytes. `twine check --strict` reads them, and the wheel, unpacked beside the dependencies of
this environment, must import, list its methods and contain all files of the package. The
folder appears only when everything is done: an interrupted release leaves no folder of that name,
and the next one removes what it left.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUMS = "SHA256SUMS"
STAGE = ".unfinished-"
LINK = "120000"  # mode of a symbolic link in git, which an sdist does not hold


class RefusedError(Exception):
    """Why there is no release, in one sentence."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Standard output of a command.

    Raises:
        RefusedError: If it fails, with the end of what it said.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-12:]
        raise RefusedError(f"{Path(str(command[0])).name} {command[1]} failed:\n" + "\n".join(said))
    return done.stdout


def check_tree(root: Path, version: str, *, rehearse: bool) -> None:
    """Check that what is released is committed and described.

    Raises:
        RefusedError: Otherwise.
    """
    changed = run("git", "status", "--porcelain", cwd=root).splitlines()
    if changed:
        raise RefusedError(f"the tree has uncommitted changes ({changed[0].strip()}): commit them")
    if rehearse:
        return
    if "dev" in version:
        raise RefusedError(
            f"version {version} is in development: set it in pyproject.toml, or --rehearse"
        )
    headings = [
        line
        for line in (root / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("## [")
    ]
    if not any(line.startswith(f"## [{version}] - ") for line in headings):
        raise RefusedError(f"CHANGELOG.md has no heading `## [{version}] - DATE`: add it")


def build(root: Path, folder: Path) -> list[Path]:
    """Build sdist and wheel of the committed tree, the wheel from the sdist."""
    time = run("git", "log", "-1", "--format=%ct", cwd=root).strip()
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "tree.tar"
        run("git", "archive", "--output", archive, "HEAD", cwd=root)
        tree = Path(temporary) / "tree"
        with tarfile.open(archive) as file:
            file.extractall(tree, filter="data")
        for path in [path for path in tree.rglob("*") if path.is_symlink()]:
            path.unlink()  # its folder would be packed under the link's name only
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree)
        run(*command, env={"SOURCE_DATE_EPOCH": time})
    return sorted(folder.iterdir())


def check_twice(root: Path, first: list[Path]) -> None:
    """Build once more and compare the bytes.

    Raises:
        RefusedError: If they differ.
    """
    with tempfile.TemporaryDirectory() as temporary:
        again = {path.name: digest(path) for path in build(root, Path(temporary))}
    for path in first:
        if again.get(path.name) != digest(path):
            raise RefusedError(f"{path.name} has other bytes when built again")


def check_wheel(root: Path, wheel: Path) -> None:
    """Import the wheel, and compare its files with the committed package.

    Raises:
        RefusedError: If a file is missing, or the package does not work.
    """
    committed = run("git", "ls-files", "src", cwd=root).split()
    wanted = {name.removeprefix("src/") for name in committed}
    with zipfile.ZipFile(wheel) as file:
        missing = wanted - set(file.namelist())
        if missing:
            raise RefusedError(
                f"the wheel lacks {len(missing)} files of the package: {min(missing)}"
            )
        with tempfile.TemporaryDirectory() as temporary:
            file.extractall(temporary)
            # Not started in the tree, and with the unpacked wheel before the installed package.
            own = {"PYTHONPATH": temporary, "PYTHONSAFEPATH": "1"}
            code = "import cign; from cign import Learner; print(cign.__file__)"
            place = run(sys.executable, "-c", code, cwd=Path(temporary), env=own).strip()
            if not place.startswith(temporary):
                raise RefusedError(f"the wheel was not imported, but {place}")
            run(sys.executable, "-m", "cign", "methods", cwd=Path(temporary), env=own)


def check_sdist(root: Path, sdist: Path) -> None:
    """Check that the sdist has the tests and what they need.

    Raises:
        RefusedError: If a committed file of them is missing.
    """
    with tarfile.open(sdist) as file:
        held = {name.partition("/")[2] for name in file.getnames()}
    folders = ("src", "tests", "docs", "benchmarks", "tools", "examples")
    lines = run("git", "ls-files", "-s", *folders, cwd=root).splitlines()
    needed = {line.partition("\t")[2] for line in lines if not line.startswith(LINK)}
    if missing := needed - held:
        raise RefusedError(
            f"the sdist lacks {len(missing)} files: {', '.join(sorted(missing)[:5])}"
        )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def release(root: Path, out: Path, *, rehearse: bool = False) -> Path:
    """Make the folder of a release.

    Args:
        root: The repository.
        out: Folder of all releases.
        rehearse: Allow a version in development.

    Returns:
        The folder, ``out/VERSION``.

    Raises:
        RefusedError: If something is not in order; nothing is left behind.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    done = out / version
    if done.exists():
        raise RefusedError(f"{done} exists: a released version does not change; raise the version")
    check_tree(root, version, rehearse=rehearse)
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(f"{STAGE}*"):
        shutil.rmtree(left)
    stage = out / f"{STAGE}{version}"
    try:
        stage.mkdir()
        files = build(root, stage)
        check_twice(root, files)
        run(sys.executable, "-m", "twine", "check", "--strict", *files)
        sdist, wheel = sorted(files, key=lambda path: path.suffix == ".whl")
        check_wheel(root, wheel)
        check_sdist(root, sdist)
        bill = stage / "sbom.json"
        run(sys.executable, root / "tools" / "supply.py", "sbom", "--out", bill)
        sums = "".join(f"{digest(path)}  {path.name}\n" for path in (*files, bill))
        (stage / SUMS).write_text(sums, encoding="utf-8")
        stage.rename(done)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="also a version in development")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    given = parser.parse_args()
    try:
        done = release(ROOT, given.out.resolve(), rehearse=given.rehearse)
    except RefusedError as error:
        raise SystemExit(f"release: {error}") from None
    for path in sorted(done.iterdir()):
        print(f"{path.relative_to(given.out.resolve())}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
