"""`cign demo`: the main job on the embedded benchmark, in three minutes on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cign.arguments import CommandParser, path
from cign.terminal import make_progress, percent, say, show_table

SUMMARY = (
    "Render 12 classes of procedural instruments to MP4 files, prepare them, learn them in four "
    "tasks with several methods, print the table and write the report."
)
GO_ON = "run the same command again"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--out", metavar="DIR", type=path, default=Path("demo"), help="folder (default: demo)"
    )


def run(options: Any) -> None:
    """Run the demo, and show its table."""
    from cign.demo import CLIPS, NUM_TASKS, run_demo
    from cign.methods.base import READINGS

    start = time.monotonic()
    results = run_demo(options.out, make_progress())
    names = ("last", "average", "forgetting")
    say()
    say(
        f"{CLIPS.num_classes} classes in {NUM_TASKS} tasks, percent of "
        f"{CLIPS.num_classes * CLIPS.num_test} test clips; A audio, V visual, AV audio-visual"
    )
    short = {"audio": "A", "visual": "V", "audio_visual": "AV"}
    headings = [f"{name} {short[reading]}" for name in names for reading in READINGS]
    show_table(
        ("method", "memory", *headings),
        (
            (
                demo_run.title,
                "all" if demo_run.method == "joint" else demo_run.memory,
                *(
                    percent(metrics["readings"][reading][name])
                    for name in names
                    for reading in READINGS
                ),
            )
            for demo_run, metrics in results
        ),
    )
    say()
    limit = results[0][1]["limit"]
    if limit is not None:
        say(f"best possible on these clips: {limit:g} %")
    say(
        "quick settings: 10 epochs a task at learning rate 1e-3; the published ones take at least "
        "1,000 steps a task (docs/methods/cign.md)"
    )
    say(f"report {options.out / 'report.html'}; {time.monotonic() - start:.0f} s in all")
