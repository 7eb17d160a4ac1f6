"""Publish a bench's table as Markdown and CSV, with its command, its commits and its recipes.

    python benchmarks/publish.py FOLDER NAME --command "cign bench ..." [--note TEXT]

writes ``NAME.md``, ``NAME.csv`` and ``NAME.json`` in ``benchmarks/results``. The last has the
commits of the runs and the options of each method, so that tables can be checked:

    python benchmarks/publish.py --check NAME [--recipes FOLDER]

lists commits that are not in the history, and recipes that have changed since the runs were made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.bench.config import ALL_STORES, plain_entry, read_entries, with_defaults
from cign.bench.grid import BenchConfig
from cign.bench.table import differences
from cign.utils.files import read_json, write_json, write_text

RESULTS = Path(__file__).with_name("results")
RECIPES = Path(__file__).with_name("recipes")
FORMAT = 1


def is_in_history(commit: str, repository: Path = RESULTS) -> bool | None:
    """Whether a commit is HEAD or an ancestor of it; None if the history is not available."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    try:
        shallow = git("rev-parse", "--is-shallow-repository")
        if shallow.returncode or shallow.stdout.strip() != "false":
            return None
        return git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0
    except OSError:  # git is not installed
        return None


def commits_of(name: str) -> list[str]:
    """The known commits at which the runs of a published table were made."""
    code = _published(name)["code"]
    found = [version["commit"] for one in code for version in one["versions"]]
    return sorted({commit for commit in found if commit is not None})


def changed_recipes(name: str, recipes: Path = RECIPES) -> list[str]:
    """Methods of a published table whose recipe is no longer that of its runs.

    Args:
        name: Of the table.
        recipes: Folder of recipes that the bench used in addition to those of the package.
    """
    record = _published(name)
    config = BenchConfig(
        stores=(Path(),),  # not opened
        methods=tuple(record["methods"]),
        tasks=(1,),
        recipes=recipes,
        settings={"regime": record["regime"]},
    )
    now = {entry.name: plain_entry(entry) for entry in read_entries(config)}
    return sorted(
        name for name, begun in record["methods"].items() if with_defaults(begun) != now[name]
    )


def _published(name: str) -> dict[str, Any]:
    record: dict[str, Any] = read_json(RESULTS / f"{name}.json", "record of a published table")
    return record


def check(name: str, recipes: Path) -> list[str]:
    """What is out of date in a published table, as sentences."""
    unknown = [commit for commit in commits_of(name) if is_in_history(commit) is False]
    problems = [f"commit {commit} is not in the history" for commit in unknown]
    changed = changed_recipes(name, recipes)
    return problems + [f"the recipe of {label} has changed since its runs" for label in changed]


def record_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """Contents of ``NAME.json``: commits of the runs, and options of the methods in a regime."""
    config = table["config"]
    return {
        "format": FORMAT,
        "code": table["code"],
        "regime": config["regime"],
        "methods": config["methods"],
    }


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
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="as for `cign bench`")
    arguments = parser.parse_args()
    if arguments.check:
        problems = check(arguments.check, arguments.recipes)
        print("\n".join(f"{arguments.check}: {text}" for text in problems or ["up to date"]))
        raise SystemExit(1 if problems else 0)
    table = read_json(arguments.folder / "table.json", "table of the bench")
    methods = sorted(table["config"]["methods"])
    head, _, rest = (arguments.folder / "table.md").read_text().partition("\n\n")
    known = {name: value for name, value in table["machine"].items() if value is not None}
    machine = ", ".join(f"{name} {value}" for name, value in known.items())
    notes = "".join(f"{note}\n\n" for note in arguments.note)
    text = (
        f"{head}\n\n`{arguments.command}`\n\n"
        f"Methods: {', '.join(methods)}.\n\n"
        f"Machine: {machine}.\n\n{notes}{evaluated_recipes(table['config'])}\n\n"
        f"{rest.rstrip()}\n\n{by_modality(table)}"
    )
    write_text(RESULTS / f"{arguments.name}.md", text)
    write_json(RESULTS / f"{arguments.name}.json", record_of(table))
    write_text(RESULTS / f"{arguments.name}.csv", (arguments.folder / "table.csv").read_text())


if __name__ == "__main__":
    main()
