"""Faults at drawn moments of a command, each followed by what its user would do next.

Run as a process of its own, single-threaded, so that it can fork:

    python tests/faults/campaign.py FOLDER --faults kill,disk,clock,writer,memory --number 10

prints one JSON object with the counts: injected, too late, lost (a result that can no longer be
reached), wrong (another result than without the fault) and rude (a traceback, or no sentence).
For two writers, injected means that one of them was refused because of the other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import script
from faults.cases import CHANGES, COMMANDS, Case, World
from faults.children import Outcome, finished, load_commands, run_child
from faults.injected import (
    Fault,
    count_operations,
    fill_disk_before,
    jump_clock,
    kill_before,
    limit_memory_after,
    limit_memory_before,
)
from faults.writers import Writers

FAULTS = ("kill", "disk", "clock", "writer", "memory")
MOST_KILLS = 2  # of one trial, before it may end
HEADROOM = (2**12, 2**22)  # bytes that a process may still take


class Campaign:
    """Trials of the cases of one dataset.

    Args:
        world: Where clips, store and model lie.
        seed: Of the moments.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.writers = Writers(world.log, self.draw)
        self._whole: dict[str, tuple[dict[str, Any], float, int]] = {}

    def whole(self, case: Case) -> tuple[dict[str, Any], float, int]:
        """Result, seconds and file operations of a case that nothing disturbs."""
        if case.name not in self._whole:
            case.reset()
            counter = case.place.parent / "operations"
            begin = time.monotonic()
            child = run_child(case.arguments, self.world.log, count_operations(case.place, counter))
            done = finished(child, self.world.log)
            took_s = time.monotonic() - begin
            assert done.code == 0, done.err
            self._whole[case.name] = case.result(case.place), took_s, counter.stat().st_size
        return self._whole[case.name]

    def trial(self, command: str, fault: str) -> None:
        """One trial; what is wrong is noted, not raised."""
        # Half of the trials with decoding processes, a quarter of the benches with theirs.
        os.environ["BENCH_IN_ONE_PROCESS"] = "1" if self.draw.random() < 0.75 else ""
        case = self.world.case(command, workers=self.draw.choice((0, 2)))
        what = f"{fault} {command}"
        try:
            if fault == "writer":
                self._writer(case, what)
            else:
                self._disturbed(case, what, fault)
        except AssertionError as error:
            self._note(what, "rude", str(error)[-600:])

    def _disturbed(self, case: Case, what: str, fault: str) -> None:
        """Inject a fault into one command, repeat the command, and compare its result."""
        expected, took_s, operations = self.whole(case)
        case.reset()
        num = getattr(self, f"_{fault}")(case, took_s, operations)
        self.counts[f"{what}: {'injected' if num else 'too late'}"] += max(num, 1)
        if case.at_begin and case.result(case.place) not in (case.at_begin, expected):
            self._note(what, "wrong", "neither the old model nor the new one")
            return
        arguments = case.again()
        if arguments is not None:
            done = finished(run_child(arguments, self.world.log), self.world.log)
            if done.code != 0:
                self._note(what, "lost", f"cannot be gone on with: {done.err[-600:]}")
                return
        found = case.result(case.place)
        if found != expected:
            self._note(what, "wrong", f"differs in {differences(found, expected)}")

    def _note(self, what: str, kind: str, text: str) -> None:
        self.counts[f"{what}: {kind}"] += 1
        self.problems.append(f"{what}: {kind}: {text}")

    def _writer(self, case: Case, what: str) -> None:
        """Let another process write to the same folder meanwhile."""
        other = case
        if case.at_begin:
            workers = self.draw.choice((0, 2))
            other = self.world.case(self.draw.choice(CHANGES), workers=workers)
        _, took_s, operations = self.whole(case)
        allowed = self.writers.one_after_the_other(case, other)
        num_refused, result = self.writers.together(case, other, took_s, operations)
        self.counts[f"{what}: {'injected' if num_refused else 'too late'}"] += 1
        if result not in allowed:
            self._note(what, "wrong", f"with {other.name}: {differences(result, allowed[0])}")

    def _kill(self, case: Case, took_s: float, operations: int) -> int:
        """Kill it once or twice, at a moment or before a file operation."""
        num_kills = 0
        for _ in range(self.draw.randint(1, MOST_KILLS)):
            arguments = case.again()
            if arguments is None:
                break
            arm: Fault | None = None
            if self.draw.random() < 0.5:
                arm = kill_before(self.draw.randint(1, operations), case.place)
            child = run_child(arguments, self.world.log, arm)
            if arm is None:
                time.sleep(self.draw.uniform(0, took_s))
                os.kill(child, signal.SIGKILL)
            done = finished(child, self.world.log)
            if done.code != -signal.SIGKILL:
                assert done.code == 0, done.err
                break
            num_kills += 1
        return num_kills

    def _disk(self, case: Case, took_s: float, operations: int) -> int:
        """Fill the disk before one of its writes."""
        arm = fill_disk_before(self.draw.randint(1, operations), case.place)
        done = finished(run_child(case.arguments, self.world.log, arm), self.world.log)
        if done.code == 0:
            return 0
        assert done.code == 1, (done.code, done.err)
        assert done.sentence
        return 1

    def _memory(self, case: Case, took_s: float, operations: int) -> int:
        """Let it run out of memory at a moment, or before a file operation."""
        num_bytes = round(HEADROOM[0] * (HEADROOM[1] / HEADROOM[0]) ** self.draw.random())
        if self.draw.random() < 0.5:
            arm = limit_memory_before(self.draw.randint(1, operations), case.place, num_bytes)
        else:
            arm = limit_memory_after(self.draw.uniform(0, took_s), num_bytes)
        done = finished(run_child(case.arguments, self.world.log, arm), self.world.log)
        if done.code == 0:
            return 0
        if ended_by_library(done):
            self.counts[f"memory {case.name}: ended by a library"] += 1
            return 1
        assert done.code == 1, (done.code, done.err)
        assert done.sentence
        return 1

    def _clock(self, case: Case, took_s: float, operations: int) -> int:
        """Let the clock jump all along, killed once in between."""
        seed = self.draw.randrange(10**6)
        child = run_child(case.arguments, self.world.log, jump_clock(seed))
        time.sleep(self.draw.uniform(0, took_s))
        os.kill(child, signal.SIGKILL)
        finished(child, self.world.log)
        arguments = case.again()
        if arguments is not None:
            done = finished(run_child(arguments, self.world.log, jump_clock(seed + 1)), self.log)
            assert done.code == 0, done.err
        return 1

    @property
    def log(self) -> Path:
        """Where children print."""
        return self.world.log


