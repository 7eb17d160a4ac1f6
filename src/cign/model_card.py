"""The model card: what a model is, what it knows, how it was tested, what it is not for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cign.unknown.rule import KNOWN_SHARE, UnknownRule

if TYPE_CHECKING:
    from cign.model_folder import Model


def model_card(model: Model) -> str:
    """The text of a model's ``README.md``, with the header that hubs read."""
    groups = [(i + 1, group) for i, group in enumerate(model.groups) if group]
    lines = [
        "---",
        "library_name: cign",
        "tags: [audio-visual, class-incremental-learning]",
        "---",
        "",
        f"# An audio-visual classifier of {len(model.classes)} classes",
        "",
        f"Method `{model.method.name}`, backbone `{model.backbone}` ({model.regime}), "
        f"{len(groups)} tasks. Read a clip with `cign predict MODEL FILE`.",
        "",
        "## Classes",
        "",
    ]
    lines += [f"- task {number}: {', '.join(group)}" for number, group in groups]
    if model.changes:
        lines += ["", "## Changes", ""]
        lines += [f"- {change['date']}: {change['text']}" for change in model.changes]
    if model.results:
        lines += ["", "## Results", "", _what_was_tested(model), ""]
        lines += [
            "| reading | last | average incremental | forgetting |",
            "| --- | --- | --- | --- |",
        ]
        for reading, value in model.results.items():
            cells = (value.get(key) for key in ("last", "average", "forgetting"))
            shown = " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells)
            lines.append(f"| {reading.replace('_', '-')} | {shown} |")
    if model.kept is not None:
        lines += [
            "",
            "## Clips kept",
            "",
            f"{model.kept.num_clips} validation clips lie beside the weights as tokens of the "
            "backbone, to measure what a change costs. Nothing is ever learned from them.",
        ]
    lines += [
        "",
        "## Limits",
        "",
        "The model knows the classes above and no others; probabilities are not calibrated unless "
        "the method says so. A clip of anything else gets one of these names or `unknown`.",
        "",
        _unknown(model.unknown),
        "",
    ]
    return "\n".join(lines)


def _unknown(rule: UnknownRule) -> str:
    score = f"Unknown score: `{rule.score}`"
    if not rule.thresholds:
        return f"{score}, without a threshold, since no validation clip set one."
    text = f"{score}; a clip above {rule.thresholds['audio_visual']:.3f} is called unknown"
    share = f"{100 * KNOWN_SHARE:.0f} % of {rule.num_clips} validation clips lie below"
    return f"{text} ({share})." if rule.num_clips else f"{text}."


def _what_was_tested(model: Model) -> str:
    text = "Percent of test clips, after the last task"
    return (
        f"{text} of the run it came from, before the changes above."
        if model.changes
        else text + "."
    )
