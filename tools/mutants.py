"""Mutation testing: small changes of the source, each of which a test should notice.

    python tools/mutants.py [--modules losses,ridge] [--minutes 30] [--number 40]
    python tools/mutants.py --show losses      the survivors, with the lines they change

A sample of the mutations of each module (`mutations.py`), always the same one, is tested with the
tests of that module, which end at the first failure. A mutant is killed *by value* where an
assertion failed, *by crash* where the code raised another exception, *by time* where the tests took
much longer than without the mutation, and *survived* otherwise. Mutants in ``equivalent.txt``
change nothing that could be noticed, and are counted apart, each with its reason.

Results are rows of ``benchmarks/results/mutants.csv``; those of unchanged files are reused, so that
the command continues where it was stopped. Test processes are forked from this one, which has
imported the large packages.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import hashlib
import importlib
import json
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mutant_results import MODULES, Row, read_rows, show, write_page, write_rows
from mutations import Mutation, mutations

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "scipy.stats", "sklearn.linear_model", "pyarrow", "hypothesis", "av")
LEAST_S, FACTOR = 20.0, 4.0  # a mutant may take so long, or so many times longer than no mutant


def digest(*paths: Path) -> str:
    """A hash of files, and of the Python files in folders."""
    found = hashlib.sha256()
    for path in paths:
        for one in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(one.read_bytes())
    return found.hexdigest()[:12]


def sample(module: str, number: int) -> list[tuple[Path, Mutation]]:
    """The mutations of a module that are tested."""
    found = []
    for pattern in MODULES[module][0]:
        for path in sorted((ROOT / "src" / "cign").glob(pattern)):
            name = str(path.relative_to(ROOT / "src"))
            found += [
                (hashlib.sha256(f"{name} {one.name}".encode()).hexdigest(), path, one)
                for one in mutations(path.read_text(encoding="utf-8"))
            ]
    return [(path, one) for _, path, one in sorted(found, key=lambda item: item[0])[:number]]


class Failure:
    """A pytest plugin that notes the first failure."""

    def __init__(self) -> None:
        self.kind, self.text = "", ""

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        """Note the exception and the test."""
        if not self.kind:
            name = call.excinfo.typename
            is_value = call.excinfo.errisinstance((AssertionError,)) or name == "Failed"
            self.kind = "value" if is_value else "crash"
            self.text = f"{node.nodeid}: {name}"


def run_tests(source: Path, tests: tuple[str, ...], limit_s: float) -> tuple[str, str, float]:
    """Run tests in a forked process with the package in ``source``: result, failure, seconds."""
    began = time.monotonic()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        _test(source, tests, write)
    os.close(write)
    done = False
    while time.monotonic() - began < limit_s:
        if os.waitpid(child, os.WNOHANG)[0]:
            done = True
            break
        time.sleep(0.02)
    if not done:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(read, encoding="utf-8") as pipe:
        text = pipe.read() if done else ""
    seconds = time.monotonic() - began
    if not done:
        return "time", "", seconds
    answer = json.loads(text) if text else {"kind": "crash", "text": "the process ended"}
    return answer["kind"] or "survived", answer["text"], seconds


def _test(source: Path, tests: tuple[str, ...], write: int) -> None:
    """Run tests and end this process."""
    os.setsid()
    os.environ["PYTHONPATH"] = str(source)
    sys.path.insert(0, str(source))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.chdir(ROOT)
    import pytest

    failure, options = Failure(), ("-x", "-q", "-p", "no:cacheprovider", "--no-header")
    code = pytest.main([*options, *tests], plugins=[failure])
    if code and not failure.kind:
        failure.kind, failure.text = "crash", f"pytest ended with {int(code)}"
    os.write(write, json.dumps({"kind": failure.kind, "text": failure.text}).encode())
    os._exit(0)


def main() -> None:
    """Test mutants and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modules", default=",".join(MODULES), help="separated by commas")
    parser.add_argument("--number", type=int, default=40, help="mutants of each module")
    parser.add_argument("--minutes", type=float, help="begin no mutant later")
    parser.add_argument("--show", help="survivors of a module, and the lines they change")
    options = parser.parse_args()
    if options.show:
        show(options.show)
        return
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else None
    for name in HEAVY:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="cign-mutants-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        by_content = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(source, quiet=2, invalidation_mode=by_content)
        for module in options.modules.split(","):
            if not test_module(module, options.number, source, deadline):
                break
    write_page(options.number)


def test_module(module: str, number: int, source: Path, deadline: float | None) -> bool:
    """Test the mutants of a module that have no result yet; False if the time is over."""
    tests = MODULES[module][1]
    chosen = sample(module, number)
    hashes = {path: digest(path, *(ROOT / name for name in tests)) for path, _ in chosen}
    rows = read_rows()
    names = {(str(path.relative_to(ROOT)), one.name): hashes[path] for path, one in chosen}
    rows = [
        row
        for row in rows
        if row.module != module or names.get((row.file, row.mutation)) == row.source
    ]
    known = {(row.file, row.mutation) for row in rows if row.module == module}
    left = [one for one in chosen if (str(one[0].relative_to(ROOT)), one[1].name) not in known]
    if not left:
        return True
    result, failure, usual_s = run_tests(source, tests, 1200.0)
    if result != "survived":
        raise SystemExit(f"{module}: the tests fail without a mutation: {failure or result}")
    limit_s = max(LEAST_S, FACTOR * usual_s)
    print(f"{module}: {len(left)} mutants, {usual_s:.1f} s without a mutation", flush=True)
    for path, mutation in left:
        if deadline is not None and time.monotonic() > deadline:
            return False
        copy = source / path.relative_to(ROOT / "src")
        copy.write_text(mutation.source, encoding="utf-8")
        result, failure, seconds = run_tests(source, tests, limit_s)
        shutil.copyfile(path, copy)
        name = str(path.relative_to(ROOT))
        rows.append(
            Row(
                module=module,
                file=name,
                mutation=mutation.name,
                result=result,
                failure=failure,
                seconds=round(seconds, 1),
                source=hashes[path],
            )
        )
        write_rows(rows)
        print(f"  {result:8} {name}:{mutation.name}  {failure}", flush=True)
    return True


if __name__ == "__main__":
    main()
