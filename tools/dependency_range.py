"""The quick tests with the lowest declared and with the newest versions of the dependencies.

    python tools/dependency_range.py lowest [--torch 2.11.0] [--python python3.11]
    python tools/dependency_range.py newest

``lowest`` installs every package of the runtime and of the extras export, real, serve and tune at
the lowest version that ``pyproject.toml`` allows, ``newest`` at the newest that can be installed
together; tools of the tests are always the newest. PyTorch is the pinned version, as a build for
the CPU, unless ``--torch`` names another one: the builds of most versions on a package index need
gigabytes of CUDA libraries. Environments lie below ``work/dependencies``. The results of all
environments are in ``benchmarks/results/dependencies.json``, and as a page beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
WORK = ROOT / "work" / "dependencies"
RESULTS = ROOT / "benchmarks" / "results" / "dependencies.json"
PAGE = RESULTS.with_suffix(".md")
EXTRAS = ("export", "real", "serve", "tune")
KINDS = ("lowest", "newest")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extra>\[[^]]*\])?>=(?P<version>[\w.]+)")


def lowest() -> dict[str, str]:
    """Lowest declared version of each package of the runtime and of `EXTRAS`, without torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    found = {}
    for requirement in (
        *project["dependencies"],
        *(one for name in EXTRAS for one in extras[name]),
    ):
        match = _REQUIREMENT.match(requirement)
        if match and match["name"] != "torch":
            found[match["name"].lower()] = match["version"]
    return found


def pinned(name: str) -> str:
    """Version of a package in ``constraints.txt``."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line.partition("==")[2]
    raise SystemExit(f"{name} is not in constraints.txt")


def make_environment(folder: Path, kind: str, torch: str, python: str) -> Path:
    """Install into a new environment; returns its interpreter."""
    interpreter = folder / "bin" / "python"
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    pip = [interpreter, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"torch=={torch}"], check=True)
    pins = folder / "pins.txt"
    lines = [f"torch=={torch}"]
    if kind == "lowest":
        lines += [f"{name}=={version}" for name, version in lowest().items()]
    pins.write_text("\n".join(lines) + "\n")
    what = f"{ROOT}[dev,{','.join(EXTRAS)}]"
    subprocess.run([*pip, "-c", pins, what], check=True)
    subprocess.run([*pip, "--no-deps", f"aisfx=={pinned('aisfx')}"], check=True)
    subprocess.run([interpreter, "-m", "pip", "uninstall", "-q", "-y", "cign"], check=True)
    return interpreter


def versions(interpreter: Path) -> dict[str, str]:
    """Versions of Python, PyTorch and of the packages with a declared lowest version."""
    listed = subprocess.run(
        [interpreter, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    installed = {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}
    named = subprocess.run([interpreter, "--version"], capture_output=True, text=True, check=True)
    names = ("torch", *sorted(lowest()))
    python = {"python": named.stdout.split()[1]}
    return python | {name: installed[name] for name in names if name in installed}


def run_tests(interpreter: Path, tests: list[str], num_processes: int) -> dict[str, Any]:
    """Run the quick tests of this checkout: counts, names of failed tests, minutes."""
    report = interpreter.parents[1] / "tests.xml"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{interpreter.parent}:{os.environ['PATH']}",
    }
    began = time.monotonic()
    processes = ["-n", str(num_processes), "--dist", "worksteal"] if num_processes else []
    command = [interpreter, "-m", "pytest", "-q", *processes, f"--junitxml={report}", *tests]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
    suite = ElementTree.parse(report).getroot()[0]
    cases = list(suite.iter("testcase"))
    failed = [
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failed) - skipped,
        "skipped": skipped,
        "failed": sorted(set(failed)),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Dependency range",
        "",
        "`python tools/dependency_range.py lowest` and `newest`: the quick tests with the lowest "
        "declared versions of the runtime and of the extras "
        f"{', '.join(EXTRAS[:-1])} and {EXTRAS[-1]}, and with the newest available ones.",
        "",
        "| versions | Python | PyTorch | passed | skipped | failed | tests | minutes |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for row in results.values():
        at = row["versions"]
        cells = (row["kind"], at["python"], at["torch"], row["passed"], row["skipped"])
        more = (len(row["failed"]), row["tests"], row["minutes"])
        lines.append(f"| {' | '.join(map(str, (*cells, *more)))} |")
    lines += ["", f"| package | {' | '.join(results)} |", f"| --- |{' --- |' * len(results)}"]
    for name in sorted({name for row in results.values() for name in row["versions"]}):
        cells = (row["versions"].get(name, "-") for row in results.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    failed = [(label, test) for label, row in results.items() for test in row["failed"]]
    lines += ["", "Failed: " + ("none." if not failed else "")]
    lines += [f"- {label}: `{test}`" for label, test in failed]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Make an environment, run the tests in it, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--torch", default=pinned("torch"), help="default: the pinned version")
    parser.add_argument("--python", default="python3", help="the interpreter")
    parser.add_argument("--tests", default="tests", help="files or folders, separated by commas")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="use the environment if it is there")
    options = parser.parse_args()
    name = f"{options.kind}-torch-{options.torch}-{Path(options.python).name}"
    folder = WORK / name
    interpreter = folder / "bin" / "python"
    if not (options.keep and interpreter.exists()):
        interpreter = make_environment(folder, options.kind, options.torch, options.python)
    row = {"kind": options.kind, "tests": options.tests, "versions": versions(interpreter)}
    row |= run_tests(interpreter, options.tests.split(","), options.processes)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results[f"{options.kind}, PyTorch {row['versions']['torch']}"] = row
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    PAGE.write_text(page(results))
    print(PAGE.read_text())
    raise SystemExit(1 if row["failed"] else 0)


if __name__ == "__main__":
    main()
