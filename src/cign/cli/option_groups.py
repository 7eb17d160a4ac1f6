"""Headings of ``cign COMMAND --help``: options grouped by purpose."""

from __future__ import annotations

from cign.runs.configuration import run_options

# Heading -> options, in display order. An option has the same meaning in every command that takes
# it; exceptions are below. The options of a run name their headings themselves.
HEADINGS: dict[str, tuple[str, ...]] = {
    "clips to render": (
        *("--classes", "--train", "--val", "--test", "--world", "--variant", "--size"),
        "--seconds",
    ),
    "input": (
        "--format",
        "--media",
        "--label-studio",
        "--allow-host",
        "--max-download",
        "--learned",
        "--work",
        "--split",
        "--benchmark",
        "--test-store",
    ),
    "output": (
        *("--out", "--json", "--jsonl", "--csv", "--wide", "--groups", "--explain", "--explain-as"),
        *("--to", "--write-table", "--write-shards", "--per-shard", "--no-models", "--no-frames"),
        *("--most",),
    ),
    "checks": ("--decode", "--listen", "--verify", "--clips", "--loo"),
    "encoders": ("--backbone", "--tokens", "--frames", "--preset"),
    "method": ("--method", "--methods", "--recipe", "--recipes", "--set"),
    "tasks and seeds": ("--tasks", "--task-file", "--order", "--orders", "--seeds"),
    "grid": ("--against", "--only", "--now"),
    "search": ("--vary", "--sampler", "--trials", "--search-seed"),
    "logging": ("--log", "--log-every", "--callback"),
    "resuming and branching": ("--resume", "--branch-from", "--keep-tasks"),
    "prediction": (
        *("--number", "--top", "--every", "--unknown-threshold", "--unknown", "--min-probability"),
        *("--segments", "--enter", "--leave", "--least", "--bridge"),
    ),
    "live input": (
        *("--follow", "--state", "--settle", "--reconnect", "--timeout", "--stream-option"),
    ),
    "changes to the model": (
        *(
            "--teach",
            "--learn-after",
            "--no-keep",
            "--replace",
            "--undo",
            "--prune",
            "--settings",
            "--once",
            "--merge",
        ),
        *("--ridge", "--select", "--class", "--only-learned", "--reset-selection"),
        *("--precision", "--recall", "--clear"),
    ),
    "web server": (
        *("--host", "--port", "--token", "--allow-url", "--max-upload"),
        *("--max-queue", "--max-batch"),
    ),
    "execution": ("--device", "--workers", "--engine", "--processes", "--peer-timeout"),
}

# Options of one command that belong under another heading than elsewhere.
_ELSEWHERE = {
    ("synth", "--seed"): "clips to render",
    ("export", "--format"): "output",
    ("export", "--precision"): "output",
    ("resolve", "--set"): "changes to the model",
    ("tune", "--prune"): "search",
    ("serve", "--timeout"): "web server",
}

_HEADING_OF = {one.flag: one.heading for one in run_options()} | {
    option: heading for heading, options in HEADINGS.items() for option in options
}


def heading_of(command: str, option: str) -> str | None:
    """The heading under which the help shows an option.

    Args:
        command: Name of the command.
        option: For example ``--out``.

    Returns:
        The heading; None for an option that has none.
    """
    return _ELSEWHERE.get((command, option)) or _HEADING_OF.get(option)
