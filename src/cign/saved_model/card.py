"""The model card: description, classes, results and limitations of a model."""

from __future__ import annotations

import json

from cign.methods.capabilities import fixed_settings, num_background, selection_in_words
from cign.open_set.rule import KNOWN_SHARE, UnknownRule
from cign.saved_model.model import Model

_USE = (
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
)
_USE_OF_FEATURES = (
    "```",
    "cign prepare FEATURES STORE --backbone ENCODERS    # features of the same encoders",
    "cign evaluate MODEL STORE --out RESULTS.csv        # one row per clip",
    "```",
)

_EXPECTED = (
    "Measured on the training clips of each task or addition when they were learned, each clip "
    "predicted by the solution without its source."
)


def model_card(model: Model, licence: str | None = None) -> str:
    """The text of a model's ``README.md``, with metadata for hubs.

    Args:
        model: The model.
        licence: Licence of the weights, as hubs name it; None for not stated.
    """
    groups = [(i + 1, group) for i, group in enumerate(model.groups) if group]
    selected = selection_in_words(model.method)
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
        *([f"Settings {_origin(model)}: {selected}.", ""] if selected else []),
        "## Use",
        "",
        *(_USE if model.spec is not None else _USE_OF_FEATURES),
        "",
        f"{_input(model)} {_backbone(model)}",
        "",
        "## Classes",
        "",
    ]
    lines += [f"- task {number}: {', '.join(group)}" for number, group in groups]
    if background := num_background(model.method):
        number = f"{background:.6g} clip{'' if background == 1 else 's'}"
        lines += ["", f"Background: {number} with none of these classes were learned, too."]
    if model.changes:
        lines += ["", "## Changes", ""]
        lines += [f"- {change['date']}: {change['text']}" for change in model.changes]
    if model.estimates:
        lines += ["", "## Expected accuracy", "", _EXPECTED, ""]
        lines += [f"- after task {one.task}: {one}" for one in model.estimates]
    if model.results:
        lines += ["", "## Results", "", _what_was_tested(model), ""]
        lines += [
            "| modality | last | average incremental | forgetting |",
            "| --- | --- | --- | --- |",
        ]
        for modality, value in model.results.items():
            cells = (value.get(key) for key in ("last", "average", "forgetting"))
            shown = " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells)
            lines.append(f"| {modality.replace('_', '-')} | {shown} |")
    if model.kept is not None:
        lines += [
            "",
            "## Validation clips",
            "",
            f"The tokens of {model.kept.num_clips} validation clips are stored with the weights "
            "to measure the effect of changes. They are never used for training.",
        ]
    lines += [
        "",
        "## Limitations",
        "",
        "The model knows only the classes above. Probabilities are not calibrated unless the "
        "method states otherwise. A clip of another class is assigned one of these classes or "
        "`unknown`.",
        "",
        _unknown(model.unknown),
        *_class_thresholds(model),
        "",
        "## Licence",
        "",
        f"Weights: {licence or 'not stated; ask the publisher of the model'}. Code of cign: "
        "Apache-2.0.",
        "",
    ]
    return "\n".join(lines)


def _origin(model: Model) -> str:
    """Where the settings come from."""
    fixed = fixed_settings(model.method)
    by_hand = f" (those of {' and '.join(fixed)} were set by hand)" if fixed else ""
    return f"selected from the training clips{by_hand}"


def _input(model: Model) -> str:
    """What the model takes."""
    spec = model.spec
    if spec is None:
        shape = model.method.setup.shape
        return (
            f"Input: features, {shape.num_audio_tokens} x {shape.audio_dim} audio and "
            f"{shape.num_visual_tokens} x {shape.visual_dim} visual values of a clip."
        )
    return (
        f"Input: {spec.window_s:g} s of a clip, {spec.num_frames} frames of "
        f"{spec.frame_px} x {spec.frame_px} pixels and audio at {spec.rate_hz} Hz."
    )


def _backbone(model: Model) -> str:
    """Where the encoders are stored, which need not be this folder."""
    if model.spec is None:
        encoders = model.backbone.partition(":")[2] or "encoders that are not named"
        return f"They were computed by {encoders}; the model cannot encode files."
    if model.regime == "end-to-end":
        return "The weights include its encoders."
    return (
        f"Its frozen encoders are those of backbone `{model.backbone}`, which is not in this folder"
        f" (fingerprint {model.fingerprint[:12]})."
    )


def _unknown(rule: UnknownRule) -> str:
    score = f"Unknown score: `{rule.score}`"
    if not rule.thresholds:
        return f"{score}, without a threshold, because there were no validation clips."
    text = f"{score}; a clip above {rule.thresholds['audio_visual']:.3f} is called unknown"
    number = rule.num_clips or "an unknown number of"
    return f"{text} ({100 * KNOWN_SHARE:.0f} % of {number} validation clips are below)."


def _class_thresholds(model: Model) -> tuple[str, ...]:
    """What the thresholds of classes were chosen for, if there are any."""
    found = model.thresholds
    if found is None:
        return ()
    return (
        f"Each class has a threshold, chosen on left-out training clips for {found.measure} "
        f"{found.wanted:g}; a prediction below it is marked as uncertain.",
    )


def _what_was_tested(model: Model) -> str:
    text = "Percent of test clips, after the last task"
    return f"{text} of the original run, before the changes above." if model.changes else text + "."
