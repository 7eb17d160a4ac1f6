"""Benchmarking: a grid of runs in parallel processes, summarised in a table with intervals."""

from cign.bench.bench import BenchResult, run_bench
from cign.bench.grid import BenchConfig

__all__ = ["BenchConfig", "BenchResult", "run_bench"]
