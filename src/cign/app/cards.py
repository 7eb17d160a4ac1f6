"""Texts of the page as HTML: pure functions that escape their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from cign.app.classes import learned_classes, shown_date
from cign.app.service import Answer
from cign.errors import CignError
from cign.explain.look import CLASSES
from cign.explain.scene import Scene
from cign.inference.prediction import Prediction
from cign.report.html import breakable
from cign.saved_model.model import Model
from cign.saved_model.versions import Version
from cign.serving.model_service import Taught
from cign.updating.impact import Addition
from cign.updating.new_clips import num_clips

MODALITIES = {
    "audio_visual": "Audio-visual",
    "audio": "Audio only",
    "visual": "Visual only",
}
_MODALITIES = {"audio": "audio", "visual": "video"}
SHOWN = 3


def colour(scene: Scene, label: str) -> str:
    """The CSS colour of a class, the same in all parts of the page."""
    value = scene.colour(label)
    return f"var(--s{CLASSES.index(value) if value in CLASSES else 6})"


def head(model: Model, name: str, version: int) -> str:
    """The header of the page."""
    number = len(model.classes)
    facts = (
        ("model", name),
        ("classes", str(number)),
        ("method", model.method.name),
        ("version", str(version)),
    )
    listed = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return block(
        f"<h1>Audio-visual classification</h1><dl class='facts'>{listed}</dl>", "cign-head"
    )


def empty() -> str:
    """Placeholder for an answer."""
    return block(
        "<p class='soft'>Choose or record a clip. Its predicted class appears here, with the "
        "probabilities of each modality and an unknown score.</p>",
        "cign-empty",
    )


def problem(sentence: str) -> str:
    """An error, as one sentence."""
    text = sentence[:1].upper() + sentence[1:]
    return block(f"<p role='alert'><b>Error.</b> {escape(text)}.</p>", "cign-problem")


def sentence(error: Exception) -> str:
    """The message that is shown for an error."""
    if isinstance(error, CignError):
        return str(error).rstrip(".")
    if isinstance(error, OSError):
        return f"a file cannot be read or written ({error.strerror}): the model is unchanged"
    return f"internal error ({type(error).__name__}): the model is unchanged"


def answer(one: Answer, *, media: str = "") -> str:
    """The answer: class, predictions of the three modalities, unknown score and warnings.

    Args:
        one: The answer.
        media: HTML tag that plays the clip; not escaped.
    """
    prediction = one.prediction
    first = prediction.modalities["audio_visual"][0]
    label, probability = breakable(first["label"]), f"{first['probability']:.2f}"
    if prediction.is_unknown:
        verdict = (
            "<span class='verdict unknown'>unknown</span><span>unlike all known classes; the "
            f"nearest is <b>{label}</b>, {probability}</span>"
        )
    else:
        verdict = (
            f"<span class='verdict' style='--c:{colour(one.scene, first['label'])}'>{label}</span>"
            f"<span>{probability}</span>"
        )
    modalities = "".join(
        f"<div><h3>{title}</h3>{_bars(one.scene, prediction.modalities[name], name)}</div>"
        for name, title in MODALITIES.items()
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in one.notes)
    window = f"{prediction.start_s:.2f} to {prediction.end_s:.2f} s of {one.duration_s:.2f} s"
    return block(
        f"<p class='said'>{verdict}</p>{media}<div class='modalities'>{modalities}</div>"
        f"{_unknown(prediction)}"
        f"<ul class='notes'>{notes}</ul>"
        f"<p class='soft small'>Window: {window}. Answered in {one.seconds:.1f} s.</p>",
        "cign-answer",
    )


def _bars(scene: Scene, entries: Sequence[dict[str, Any]], modality: str) -> str:
    if not entries:
        return f"<p class='soft'>no {_MODALITIES[modality]} track</p>"
    rows = "".join(
        f"<li><span class='name' title='{escape(one['label'], quote=True)}'>"
        f"{breakable(one['label'])}</span>"
        f"<span class='number'>{one['probability']:.2f}</span>"
        f"<span class='bar' style='--c:{colour(scene, one['label'])};"
        f"--v:{one['probability']:.4f}'></span></li>"
        for one in entries[:SHOWN]
    )
    return f"<ul class='bars'>{rows}</ul>"


def _unknown(prediction: Prediction) -> str:
    """The unknown score on a scale from 0 to 1, with the threshold."""
    score, threshold = prediction.unknown or 0.0, prediction.unknown_threshold
    is_unknown = bool(prediction.is_unknown)
    if threshold is None:
        words, mark = "this model has no threshold, so no clip is classified as unknown", ""
    else:
        words = f"unknown above {threshold:.2f}"
        mark = f"<i style='--v:{min(threshold, 1.0):.4f}'></i>"
    return (
        f"<div class='unknown-score{' over' if is_unknown else ''}'><h3>Unknown score "
        f"<span class='number'>{score:.2f}</span></h3>"
        f"<span class='bar' style='--v:{min(max(score, 0.0), 1.0):.4f}'>{mark}</span>"
        f"<p class='soft small'>How little the clip resembles the known classes; {words}."
        "</p></div>"
    )


def taught(one: Taught, name: str) -> str:
    """What was learned, and the accuracy on the old classes before and after."""
    addition = one.addition
    kind = "New class" if addition.new else "More clips of a known class"
    parts = [f"<p><b>{kind}:</b> {learned_in_words(addition)}.</p>", effect(addition)]
    if addition.new_accuracy is not None:
        parts.append(
            f"<p>{num_clips(addition.num_new_kept)} set aside for validation: "
            f"{addition.new_accuracy:.1f} % correct.</p>"
        )
    else:
        parts.append(
            f"<p class='soft small'>With five clips or more, one clip in five of {escape(name)} is "
            "set aside to measure how well the class is recognised.</p>"
        )
    return block("".join([*parts, remarks(one)]), "cign-taught")


def learned_in_words(addition: Addition) -> str:
    """The learned clips by class, and the time that it took; HTML."""
    counts = {**addition.new, **addition.known}
    listed = [f"{breakable(n)} ({num_clips(k)} learned)" for n, k in counts.items()]
    if addition.background:
        listed.append(f"none of the classes ({num_clips(addition.background)} learned)")
    return f"{', '.join(listed)}, in {addition.seconds:.1f} s"


def effect(addition: Addition) -> str:
    """The accuracy on the old classes before and after an addition; HTML."""
    if (cost := addition.cost) is None:
        return (
            "<p>The effect on old classes is not known: this model stores no validation clips.</p>"
        )
    new = "new classes" if len(addition.new) > 1 else "the new class"
    return (
        "<table><thead><tr><th class='text'>old classes</th><th>before</th><th>after</th></tr>"
        "</thead><tbody><tr><td class='text'>accuracy on validation clips "
        f"({num_clips(cost.num_clips)})</td><td>{cost.before:.1f} %</td>"
        f"<td>{cost.after:.1f} %</td></tr></tbody></table>"
        f"<p class='soft small'>Predictions that change: {cost.to_new:.1f} % to {new}, "
        f"{cost.to_old:.1f} % to another old class.</p>"
    )


def remarks(one: Taught) -> str:
    """What else is to be known about an addition, and its version; HTML."""
    said = (*map(str, one.addition.alike), *one.addition.notes)
    notes = "".join(f"<li>{escape(remark)}</li>" for remark in said)
    return (
        f"<ul class='notes'>{notes}</ul><p class='soft small'>Saved as version {one.version}.</p>"
    )


def classes(model: Model, versions: Sequence[Version]) -> str:
    """All classes with the time they were learned, and all versions."""
    rows = "".join(
        f"<tr><th class='text name' scope='row' title='{escape(one.name, quote=True)}'>"
        f"{breakable(one.name)}</th><td class='text'>"
        f"{f'taught {_dated(one.date)}' if one.date else f'training, task&nbsp;{one.task}'}</td>"
        f"<td>{one.num_kept or '–'}</td></tr>"  # noqa: RUF001
        for one in learned_classes(model)
    )
    steps = "".join(
        f"<tr><td>{one.number}{' (now)' if one.is_current else ''}</td>"
        f"<td class='text'>{escape(one.text)}</td><td class='text'>{_dated(one.date)}</td>"
        f"<td>{one.num_classes}</td></tr>"
        for one in reversed(versions)
    )
    return block(
        f"<h2>{len(model.classes)} classes</h2><div class='scroll' tabindex='0'><table><thead><tr>"
        "<th class='text'>class</th><th class='text'>learned</th><th>validation clips</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
        "<p class='soft small'>Validation clips are never learned from; they measure the effect of "
        "a change.</p><h2>Versions</h2><div class='scroll' tabindex='0'><table><thead><tr>"
        "<th>version</th><th class='text'>change</th><th class='text'>date</th><th>classes</th>"
        f"</tr></thead><tbody>{steps}</tbody></table></div>",
        "cign-classes",
    )


def _dated(date: str) -> str:
    """A date that wraps before the time of day, not at its hyphens."""
    day, _, time_of_day = shown_date(date).partition(" ")
    return f"<span class='once'>{day}</span> {time_of_day.replace(' ', '&nbsp;')}"


def reverted(number: int) -> str:
    """Message after an undo."""
    return block(f"<p>Version {number} is restored.</p>", "cign-taught")


def undo_label(versions: Sequence[Version]) -> str | None:
    """Label of the undo button; None where there is no version to return to."""
    current = versions[-1]
    if len(versions) < 2 or versions[-2].number != current.number - 1:
        return None
    return f"Undo: {current.text}"


def block(content: str, name: str) -> str:
    """A part of the page with a class of the style sheet."""
    return f"<section class='cign {name}'>{content}</section>"
