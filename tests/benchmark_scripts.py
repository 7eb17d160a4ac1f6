"""The scripts of ``benchmarks/`` and ``tools/`` as modules, for tests of what they compute."""

import importlib.util
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def script(name):
    """A fresh module of ``benchmarks/NAME.py``."""
    return module_of(BENCHMARKS / f"{name}.py", f"{name}_benchmark")


def tool(name):
    """A fresh module of ``tools/NAME.py``."""
    return module_of(BENCHMARKS.parent / "tools" / f"{name}.py", f"{name}_tool")


def module_of(path, name):
    """A fresh module of a file, under a name that no other module has."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
