"""Common code of the parts of the speed page: alternating rounds, peak memory, the JSON file.

A part measures everything it compares in one run, in alternating rounds, so that load on the
machine affects all contestants equally, and reports ratios of medians. It writes its result as JSON
with the commit of its code; a repeated run at the same commit, without uncommitted changes and with
the same options, reuses the result.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cign.utils.code_version import PACKAGE, CodeVersion, code_version, is_same_code
from cign.utils.files import read_json, write_json

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # parts reuse these benchmarks


_peaks_mb: list[float] = []  # peaks of the intervals between calls of `forget_peak`


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the page.

    Attributes:
        what: Description: numerator / denominator.
        ratio: The measured ratio.
        at_least: Lower bound, if any.
        at_most: Upper bound, if any.
    """

    what: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound is met; None without a bound."""
        if self.at_least is None and self.at_most is None:
            return None
        low = self.at_least is None or self.ratio >= self.at_least
        return low and (self.at_most is None or self.ratio <= self.at_most)


@dataclass(kw_only=True)
class Found:
    """Result of a part.

    Attributes:
        rows: Ratios.
        table: The underlying measurements, as Markdown.
    """

    rows: list[Row]
    table: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def part(
    title: str,
    measure: Callable[[argparse.Namespace], Found],
    *,
    script: str,
    options: Mapping[str, tuple[int, str]],
) -> None:
    """Run a part as a command.

    Args:
        title: Title of its section.
        measure: Makes the measurements.
        script: Path of its script.
        options: Integer options by name, with default and help.
    """
    parser = argparse.ArgumentParser(description=title)
    for name, (default, text) in options.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--again", action="store_true", help="repeat existing measurements")
    given = parser.parse_args()
    asked = {name: getattr(given, name) for name in options}
    code = current_code()
    if given.json is not None and given.json.is_file() and not given.again:
        old = read_json(given.json, "part of the speed page")
        same = (old["options"], old["machine"]) == (asked, machine())
        if same and is_same_code(old["code"], code):
            print(f"{given.json}: already measured at this commit; use --again to repeat")
            return
    began = time.perf_counter()
    found = measure(given)
    words = [f"--{name} {value}" for name, value in asked.items() if value != options[name][0]]
    command = " ".join(["python", Path(script).relative_to(ROOT).as_posix(), *words])
    _peaks_mb.append(peak_mb())
    result = {
        "title": title,
        "command": command,
        "code": code,
        "options": asked,
        "machine": machine(),
        "load": os.getloadavg()[0],
        "seconds": time.perf_counter() - began,
        "peak_mb": max(_peaks_mb, default=0.0),
        "rows": [asdict(row) for row in found.rows],
        "table": found.table,
        **found.extra,
    }
    print(section(result))
    if given.json is not None:
        write_json(given.json, result)


def current_code() -> CodeVersion:
    """Version of the package and of the benchmark scripts."""
    return code_version(PACKAGE, *sorted(ROOT.glob("benchmarks/**/*.py")))


def section(result: Mapping[str, Any]) -> str:
    """A part's result as Markdown."""
    lines = [f"## {result['title']}", "", f"`{result['command']}`", ""]
    lines += ["| what | ratio | bound | |", "| --- | ---: | ---: | --- |"]
    for values in result["rows"]:
        row = Row(**values)
        bound = "" if row.at_least is None else f">= {row.at_least:g}"
        bound = bound if row.at_most is None else f"<= {row.at_most:g}"
        verdict = {None: "", True: "holds", False: "MISSED"}[row.holds]
        lines.append(f"| {row.what} | {row.ratio:.3g} | {bound} | {verdict} |")
    if result["table"]:
        lines += ["", result["table"].strip()]
    lines += [
        "",
        f"Peak memory of the part: {result['peak_mb']:,.0f} MB; {result['seconds']:.0f} s, load "
        f"{result['load']:.1f} at the end.",
        "",
    ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Properties of the machine that the results depend on."""
    import torch

    from cign.runs import record as run_record

    return {
        "processor": ", ".join([run_record.machine()["processor"], *matrix_extensions()]),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def matrix_extensions() -> list[str]:
    """Instruction set extensions for matrix products, including bfloat16."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.is_file() else set()
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in words]


def peak_mb() -> float:
    """Peak memory of this process since `forget_peak`, in MB of 1,000,000 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def forget_peak() -> float:
    """Reset the peak if the system supports it; returns the current memory in MB."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: return free memory, so that it does not count
    _peaks_mb.append(peak_mb())
    clear = Path("/proc/self/clear_refs")
    if clear.is_file():
        clear.write_text("5")
    return peak_mb()


@dataclass(kw_only=True)
class Timed:
    """Measurements of one contestant.

    Attributes:
        seconds: Time of each round.
        extra_mb: Peak memory of the first round above the level before it.
    """

    seconds: list[float] = field(default_factory=list)
    extra_mb: float = 0.0

    @property
    def median_s(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


def take_turns(
    contestants: Mapping[str, Callable[[], object]], num_rounds: int
) -> dict[str, Timed]:
    """Time contestants in alternating rounds, after one round that measures memory.

    Args:
        contestants: Functions by name.
        num_rounds: Number of timed rounds.
    """
    timed = {name: Timed() for name in contestants}
    for name, work in contestants.items():
        held = forget_peak()
        work()
        timed[name].extra_mb = peak_mb() - held
    for _ in range(num_rounds):
        for name, work in contestants.items():
            began = time.perf_counter()
            work()
            timed[name].seconds.append(time.perf_counter() - began)
    return timed
