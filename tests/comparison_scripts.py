"""The scripts of comparison tables, which import each other, as modules for tests."""

import importlib

import pytest

from benchmark_scripts import BENCHMARKS


@pytest.fixture(scope="module", autouse=True)
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def module(name):
    return importlib.import_module(f"compare{name}")
