"""Headings of ``cign COMMAND --help``: options grouped by purpose."""

from __future__ import annotations

# Heading -> options, in the order in which headings are shown. An option means the same in every
# command that takes it; exceptions are below.
HEADINGS: dict[str, tuple[str, ...]] = {
    "clips to render": (
        *("--classes", "--train", "--val", "--test", "--world", "--variant", "--size"),
        "--seconds",
    ),
    "input": ("--format", "--media", "--split", "--benchmark", "--allow-missing", "--test-store"),
    "output": (
        *("--out", "--json", "--jsonl", "--csv", "--wide", "--explain", "--explain-as"),
        *("--write-table", "--write-shards", "--per-shard", "--no-models", "--no-frames"),
    ),
    "checks": ("--decode", "--listen", "--verify", "--clips"),
    "encoders": ("--backbone", "--tokens", "--frames", "--preset", "--regime"),
    "method": ("--method", "--methods", "--recipe", "--recipes", "--memory", "--bf16"),
    "tasks and seeds": ("--tasks", "--task-file", "--order", "--orders", "--seed", "--seeds"),
    "grid": ("--against", "--only", "--now"),
    "resuming and branching": ("--resume", "--branch-from", "--keep-tasks"),
    "prediction": ("--top", "--every", "--unknown-threshold"),
    "changes to the model": ("--teach", "--no-keep", "--undo"),
    "web server": ("--host", "--port", "--max-upload"),
    "where it runs": ("--device", "--workers", "--engine", "--processes", "--peer-timeout"),
}

# What an option of one command is about, where that is not what it is about elsewhere.
_ELSEWHERE = {
    ("synth", "--seed"): "clips to render",
    ("export", "--format"): "output",
}

_HEADING_OF = {option: heading for heading, options in HEADINGS.items() for option in options}


def heading_of(command: str, option: str) -> str | None:
    """The heading that an option is shown under.

    Args:
        command: Name of the command.
        option: For example ``--out``.

    Returns:
        The heading; None for an option that has none.
    """
    return _ELSEWHERE.get((command, option)) or _HEADING_OF.get(option)
