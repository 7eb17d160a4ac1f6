"""Results of mutation testing: modules and their tests, rows, survivors, and the page."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
KILLED = ("value", "crash", "time")

# Module -> its files below src/cign, and its tests.
MODULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "losses": (
        ("losses/*.py",),
        ("tests/losses", "tests/methods/test_av_cil_loops.py"),
    ),
    "metrics": (("metrics/*.py",), ("tests/metrics", "tests/traps/test_scores.py")),
    "ridge": (
        ("networks/ridge.py", "networks/token_ridge.py", "networks/leave_out.py"),
        (
            *("tests/models/test_ridge.py", "tests/models/test_token_ridge.py"),
            *("tests/models/test_leave_out.py", "tests/methods/test_analytic.py"),
        ),
    ),
    "closed_form": (
        (
            *("methods/closed_form.py", "methods/closed_form_output.py", "methods/selection.py"),
            *("methods/modality_ridge.py", "methods/leave_one_out.py"),
        ),
        (
            *("tests/methods/test_selection.py", "tests/methods/test_cign_analytic.py"),
            *("tests/methods/test_analytic.py", "tests/methods/test_sums.py"),
        ),
    ),
    "grouping": (
        ("networks/grouping.py", "networks/views.py", "networks/token_readout.py"),
        (
            *("tests/models/test_grouping.py", "tests/models/test_views.py"),
            *("tests/models/test_token_readout.py", "tests/models/test_blocks.py"),
        ),
    ),
    "bic": (("methods/bic.py",), ("tests/methods/test_bic.py",)),
    "il2m": (("methods/il2m.py",), ("tests/methods/test_il2m.py",)),
    "memory": (
        ("data/exemplar_memory.py",),
        ("tests/data/test_memory.py", "tests/methods/test_replay_runs.py"),
    ),
    "open_set": (("open_set/*.py",), ("tests/unknown", "tests/metrics/test_open_set.py")),
    "updating": (
        ("updating/*.py",),
        (
            *("tests/test_editing.py", "tests/test_merging.py", "tests/test_class_joining.py"),
            *("tests/methods/test_forgetting.py", "tests/test_resolving.py"),
        ),
    ),
    "tasks": (
        ("data/tasks.py", "data/streams.py"),
        ("tests/data/test_tasks.py", "tests/data/test_streams.py", "tests/traps/test_protocol.py"),
    ),
    "checkpoints": (
        ("utils/checkpoint.py", "training/state.py"),
        ("tests/test_resume.py",),
    ),
    "intervals": (
        ("bench/intervals.py", "bench/resampling.py"),
        ("tests/bench/test_intervals.py", "tests/bench/test_resampling.py"),
    ),
    "table": (
        ("data/formats/table.py", "data/formats/delimited.py", "data/formats/label_texts.py"),
        ("tests/data/test_table_spellings.py", "tests/data/formats"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A tested mutant: where it is, what it changes, and the first failure."""

    module: str
    file: str
    mutation: str
    result: str
    failure: str
    seconds: float
    source: str  # hash of the file and the tests


def read_rows() -> list[Row]:
    """Rows of earlier runs."""
    path = RESULTS / "mutants.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(**{**row, "seconds": float(row["seconds"])}) for row in csv.DictReader(file)]


def write_rows(rows: list[Row]) -> None:
    """Write all rows."""
    path = RESULTS / "mutants.csv"
    ordered = sorted(
        rows, key=lambda row: (list(MODULES).index(row.module), row.file, row.mutation)
    )
    with path.with_suffix(".new").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in ordered)
    path.with_suffix(".new").replace(path)


def equivalents() -> dict[str, str]:
    """Reasons of mutants that change nothing, by file and mutation."""
    found = {}
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        name, _, reason = line.partition("  ")
        if name and not name.startswith("#"):
            found[name] = reason.strip()
    return found


def key_of(row: Row) -> str:
    """How ``equivalent.txt`` names a mutant: file, text of the line, column and change."""
    place, _, change = row.mutation.partition(" ")
    line, _, column = place.partition(":")
    text = (ROOT / row.file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    return f"{row.file}:{digest_of_line(text)}:{column} {change}"


def digest_of_line(text: str) -> str:
    """A short hash of a line, so that a moved line keeps its reason and a changed one loses it."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


def show(module: str) -> None:
    """Print survivors of a module with their lines."""
    reasons = equivalents()
    for row in read_rows():
        if row.module == module and row.result == "survived" and key_of(row) not in reasons:
            line = int(row.mutation.partition(":")[0])
            text = (ROOT / row.file).read_text(encoding="utf-8").splitlines()[line - 1]
            print(f"{row.file}:{row.mutation}\n    {text.strip()}\n    {key_of(row)}")


def write_page(number: int) -> None:
    """Write ``mutants.md``."""
    reasons, lines = equivalents(), []
    rows = read_rows()
    for module in MODULES:
        mine = [row for row in rows if row.module == module]
        same = [row for row in mine if row.result == "survived" and key_of(row) in reasons]
        counts = Counter(row.result for row in mine)
        survived = counts["survived"] - len(same)
        killed = sum(counts[kind] for kind in KILLED)
        shares = [
            _share(killed, killed + survived),
            _share(counts["value"], counts["value"] + survived),
        ]
        cells = [len(mine), *(counts[kind] for kind in KILLED), survived, len(same)]
        lines.append(f"| {module} | {' | '.join([*map(str, cells), *shares])} |")
    heads = ["module", "mutants", "by value", "by crash", "by time", "survived", "equivalent"]
    heads += ["killed", "of those without a crash, by value"]
    page = [
        "# Mutation testing",
        "",
        "`make mutants`",
        "",
        f"{number} mutations of each module, drawn once; see `tools/mutants.py` for what is "
        "changed. Each is tested with the tests of its module, up to the first failure. "
        "*By value*: an assertion failed. *By crash*: another exception. *By time*: the tests took "
        "too long. "
        "*Equivalent*: the change has no effect that a test could notice; `tools/equivalent.txt` "
        "gives the reasons. The shares leave these out.",
        "",
        f"| {' | '.join(heads)} |",
        "| --- |" + " ---: |" * (len(heads) - 1),
        *lines,
        "",
    ]
    (RESULTS / "mutants.md").write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""
