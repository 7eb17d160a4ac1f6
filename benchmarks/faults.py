"""Fault injection: interrupted commands, exhausted resources, mutated files, misused servers.

    python benchmarks/faults.py [--kills 200] [--disks 100] [--files 10000] [--seed 0]

writes ``benchmarks/results/faults.md``. `--help` lists all numbers. It takes about 6 s per trial,
0.25 s per media file, 0.5 s per other file and 1 s per request on two busy cores. An interrupted
run resumes: results at the same commit are saved in pieces under ``work/faults``, unless there are
uncommitted changes. The trials are defined in ``tests/faults/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.utils.code_version import PACKAGE, CodeVersion, code_version, described, is_same_code
from cign.utils.files import read_json, write_json, write_text

ROOT = Path(__file__).parent.parent
COMMANDS = (
    *("prepare", "train", "train blurry", "train online", "train fewshot", "bench"),
    *("add", "merge", "forget", "replace", "resolve", "thresholds"),
)
PROGRAMS = ROOT / "tests" / "faults"
PAGE = Path(__file__).with_name("results") / "faults.md"
NAMES = {
    "kill": "SIGKILL, once or twice",
    "disk": "disk full from some write on",
    "clock": "clock jumps, and SIGKILL",
    "writer": "another command on the same folder",
    "memory": "memory exhausted from some moment on",
}


@dataclass(frozen=True)
class Part:
    """A part of the campaign.

    Attributes:
        name: Its option, which gives the number.
        program: Of ``tests/faults``.
        number: Default number of trials, files or requests.
        piece: How many are saved as one piece.
        options: Further options of the program.
    """

    name: str
    program: str
    number: int
    piece: int
    options: tuple[str, ...] = ()


PARTS = (
    Part("kills", "campaign.py", 200, 25, ("--faults", "kill")),
    Part("disks", "campaign.py", 100, 25, ("--faults", "disk")),
    Part("clocks", "campaign.py", 60, 20, ("--faults", "clock")),
    Part("writers", "campaign.py", 100, 25, ("--faults", "writer")),
    Part("memory", "campaign.py", 100, 25, ("--faults", "memory")),
    Part("files", "fuzz.py", 10_000, 1_000),
    Part("inputs", "fuzz_inputs.py", 2_000, 250),
    Part("requests", "serving.py", 500, 100),
)


def run(program: str, folder: Path, *options: object) -> dict[str, Any]:
    """Run one of the programs of the tests."""
    command = [sys.executable, str(PROGRAMS / program), str(folder), *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_in_pieces(part: Part, number: int, seed: int, kept: Path) -> dict[str, Any]:
    """Sums over pieces of a part, each with its own seeds.

    Args:
        part: The part.
        number: Number of trials, files or requests.
        seed: Seed of the first.
        kept: Folder of finished pieces.
    """
    counts: Counter[str] = Counter()
    problems: list[str] = []
    seconds = 0.0
    for begin in range(0, number, part.piece):
        size = min(part.piece, number - begin)
        place = kept / f"{part.name}-{seed + begin}-{size}.json"
        if not place.is_file():
            with tempfile.TemporaryDirectory(prefix="cign-faults-") as folder:
                how = (*part.options, "--number", size, "--seed", seed + begin)
                write_json(place, run(part.program, Path(folder) / "here", *how))
        piece = read_json(place, "piece of the faults")
        counts.update(piece.get("counts", {}))
        counts.update({name: n for name, n in piece.items() if isinstance(n, int)})
        problems += piece["problems"]
        seconds += piece["seconds"]
        print(
            f"{place.stem}: {piece['seconds']:g} s, {len(piece['problems'])} problems", flush=True
        )
    return {"counts": counts, "problems": problems, "seconds": round(seconds, 1)}


def pieces_of(code: CodeVersion, root: Path) -> Path:
    """Folder of the finished pieces of a version of the code; empty unless the version is certain.

    Args:
        code: The version.
        root: Folder of the pieces of all versions.
    """
    if is_same_code(code, code):
        return root / str(code["commit"])
    shutil.rmtree(root / "uncommitted", ignore_errors=True)
    return root / "uncommitted"


def trial_rows(counts: dict[str, int]) -> list[str]:
    """Rows of the table: one for each fault and command."""
    kinds = ("injected", "too late", "ended by a library", "lost", "wrong", "rude")
    rows = []
    for fault, name in NAMES.items():
        for command in COMMANDS:
            numbers = [counts.get(f"{fault} {command}: {kind}", 0) for kind in kinds]
            if any(numbers):
                rows.append(f"| {name} | `{command}` | {' | '.join(map(str, numbers))} |")
    return rows


def media_table(found: dict[str, Any]) -> list[str]:
    """What became of mutated media files."""
    columns = ("files", "decoded", "left out", "process died", "took too long", "over its memory")
    numbers = [f"{found['counts'][name]:,}" for name in columns]
    return [
        f"| {' | '.join(columns)} | without an answer |",
        f"|{' --: |' * (len(columns) + 1)}",
        f"| {' | '.join(numbers)} | {len(found['problems'])} |",
    ]


def kinds_table(counts: dict[str, int], first: str, outcomes: tuple[str, ...]) -> list[str]:
    """A row for each kind in counts of the form ``kind: outcome``.

    Args:
        counts: The counts.
        first: Title of the column of kinds.
        outcomes: The other columns.
    """
    rows = [f"| {first} | {' | '.join(outcomes)} |", f"| --- |{' --: |' * len(outcomes)}"]
    for kind in sorted({name.partition(": ")[0] for name in counts}):
        numbers = (f"{counts.get(f'{kind}: {outcome}', 0):,}" for outcome in outcomes)
        rows.append(f"| {kind} | {' | '.join(numbers)} |")
    return rows


def page(found: dict[str, dict[str, Any]], command: str, code: CodeVersion) -> str:
    """The results as Markdown.

    Args:
        found: Results by the name of the part.
        command: That made them.
        code: Version of the code.
    """
    trials: Counter[str] = Counter()
    for part in PARTS:
        if part.program == "campaign.py":
            trials.update(found[part.name]["counts"])
    problems = [problem for part in found.values() for problem in part["problems"]]
    seconds = ", ".join(f"{name} {part['seconds']:g} s" for name, part in found.items())
    lines = [
        "# Faults",
        "",
        f"`{command}`, {len(os.sched_getaffinity(0))} cores; {seconds}; {described(code)}.",
        "",
        "A fault is injected at a random time or before a random file operation. Then the command "
        "is run again as a user would, and the result is compared with that of an undisturbed run: "
        "stores, models, predictions and embeddings byte by byte, metrics and tables number by "
        "number. Of two commands on one folder, one is refused or they run one after the other; "
        "the result must be that of one order. *Too late*: the command had already ended, or "
        "neither command was refused. *Ended by a library*: a library of C or C++ without memory "
        "ended the process. *Lost*: the result could not be obtained. *Wrong*: the result "
        "differed, or files were left over. *Rude*: a traceback, a hang, or a message that is not "
        "one sentence. `replace` is `cign add --replace`.",
        "",
        "| fault | command | injected | too late | ended by a library | lost | wrong | rude |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
        *trial_rows(trials),
        "",
        "Mutated media files (flipped bits, noise, cuts, repeats, wrong lengths, parts of another "
        "file; every container and codec of the tests), through the decoding processes:",
        "",
        *media_table(found["files"]),
        "",
        "Mutated files of models, stores and runs, and mutated lists of clips (bytes; in texts "
        "also fields, lines and encodings; in JSON also values, names and depth), each read by one "
        "of the commands that use it. A changed value that a checksum covers must not be used:",
        "",
        *kinds_table(found["inputs"]["counts"], "file", ("used", "refused", "problems")),
        "",
        "Requests to `cign serve`: *request*: a clip, whose answer must be that of `cign predict` "
        "for the same version; *body*, *head*: a request with mutated bytes; *leave*: the client "
        "leaves during its upload; *change*: another process changes the model meanwhile; "
        "*damage*: its description is mutated for a while; *kill*: the server is killed and "
        "started again. The server must not end by itself, nor log a traceback:",
        "",
        *kinds_table(
            found["requests"]["counts"], "action", ("answered", "refused", "left", "problems")
        ),
        "",
        "Problems: " + ("none." if not problems else ""),
        *(f"- {problem}" for problem in problems),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for part in PARTS:
        parser.add_argument(f"--{part.name}", type=int, default=part.number, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    code = code_version(PACKAGE, PROGRAMS)
    kept = pieces_of(code, ROOT / "work" / "faults")
    numbers = {part.name: getattr(options, part.name) for part in PARTS}
    found = {
        part.name: run_in_pieces(part, numbers[part.name], options.seed, kept) for part in PARTS
    }
    named = " ".join(f"--{name} {number}" for name, number in numbers.items())
    command = f"python benchmarks/faults.py {named} --seed {options.seed}"
    write_text(PAGE, page(found, command, code))
    print(PAGE.read_text())
    raise SystemExit(1 if any(part["problems"] for part in found.values()) else 0)


if __name__ == "__main__":
    main()
