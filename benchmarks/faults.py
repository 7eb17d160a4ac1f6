"""Fault injection: kills, full disks, clock jumps and mutated media files, and their effects.

    python benchmarks/faults.py [--trials 60] [--files 10000] [--seed 0]

writes ``benchmarks/results/faults.md``. It takes about 5 s per trial and 0.25 s per file on two
busy cores. An interrupted run resumes: results at the same commit are saved in pieces under
``work/faults``, unless there are uncommitted changes. The trials are defined in ``tests/faults/``.
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
from pathlib import Path
from typing import Any

from cign.utils.code_version import PACKAGE, CodeVersion, code_version, described, is_same_code
from cign.utils.files import read_json, write_json, write_text

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "faults"
PAGE = Path(__file__).with_name("results") / "faults.md"
PIECES = {"campaign.py": 12, "fuzz.py": 1_000}
"""Number of trials of each kind, or of files, saved as one piece."""
KINDS = ("kill", "disk", "clock")
NAMES = {
    "kill": "SIGKILL, once or twice",
    "disk": "disk full from some write on",
    "clock": "clock jumps, and SIGKILL",
}


def run(program: str, folder: Path, *options: object) -> dict[str, Any]:
    """Run one of the programs of the tests."""
    command = [sys.executable, str(PROGRAMS / program), str(folder), *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_in_pieces(program: str, number: int, seed: int, kept: Path) -> dict[str, Any]:
    """Sums over pieces of a program's work, each with its own seeds.

    Args:
        program: A key of `PIECES`.
        number: Number of trials of each kind, or of files.
        seed: Seed of the first.
        kept: Folder of finished pieces.
    """
    counts: Counter[str] = Counter()
    problems: list[str] = []
    seconds = 0.0
    for begin in range(0, number, PIECES[program]):
        size = min(PIECES[program], number - begin)
        place = kept / f"{Path(program).stem}-{seed + begin}-{size}.json"
        if not place.is_file():
            with tempfile.TemporaryDirectory(prefix="cign-faults-") as folder:
                how = ("--number", size, "--seed", seed + begin)
                write_json(place, run(program, Path(folder) / "here", *how))
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


def trial_rows(counts: dict[str, int], commands: tuple[str, ...]) -> list[str]:
    """Rows of the table: one for each fault and command."""
    kinds = ("injected", "too late", "lost", "wrong", "rude")
    rows = []
    for fault in KINDS:
        for command in commands:
            numbers = [counts.get(f"{fault} {command}: {kind}", 0) for kind in kinds]
            if any(numbers):
                cells = " | ".join(map(str, numbers))
                rows.append(f"| {NAMES[fault]} | `{command}` | {cells} |")
    return rows


def page(trials: dict[str, Any], files: dict[str, Any], command: str, code: CodeVersion) -> str:
    """The results as Markdown."""
    problems = [*trials["problems"], *files["problems"]]
    columns = ("files", "decoded", "left out", "process died", "took too long", "over its memory")
    lines = [
        "# Faults",
        "",
        f"`{command}`, {len(os.sched_getaffinity(0))} cores; {trials['seconds']:g} s for the "
        f"trials, {files['seconds']:g} s for the files; {described(code)}.",
        "",
        "A fault is injected at a random time or before a random file operation. Then the command "
        "is run again as a user would, and the result is compared with that of an undisturbed run: "
        "stores, models, predictions and embeddings byte by byte, metrics and tables number by "
        "number. *Too late*: the command had already ended. *Lost*: the result could not be "
        "obtained. *Wrong*: the result differed, or files were left over. *Rude*: a traceback, or "
        "a message that is not one sentence.",
        "",
        "| fault | command | injected | too late | lost | wrong | rude |",
        "| --- | --- | --: | --: | --: | --: | --: |",
        *trial_rows(trials["counts"], ("prepare", "train", "bench", "add")),
        "",
        "Mutated media files (flipped bits, noise, cuts, repeats, wrong lengths, parts of another "
        "file; every container and codec of the tests), through the decoding processes:",
        "",
        "| " + " | ".join(columns) + " | without an answer |",
        "| " + " | ".join("--:" for _ in (*columns, "")) + " |",
        "| " + " | ".join(f"{files['counts'][name]:,}" for name in columns),
    ]
    lines[-1] += f" | {len(files['problems'])} |"
    lines += ["", "Problems: " + ("none." if not problems else "")]
    lines += [f"- {problem}" for problem in problems]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=60, help="of each kind of fault")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    code = code_version(PACKAGE, PROGRAMS)
    kept = pieces_of(code, ROOT / "work" / "faults")
    trials = run_in_pieces("campaign.py", options.trials, options.seed, kept)
    files = run_in_pieces("fuzz.py", options.files, options.seed, kept)
    named = f"python benchmarks/faults.py --trials {options.trials} --files {options.files}"
    write_text(PAGE, page(trials, files, f"{named} --seed {options.seed}", code))
    print(PAGE.read_text())
    raise SystemExit(1 if trials["problems"] or files["problems"] else 0)


if __name__ == "__main__":
    main()
