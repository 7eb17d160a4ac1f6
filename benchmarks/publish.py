"""Publish a bench's table as Markdown and CSV, with the command and the hash of its code.

    python benchmarks/publish.py FOLDER NAME --command "cign bench ..." [--note TEXT]

writes ``benchmarks/results/NAME.md`` and ``NAME.csv``. `make test-slow` reports published tables
that are, or contain runs that are, older than the code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from cign.bench.config import ALL_STORES
from cign.bench.table import OTHER_CODE, differences
from cign.methods import METHODS
from cign.utils.code_hash import code_hash
from cign.utils.files import read_json, write_json, write_text

RESULTS = Path(__file__).with_name("results")
LINE = "Code: `{}` (`python benchmarks/publish.py --check {}`)."
OLDER = OTHER_CODE  # sentence in a table with such runs


def hash_of(methods: list[str]) -> str:
    """Hash of the code and recipes that a comparison of these methods depends on."""
    modules = [
        "cign.training.loop",
        "cign.bench.intervals",
        "cign.bench.resampling",
        "cign.backbones.small",
    ]
    modules += sorted({METHODS[name].__module__ for name in methods if name in METHODS})
    recipes = Path(__file__).parent.parent / "src" / "cign" / "recipes"
    files = [recipes / f"{name}.yaml" for name in sorted(methods)]
    return code_hash(modules, [path for path in files if path.exists()])[:16]


def check(name: str) -> bool:
    """Whether a published table was made with the current code."""
    text = (RESULTS / f"{name}.md").read_text()
    found = re.search(r"^Code: `(\w+)`", text, re.MULTILINE)
    methods = re.search(r"^Methods: (.*)\.$", text, re.MULTILINE)
    if found is None or methods is None:
        raise SystemExit(f"{name}.md was not written by publish.py")
    if re.search(OLDER.format(r"\d+"), text):
        return False
    return found.group(1) == hash_of(methods.group(1).split(", "))


def by_modality(table: dict[str, Any]) -> str:
    """Differences of the last accuracy in all modalities; the bench table has audio-visual only."""
    rows = [row for row in table["rows"] if row["store"] == ALL_STORES]
    lines = [
        f"## Difference from {table['against']} by modality",
        "",
        "Last accuracy, points [95 %; t: Student's t over the stores].",
        "",
        *differences(rows, {name: name for name in ("method", "tasks", "memory")}),
    ]
    return "\n".join(lines) + "\n"


def evaluated_recipes(config: dict[str, Any]) -> str:
    """State how many recipes of each method have been evaluated on the test clips of the table.

    They are recorded in ``results/evaluated_recipes.json`` by regime, method and options hash.
    """
    path = RESULTS / "evaluated_recipes.json"
    recorded = read_json(path, "evaluated recipes") if path.is_file() else {}
    counts = {}
    for label, (_, options) in sorted(config["methods"].items()):
        text = json.dumps(options, sort_keys=True).encode()
        known = recorded.setdefault(config["regime"], {}).setdefault(label, [])
        if (found := hashlib.sha256(text).hexdigest()[:16]) not in known:
            known.append(found)
        counts[label] = len(known)
    write_json(path, recorded)
    more = [f"{label} {number}" for label, number in counts.items() if number > 1]
    each = "One recipe of each method has been evaluated on these test clips"
    return f"{each}, except: {', '.join(more)}." if more else f"{each}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--command")
    parser.add_argument("--note", action="append", default=[])
    parser.add_argument("--check", metavar="NAME")
    arguments = parser.parse_args()
    if arguments.check:
        fresh = check(arguments.check)
        print(f"{arguments.check}: {'up to date' if fresh else 'older than the code'}")
        raise SystemExit(0 if fresh else 1)
    table = read_json(arguments.folder / "table.json", "table of the bench")
    methods = sorted(table["config"]["methods"])
    head, _, rest = (arguments.folder / "table.md").read_text().partition("\n\n")
    known = {name: value for name, value in table["machine"].items() if value is not None}
    machine = ", ".join(f"{name} {value}" for name, value in known.items())
    notes = "".join(f"{note}\n\n" for note in arguments.note)
    text = (
        f"{head}\n\n`{arguments.command}`\n\n"
        f"{LINE.format(hash_of(methods), arguments.name)}\n\nMethods: {', '.join(methods)}.\n\n"
        f"Machine: {machine}.\n\n{notes}{evaluated_recipes(table['config'])}\n\n"
        f"{rest.rstrip()}\n\n{by_modality(table)}"
    )
    write_text(RESULTS / f"{arguments.name}.md", text)
    write_text(RESULTS / f"{arguments.name}.csv", (arguments.folder / "table.csv").read_text())


if __name__ == "__main__":
    main()