def ended_by_library(done: Outcome) -> bool:
    """Whether a library of C or C++, which cannot report a lack of memory, ended the process."""
    if done.code in (-signal.SIGABRT, -signal.SIGSEGV):
        return True
    return done.code == 127 and "cannot allocate memory for thread-local data" in done.err


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Up to five names of what differs between two results."""
    odd = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
    if odd == ["names"]:
        odd = sorted(set(found["names"]) ^ set(expected["names"]))
    return odd[:5]


def run(
    root: Path, faults: list[str], commands: list[str], number: int, seed: int, most_s: float
) -> Campaign:
    """Make trials, spread evenly over commands and faults.

    Args:
        root: A new folder, or one of such a campaign.
        faults: Of `FAULTS`.
        commands: Of `COMMANDS`.
        number: Trials of each fault.
        seed: Of the moments.
        most_s: No trial begins later than so many seconds after the first.
    """
    torch.set_num_threads(1)
    os.environ["TMPDIR"] = str(root / "tmp")
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = None
    load_commands()
    world = World(root)
    world.build()
    campaign = Campaign(world, seed)
    begin = time.monotonic()
    for trial in range(number):
        for fault in faults:
            if time.monotonic() - begin < most_s:
                campaign.trial(commands[trial % len(commands)], fault)
    return campaign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--number", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    faults, commands = options.faults.split(","), options.commands.split(",")
    begin = time.monotonic()
    how = (options.number, options.seed, options.seconds)
    campaign = run(options.folder, faults, commands, *how)
    print(json.dumps(script.results(campaign.counts, campaign.problems, begin), indent=2))


if __name__ == "__main__":
    main()
