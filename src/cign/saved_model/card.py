"""The model card: what a model is, what it knows, how it was tested, what it is not for."""

from __future__ import annotations

import json

from cign.open_set.rule import KNOWN_SHARE, UnknownRule
from cign.saved_model.model import Model


def model_card(model: Model, licence: str | None = None) -> str:
    """The text of a model's ``README.md``, with the header that hubs read.

    Args:
        model: The model.
        licence: Of its weights, as hubs name it; None leaves it open.
    """
    groups = [(i + 1, group) for i, group in enumerate(model.groups) if group]
    lines = [
        "---",
        "library_name: cign",
        "tags: [audio-visual, class-incremental-learning]",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "---",
        "",
        f"# An audio-visual classifier of {len(model.classes)} classes",
        "",
        f"Method `{model.method.name}`, backbone `{model.backbone}` ({model.regime}), "
        f"{len(groups)} tasks.",
        "",
        "## Use",
        "",
        "```",
        "cign predict MODEL FILE...       # MODEL: this folder, or its name on the hub",
        "cign export MODEL OUT            # a file that runs without cign",
        "```",
        "",
        "```python",
        "from cign import Learner",
        "",
        'for clip in Learner.load("MODEL").predict(["FILE"]):',
        "    print(clip.label, clip.probability)",
        "```",
        "",
        f"It takes {model.spec.window_s:g} s of a clip: {model.spec.num_frames} frames of "
        f"{model.spec.frame_px} x {model.spec.frame_px} pixels and sound at "
        f"{model.spec.rate_hz} Hz. {_backbone(model)}",
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
        for modality, value in model.results.items():
            cells = (value.get(key) for key in ("last", "average", "forgetting"))
            shown = " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells)
            lines.append(f"| {modality.replace('_', '-')} | {shown} |")
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
        "## Licence",
        "",
        f"Of the weights: {licence or 'not stated; ask whoever passed them on'}. Of the code that "
        "reads them, cign: Apache-2.0.",
        "",
    ]
    return "\n".join(lines)


def _backbone(model: Model) -> str:
    """Where the encoders are: not always in this folder."""
    if model.regime == "end-to-end":
        return "Its encoders are among the weights."
    return (
        f"Its frozen encoders are those of backbone `{model.backbone}`, which is not in this folder"
        f" (fingerprint {model.fingerprint[:12]})."
    )


def _unknown(rule: UnknownRule) -> str:
    score = f"Unknown score: `{rule.score}`"
    if not rule.thresholds:
        return f"{score}, without a threshold, since no validation clip set one."
    text = f"{score}; a clip above {rule.thresholds['audio_visual']:.3f} is called unknown"
    number = rule.num_clips or "an unknown number of"
    return f"{text} ({100 * KNOWN_SHARE:.0f} % of {number} validation clips lie below)."


def _what_was_tested(model: Model) -> str:
    text = "Percent of test clips, after the last task"
    return (
        f"{text} of the run it came from, before the changes above."
        if model.changes
        else text + "."
    )
