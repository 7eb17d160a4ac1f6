"""What the parts of the speed page have in common: rounds that take turns, memory, the JSON file.

A part measures what it compares in one run, in rounds that take turns, so that a busy machine
slows all of them alike, and tells ratios of medians. It writes its result as JSON with the hash of
the code it rests on; run again on the same code with the same options it keeps what is there.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cign.utils.code_hash import code_hash
from cign.utils.files import read_json, write_json

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # what stands there is measured here, not written twice


_peaks_mb: list[float] = []  # of the stretches between which the peak was forgotten


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the page.

    Attributes:
        what: What is divided by what.
        ratio: Measured.
        at_least: The floor, if there is one.
        at_most: The ceiling, if there is one.
    """

    what: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        low = self.at_least is None or self.ratio >= self.at_least
        return low and (self.at_most is None or self.ratio <= self.at_most)


@dataclass(kw_only=True)
class Found:
    """What a part found.

    Attributes:
        rows: Its ratios.
        table: What they were made of, as Markdown.
    """

    rows: list[Row]
    table: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def part(
    title: str,
    measure: Callable[[argparse.Namespace], Found],
    *,
    script: str,
    modules: Sequence[str],
    files: Sequence[Path] = (),
    options: Mapping[str, tuple[int, str]],
) -> None:
    """The command of a part.

    Args:
        title: Of its section.
        measure: Measures.
        script: Its file.
        modules: What of `cign` it rests on.
        files: What else it rests on.
        options: Whole numbers by name, with their default and help.
    """
    parser = argparse.ArgumentParser(description=title)
    for name, (default, text) in options.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    parser.add_argument("--json", type=Path, help="where the result is kept")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    given = parser.parse_args()
    asked = {name: getattr(given, name) for name in options}
    rests_on = [Path(script), Path(__file__), *files]
    code = code_hash(modules, rests_on)
    if given.json is not None and given.json.is_file() and not given.again:
        kept = read_json(given.json, "part of the speed page")
        if (kept["code"], kept["options"], kept["machine"]) == (code, asked, machine()):
            print(f"{given.json}: measured already with this code; --again measures anew")
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
        "rests_on": {"modules": list(modules), "files": [str(file) for file in rests_on]},
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


def is_older_than_its_code(result: Mapping[str, Any]) -> bool:
    """Whether what a part's result rests on has changed since."""
    rests_on = result["rests_on"]
    now: str = code_hash(rests_on["modules"], [Path(file) for file in rests_on["files"]])
    return now != result["code"]


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
        f"Peak memory of the part {result['peak_mb']:,.0f} MB; {result['seconds']:.0f} s, load "
        f"{result['load']:.1f} at its end.",
        "",
    ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
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
    """What the processor has for products of matrices, bfloat16's among them."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.is_file() else set()
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in words]


def peak_mb() -> float:
    """The most memory that this process held since `forget_peak`, in MB of 1,000,000 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def forget_peak() -> float:
    """Begin to count the peak anew where the system can; gives what is held now, in MB."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: give back what is free, or it would count
    _peaks_mb.append(peak_mb())
    clear = Path("/proc/self/clear_refs")
    if clear.is_file():
        clear.write_text("5")
    return peak_mb()


@dataclass(kw_only=True)
class Timed:
    """Rounds of one contestant.

    Attributes:
        seconds: Of each round.
        extra_mb: The most that the first round held beyond what was there before it.
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
    """Time contestants in rounds that take turns, after one round that measures memory.

    Args:
        contestants: What to do, by name.
        num_rounds: Rounds that count.
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
