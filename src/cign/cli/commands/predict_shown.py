"""What `cign predict` shows of files: the table, and images or videos."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from typing import Any

from cign.cli.commands.predict_table import make_table
from cign.utils.terminal import note, rule_character, say


def show_table(rows: list[Any], options: Any, learner: Any) -> None:
    """Print the table of files, and what it leaves out."""
    if not rows:
        return
    # A pipe has no width: names and labels are in full, and only --wide adds more columns.
    is_pipe = not sys.stdout.isatty()
    width = None if options.wide or is_pipe else shutil.get_terminal_size().columns
    table = make_table(rows, width, is_brief=is_pipe and not options.wide)
    for line in table.lines(rule_character()):
        say(line)
    if table.hidden:
        note(f"not shown: {', '.join(table.hidden)}; --wide shows all columns")
    if options.unknown_threshold is None:
        note(_threshold_origin(learner.model.unknown))


def _threshold_origin(rule: Any) -> str:
    """The number of clips that the model's unknown threshold is based on."""
    if not rule.thresholds:
        return (
            "this model has no unknown threshold, because it was trained without validation clips: "
            "nothing is called unknown; --unknown-threshold X sets one"
        )
    number = f"{rule.num_clips}" if rule.num_clips else "an unknown number of"
    clips = "clip" if rule.num_clips == 1 else "clips"
    return (
        f"the unknown threshold is based on {number} validation {clips}; --unknown-threshold X "
        "sets another, 0 disables it"
    )


def make_explainer(options: Any, learner: Any, stack: ExitStack) -> Any:
    """The writer of images or videos, if requested; closed with the stack."""
    if options.explain is None:
        return None
    from cign.explain.writer import Explainer

    kind = options.explain_as or "png"
    return stack.enter_context(
        Explainer(options.explain, learner.model, kind=kind, every_s=options.every)
    )


def report_files(explainer: Any, learner: Any) -> None:
    """Say what was written, and what it lacks."""
    from cign.explain.canvas import without_glyph
    from cign.methods.capabilities import has_maps

    what = {"png": ("image", "images"), "mp4": ("video", "videos")}[explainer.kind]
    note(f"{explainer.num_written} {what[explainer.num_written != 1]} in {explainer.folder}")
    lacking = without_glyph(learner.model.classes)
    if lacking:
        note(
            f"no installed font has {lacking[:10]}: such characters are shown as boxes; install a "
            "font that has them, for example Noto Sans CJK"
        )
    if not has_maps(learner.model.method):
        note(f"method {learner.model.method.name} has no maps: the output shows no locations")
